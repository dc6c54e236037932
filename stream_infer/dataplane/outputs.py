"""What a stage wants written, grouped by destination and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from stream_infer.dataplane.batch import Partition
from stream_infer.records.placing import Places

FEW = 16
"""Rows that are added one by one."""

Headers = Sequence[tuple[str, bytes | None]]
NO_HEADERS: Headers = []
"""Shared by all records without headers; nobody changes it. The client insists on a list."""


@dataclass(slots=True)
class Writes:
    """Records for one destination, as parallel lists.

    keys     keys as bytes, None for a record without one
    values   values as bytes
    headers  header pairs of each record
    rows     index of the input record (in its batch) that each record comes from
    """

    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def add(self, key: bytes | None, value: bytes | None, headers: Headers, row: int) -> None:
        """Add a record behind those that are there."""
        self.keys.append(key)
        self.values.append(value)
        self.headers.append(headers)
        self.rows.append(row)

    def add_many(
        self,
        keys: Sequence[bytes],
        values: Sequence[bytes],
        headers: Sequence[Headers] | None,
        rows: Sequence[int],
    ) -> None:
        """Add records behind those that are there."""
        self.keys += keys
        self.values += values
        self.rows += rows
        self.headers += [NO_HEADERS] * len(rows) if headers is None else headers

    def extend(self, other: Writes) -> None:
        """Add records behind those that are there."""
        self.keys += other.keys
        self.values += other.values
        self.headers += other.headers
        self.rows += other.rows

    def slice(self, start: int, end: int) -> Writes:
        """Return records ``start..end-1``."""
        return Writes(
            self.keys[start:end],
            self.values[start:end],
            self.headers[start:end],
            self.rows[start:end],
        )


class Outputs:
    """All that one step of a stage writes."""

    __slots__ = ("by_destination",)

    def __init__(self) -> None:
        self.by_destination: dict[Partition, Writes] = {}

    def add(
        self,
        destination: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        row: int,
    ) -> None:
        """Add one record."""
        self._writes(*destination).add(key, value, headers, row)

    def add_many(
        self,
        topic: str,
        places: Places,
        values: Sequence[bytes],
        headers: Sequence[Headers] | None,
        rows: Sequence[int],
    ) -> None:
        """Add one record a row, those of one destination in their order."""
        if len(rows) <= FEW:
            # Numpy's calls cost as much for two rows as for two hundred.
            for row, partition in enumerate(places.partitions.tolist()):
                self._writes(topic, partition).add(
                    places.keys[row],
                    values[row],
                    NO_HEADERS if headers is None else headers[row],
                    rows[row],
                )
            return
        counts = np.bincount(places.partitions).tolist()
        if counts[-1] == len(rows):
            # One stage whose output is keyed as its input: everything goes to one partition.
            self._writes(topic, len(counts) - 1).add_many(places.keys, values, headers, rows)
            return
        order = np.argsort(places.partitions, kind="stable").tolist()
        start = 0
        for partition, count in enumerate(counts):
            if not count:
                continue
            these = order[start : start + count]
            start += count
            # One call of C a column: appending row by row took four times as long.
            pick = itemgetter(*these) if len(these) > 1 else _only(these[0])
            self._writes(topic, partition).add_many(
                pick(places.keys),
                pick(values),
                None if headers is None else pick(headers),
                pick(rows),
            )

    def _writes(self, topic: str, partition: int) -> Writes:
        destination = Partition(topic, partition)
        writes = self.by_destination.get(destination)
        if writes is None:
            writes = self.by_destination[destination] = Writes()
        return writes

    def items(self) -> Iterable[tuple[Partition, Writes]]:
        """Return destinations and their records."""
        return self.by_destination.items()

    def __bool__(self) -> bool:
        return bool(self.by_destination)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.by_destination)


def _only(row: int) -> Callable[[Any], list[Any]]:
    return lambda column: [column[row]]


Refused = tuple[Partition, Writes, str]
"""Where records should have gone, the records, and the broker's answer."""

Replace = Callable[[Sequence[Refused]], Outputs]
"""Returns what is written in place of what was refused. Raises when nothing can be."""
