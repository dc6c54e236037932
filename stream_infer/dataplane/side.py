"""Where records go that are not scored as they should be: dead letters and late copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.dataplane.batch import BadRow, Partition, RecordBatch
from stream_infer.dataplane.outputs import Headers, Outputs
from stream_infer.events.deadletter import dead_letter_headers, stub_headers, stub_value

LATE = "late"
LATE_MESSAGE = "It is older than the allowed lateness behind its key's newest event."


@dataclass(frozen=True, slots=True)
class SideTopic:
    """A side topic and its number of partitions."""

    name: str
    partitions: int

    def for_batch(self, batch: RecordBatch) -> Partition:
        """Return the partition for records of this batch: order within the input is kept."""
        return Partition(self.name, batch.source.partition % self.partitions)


@dataclass(frozen=True, slots=True)
class SideOutputs:
    """Makes the records of the side topics.

    group  the consumer group, named in the headers
    """

    group: str
    dead_letters: SideTopic
    late_events: SideTopic

    def dead_letter(
        self, outputs: Outputs, batch: RecordBatch, bad: BadRow, stage: str, *, stub: bool = False
    ) -> None:
        """Add a dead letter: key, value and headers as they came, ours behind them.

        stub  the whole record was refused: keep its first bytes, its size and its hash
        """
        record = batch.records[bad.row]
        headers = self._headers(batch, bad, stage)
        key, value = record.key, record.value
        if stub:
            whole = value or b""
            value = stub_value(whole)
            # The key and the record's own headers may be what makes it too large.
            headers = [*headers[len(record.headers) :], *stub_headers(whole)]
            key = None if key is None else stub_value(key)
        outputs.add(self.dead_letters.for_batch(batch), key, value, headers, bad.row)

    def copy_late(
        self, outputs: Outputs, batch: RecordBatch, rows: NDArray[np.int64], stage: str
    ) -> int:
        """Add a copy of each late event, as it came; return how many there were."""
        for row in rows.tolist():
            record = batch.records[row]
            headers = self._headers(batch, BadRow(row, LATE, LATE_MESSAGE), stage)
            outputs.add(self.late_events.for_batch(batch), record.key, record.value, headers, row)
        return len(rows)

    def _headers(self, batch: RecordBatch, bad: BadRow, stage: str) -> Headers:
        record = batch.records[bad.row]
        return dead_letter_headers(
            record.headers,
            topic=batch.source.topic,
            partition=batch.source.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            timestamp_type="LogAppendTime" if record.timestamp_type == 1 else "CreateTime",
            consumer_group=self.group,
            code=bad.code,
            message=bad.message,
            stage=stage,
        )
