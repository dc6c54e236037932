"""A record batch: consecutive records of one partition, as the client fetched them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Partition(NamedTuple):
    """A topic and one of its partitions; compares equal to the clients' own pairs."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class BadRow(NamedTuple):
    """A record that cannot be used: its row in the batch, a stable code, the cause in words."""

    row: int
    code: str
    message: str


class FetchedRecord(Protocol):
    """What we read of a record, whichever client fetched it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class RecordBatch:
    """``n`` consecutive records of one partition.

    source   topic and partition
    records  the client's records, in offset order, never empty
    bytes    size of keys and values
    range    what `complete` finishes, None in a replay
    """

    __slots__ = ("bytes", "range", "records", "source")

    def __init__(self, source: Partition, records: Sequence[Any], range_: Any = None) -> None:
        self.source = source
        self.records = records
        self.range = range_
        self.bytes = size_bytes(records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return int(self.records[0].offset)

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return int(self.records[-1].offset)

    def offsets(self) -> NDArray[np.int64]:
        """Return (n,) int64, the offset of each record."""
        if self.last - self.first + 1 == len(self.records):
            return np.arange(self.first, self.last + 1, dtype=np.int64)
        return np.array([record.offset for record in self.records], np.int64)

    def values(self) -> list[bytes | None]:
        """Return the values, None for a tombstone."""
        return [record.value for record in self.records]


def size_bytes(records: Sequence[FetchedRecord]) -> int:
    """Return the size of the values, plus a flat share for what else a record holds."""
    return sum(len(record.value or b"") for record in records) + 64 * len(records)
