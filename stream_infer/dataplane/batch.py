"""A record batch: consecutive records of one partition, as the client fetched them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.dataplane.ranges import PartitionRanges
from stream_infer.records.run import RecordRun

BATCH_ROWS_MAX = 4096
"""Rows in one record batch: enough to spread per-batch costs, few enough for a short step."""

ALONE_ROWS = BATCH_ROWS_MAX // 4
"""So many rows or outputs are worth a call, or a request, of their own: gathering more with those
of other partitions wins nothing, and waiting for them costs."""

RECORD_BYTES = 300
"""What a record takes in memory besides its value: the objects for it, its key and its columns."""


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


class RecordBatch:
    """``n`` consecutive records of one partition.

    source   topic and partition
    records  in offset order, never empty
    values   their values, None for a tombstone
    bytes    size of the values, and a flat share for what else a record holds
    ranges   of the assignment that it was handed out in, None in a replay
    """

    __slots__ = ("bytes", "ranges", "records", "source")

    def __init__(
        self, source: Partition, records: Sequence[Any], ranges: PartitionRanges | None = None
    ) -> None:
        self.source = source
        self.records = RecordRun.of(records)
        self.ranges = ranges
        self.bytes = self.records.size + RECORD_BYTES * len(records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def values(self) -> Sequence[bytes | None]:
        """The value of each record."""
        return self.records.values

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return int(self.records.offsets[0])

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return int(self.records.offsets[-1])

    def before(self, offset: int) -> RecordBatch | None:
        """Return the records in front of an offset, None where there are none."""
        records = self.records.before(offset)
        return RecordBatch(self.source, records, self.ranges) if records else None

    def offsets(self) -> NDArray[np.int64]:
        """Return (n,) int64, the offset of each record."""
        return self.records.offsets


def merge(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Return consecutive batches of one partition as one: per-batch costs are paid once."""
    if len(batches) == 1:
        return batches[0]
    records = RecordRun.join([batch.records for batch in batches])
    return RecordBatch(batches[0].source, records, batches[0].ranges)
