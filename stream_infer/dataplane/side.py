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

    def owns(self, topic: str) -> bool:
        """Say whether a topic is one of the side topics."""
        return topic in (self.dead_letters.name, self.late_events.name)

    def dead_letter(self, outputs: Outputs, batch: RecordBatch, bad: BadRow, stage: str) -> None:
        """Add a dead letter: key, value and headers as they came, ours behind them."""
        record = batch.records[bad.row]
        headers = [*record.headers, *self._headers(batch, bad, stage)]
        outputs.add(self.dead_letters.for_batch(batch), record.key, record.value, headers, bad.row)

    def copy_late(
        self, outputs: Outputs, batch: RecordBatch, rows: NDArray[np.int64], stage: str
    ) -> int:
        """Add a copy of each late event, as it came; return how many there were."""
        for row in rows.tolist():
            record = batch.records[row]
            headers = [*record.headers, *self._headers(batch, _late(row), stage)]
            outputs.add(self.late_events.for_batch(batch), record.key, record.value, headers, row)
        return len(rows)

    def stub(
        self,
        outputs: Outputs,
        batch: RecordBatch,
        bad: BadRow | None,
        row: int,
        topic: str,
        stage: str,
    ) -> None:
        """Add what stands for a record that a side topic refused whole.

        bad  why the record is there, None for a late copy. Its first bytes, size and hash are
        kept; its own headers and a long key are not, for they may be what makes it too large.
        """
        record = batch.records[row]
        whole = record.value or b""
        headers = [*self._headers(batch, bad or _late(row), stage), *stub_headers(whole)]
        key = None if record.key is None else stub_value(record.key)
        side = self.dead_letters if topic == self.dead_letters.name else self.late_events
        outputs.add(side.for_batch(batch), key, stub_value(whole), headers, row)

    def _headers(self, batch: RecordBatch, bad: BadRow, stage: str) -> Headers:
        record = batch.records[bad.row]
        return dead_letter_headers(
            (),
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


def _late(row: int) -> BadRow:
    return BadRow(row, LATE, LATE_MESSAGE)
