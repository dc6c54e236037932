"""What a stage wants written, grouped by destination and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stream_infer.dataplane.batch import Partition

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
        writes = self.by_destination.get(destination)
        if writes is None:
            writes = self.by_destination[destination] = Writes()
        writes.keys.append(key)
        writes.values.append(value)
        writes.headers.append(headers)
        writes.rows.append(row)

    def add_many(
        self,
        topic: str,
        places: Sequence[tuple[bytes, int]],
        values: Sequence[bytes],
        headers: Sequence[Headers] | None,
        rows: Sequence[int],
    ) -> None:
        """Add one record a row; `places` holds its key and its partition.

        Appends straight to the lists of each destination: one pass and no sorting,
        because at 100,000 records a second every further pass counts.
        """
        if len({partition for _, partition in places}) == 1:
            # One stage whose output is keyed as its input: everything goes to one partition.
            only = self.by_destination.setdefault(Partition(topic, places[0][1]), Writes())
            only.keys += [key for key, _ in places]
            only.values += values
            only.rows += rows
            only.headers += [NO_HEADERS] * len(places) if headers is None else headers
            return
        targets: dict[int, Writes] = {}
        for index, (key, partition) in enumerate(places):
            writes = targets.get(partition)
            if writes is None:
                writes = self.by_destination.setdefault(Partition(topic, partition), Writes())
                targets[partition] = writes
            writes.keys.append(key)
            writes.values.append(values[index])
            writes.rows.append(rows[index])
            writes.headers.append(NO_HEADERS if headers is None else headers[index])

    def items(self) -> Iterable[tuple[Partition, Writes]]:
        """Return destinations and their records."""
        return self.by_destination.items()

    def __bool__(self) -> bool:
        return bool(self.by_destination)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.by_destination)


Refused = tuple[Partition, Writes, str]
"""Where records should have gone, the records, and the broker's answer."""

Replace = Callable[[Sequence[Refused]], Outputs]
"""Returns what is written in place of what was refused. Raises when nothing can be."""
