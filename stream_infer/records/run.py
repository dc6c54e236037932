"""Consecutive records of one partition, held by columns.

A record that is made into an object costs more than all that is done to find it among the bytes
of a fetch, and of nearly every record only its value, offset and timestamp are ever read. So those
are columns, and the object of a record is made when one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from stream_infer.records.among import size_of


class Record(NamedTuple):
    """A record as it stands in a log.

    offset          where
    timestamp       epoch ms
    timestamp_type  0 when its producer wrote it, 1 when it was appended
    key, value      None for null
    headers         name and value of each
    """

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Source(Protocol):
    """Where a run's records are found one by one."""

    def __getitem__(self, row: int, /) -> Any:
        """Return a record."""

    def headers_named(self, name: str, rows: Sequence[int]) -> Iterable[bytes | None]:
        """Return, for each row, the value of its last header of a name; None without one."""


class RecordRun(Sequence[Any]):
    """``n`` records of one partition in offset order.

    offsets      (n,) int64
    timestamps   (n,) int64, epoch ms
    values       n values, None for a tombstone
    has_headers  whether any record may have headers; most streams have none
    """

    __slots__ = ("_rows", "_source", "has_headers", "offsets", "timestamps", "values")

    def __init__(
        self,
        offsets: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        values: Sequence[bytes | None],
        source: Source,
        rows: Sequence[int],
        *,
        has_headers: bool,
    ) -> None:
        self.offsets = offsets
        self.timestamps = timestamps
        self.values = values
        self.has_headers = has_headers
        self._source = source
        self._rows = rows

    @classmethod
    def of(cls, records: Sequence[Any]) -> RecordRun:
        """Return the records of a client, or those of a run, as a run."""
        if isinstance(records, cls):
            return records
        return cls(
            np.array([record.offset for record in records], np.int64),
            np.array([record.timestamp for record in records], np.int64),
            [record.value for record in records],
            _Objects(records),
            range(len(records)),
            has_headers=any(record.headers for record in records),
        )

    @classmethod
    def written(
        cls,
        first: int,
        timestamp: int,
        keys: Sequence[bytes | None],
        values: list[bytes | None],
        headers: Sequence[Sequence[tuple[str, bytes | None]]],
        *,
        timestamp_type: int = 0,
    ) -> RecordRun:
        """Return records that one producer wrote at once, from an offset on.

        timestamp       of all of them, epoch ms
        keys, headers   one each for a value
        timestamp_type  as `Record` has it
        """
        offsets = np.arange(first, first + len(values), dtype=np.int64)
        records = map(
            Record,
            offsets.tolist(),
            repeat(timestamp),
            repeat(timestamp_type),
            keys,
            values,
            map(tuple, headers),
        )
        return cls(
            offsets,
            np.full(len(values), timestamp, np.int64),
            values,
            _Objects(list(records)),
            range(len(values)),
            has_headers=any(headers),
        )

    @property
    def size(self) -> int:
        """Bytes of all values together."""
        return size_of(self.values)

    @classmethod
    def join(cls, runs: Sequence[RecordRun]) -> RecordRun:
        """Return runs, one behind the other, as one."""
        if len(runs) == 1:
            return runs[0]
        return cls(
            np.concatenate([run.offsets for run in runs]),
            np.concatenate([run.timestamps for run in runs]),
            [value for run in runs for value in run.values],
            _Joined(runs),
            range(sum(map(len, runs))),
            has_headers=any(run.has_headers for run in runs),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> RecordRun: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Return a record, or consecutive ones as a run."""
        if not isinstance(row, slice):
            return self._source[self._rows[row]]
        return RecordRun(
            self.offsets[row],
            self.timestamps[row],
            self.values[row],
            self._source,
            self._rows[row],
            has_headers=self.has_headers,
        )

    def __iter__(self) -> Iterator[Any]:
        return map(self._source.__getitem__, self._rows)

    def take(self, rows: Sequence[int]) -> RecordRun:
        """Return some of the records, by increasing row."""
        return RecordRun(
            self.offsets[rows],
            self.timestamps[rows],
            [self.values[row] for row in rows],
            self._source,
            [self._rows[row] for row in rows],
            has_headers=self.has_headers,
        )

    def before(self, offset: int) -> RecordRun:
        """Return the records in front of an offset."""
        return self._cut(slice(0, self._row_of(offset)))

    def since(self, offset: int) -> RecordRun:
        """Return the records at and behind an offset."""
        return self._cut(slice(self._row_of(offset), len(self)))

    def without(self, offsets: Iterable[int]) -> RecordRun:
        """Return the records that stand at none of these offsets."""
        left_out = np.fromiter(offsets, np.int64)
        if not len(left_out):
            return self
        keep = ~np.isin(self.offsets, left_out)
        return self if keep.all() else self.take(np.flatnonzero(keep).tolist())

    def headers_named(self, name: str) -> Iterable[bytes | None]:
        """Return the value of each record's last header of a name; None without one."""
        return self._source.headers_named(name, self._rows)

    def _row_of(self, offset: int) -> int:
        return int(self.offsets.searchsorted(offset))

    def _cut(self, rows: slice) -> RecordRun:
        return self if rows == slice(0, len(self)) else self[rows]


class _Objects:
    """Records that were made into objects already."""

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __getitem__(self, row: int) -> Any:
        return self._records[row]

    def headers_named(self, name: str, rows: Sequence[int]) -> Iterable[bytes | None]:
        return (dict(self._records[row].headers).get(name) for row in rows)


class _Joined:
    """Records of several runs, one behind the other."""

    def __init__(self, runs: Sequence[RecordRun]) -> None:
        self._runs = runs
        self._starts = np.cumsum([0, *map(len, runs)])

    def __getitem__(self, row: int) -> Any:
        at = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._runs[at][row - int(self._starts[at])]

    def headers_named(self, name: str, rows: Sequence[int]) -> Iterable[bytes | None]:
        # Run by run: to make a record of each row would cost as much as all else that is read.
        found = [value for run in self._runs for value in run.headers_named(name)]
        return (found[row] for row in rows)
