"""Readers: from a record batch to columns, with every unusable record named.

A row is unusable when it does not decode, when it claims to come from the future, or
when it lies in a partition that is not its entity's. All three depend on the record
alone, so a replay refuses exactly the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.dataplane.batch import BadRow, RecordBatch
from stream_infer.dataplane.stage import ReadBatch
from stream_infer.durations import format_duration
from stream_infer.errors import ConflictError
from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import Decoded
from stream_infer.events.screen import screen_future
from stream_infer.records import KeyPartitioner

REPLAY_CLOCK_HEADER = "si-replay-clock"
"""Header of a declared replay: epoch ms as text, in place of the record's own timestamp."""

WRONG_PARTITION_ROWS = 16
"""Records in the wrong partition, most of those seen first, that stop the worker."""


class Decoder(Protocol):
    """Turns record values into columns."""

    def decode(self, values: list[bytes | None]) -> Decoded:
        """Return the good rows as columns and the bad ones with their cause."""


class PartitionCheck:
    """Finds records that lie in another partition than their entity's.

    topic        the input topic, for messages
    entity       the field that the topic is partitioned by
    partitioner  with the topic's number of partitions
    """

    def __init__(self, topic: str, entity: str, partitioner: KeyPartitioner) -> None:
        self.topic = topic
        self.entity = entity
        self._partitioner = partitioner
        self._seen: dict[int, int] = defaultdict(int)
        self._wrong: dict[int, int] = defaultdict(int)

    def misplaced(self, columns: EventColumns, partition: int) -> NDArray[np.bool_]:
        """Return (n,) bool, True where the row belongs elsewhere.

        Raises ConflictError when most of a partition's first records are misplaced: then
        the producer partitions in another way, and windows would be split over logs.
        """
        places = self._partitioner.place(columns.entities[self.entity])
        wrong: NDArray[np.bool_] = np.array([place[1] for place in places]) != partition
        if self._seen[partition] < 2 * WRONG_PARTITION_ROWS:
            self._seen[partition] += len(wrong)
            self._wrong[partition] += int(np.count_nonzero(wrong))
            found = self._wrong[partition]
            if found >= WRONG_PARTITION_ROWS and 2 * found > self._seen[partition]:
                raise ConflictError(
                    "wrong_partitioning",
                    f"{found} of the first {self._seen[partition]} records of "
                    f"{self.topic}-{partition} do not belong there: the producer does not "
                    f"partition by murmur2 of {self.entity}, as Kafka's Java producer does.",
                    f"Key the records by {self.entity} with partitioner murmur2 "
                    "(librdkafka: partitioner=murmur2_random), or create the topics and run "
                    "the worker with --partitioning rekey.",
                    topic=self.topic,
                    partition=partition,
                )
        return wrong


class InputReader:
    """Reads a topic of the pipeline's users: events or labels.

    decoder        from values to columns
    future_max_ms  how far ahead of its record a time may be
    check          partition check, None where a record may lie anywhere
    by_label_time  whether the input advances by `label_time` instead of `event_time`
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        future_max_ms: int,
        check: PartitionCheck | None,
        by_label_time: bool = False,
    ) -> None:
        self._decoder = decoder
        self._future_max_ms = future_max_ms
        self._check = check
        self._by_label_time = by_label_time

    def read(self, batch: RecordBatch) -> ReadBatch:
        """Return the batch with good rows as columns and bad ones with their cause."""
        decoded = self._decoder.decode(batch.values)
        rows, columns = decoded.rows, decoded.columns
        bad = [BadRow(row.row, row.code, row.message) for row in decoded.bad]
        refused = np.zeros(len(rows), np.bool_)
        for code, message, mask in self._screens(batch, rows, columns):
            if mask.any():
                news = mask & ~refused
                bad.extend(BadRow(int(row), code, message) for row in rows[news])
                refused |= mask
        if refused.any():
            kept = np.flatnonzero(~refused)
            rows, columns = rows[kept], columns.take(kept)
        offsets = batch.offsets()[rows]
        columns.source_topic = batch.source.topic
        columns.source_partition = np.full(len(rows), batch.source.partition, np.int64)
        columns.source_offset = offsets
        return ReadBatch(batch, rows, offsets, columns, self._progress(columns), bad)

    def _progress(self, columns: EventColumns) -> NDArray[np.int64]:
        return columns.label_time if self._by_label_time else columns.event_time

    def _screens(
        self, batch: RecordBatch, rows: NDArray[np.int64], columns: EventColumns
    ) -> list[tuple[str, str, NDArray[np.bool_]]]:
        written = _written_ms(batch)[rows]
        allowed = format_duration(self._future_max_ms)
        ahead = screen_future(columns.event_time, written, self._future_max_ms)
        if self._by_label_time:
            ahead |= screen_future(columns.label_time, written, self._future_max_ms)
        screens = [
            (
                "future_event",
                f"Its time is more than {allowed} ahead of its record's timestamp.",
                ahead,
            )
        ]
        if self._check is not None:
            screens.append(
                (
                    "wrong_partition",
                    f"It does not belong to this partition by murmur2 of {self._check.entity}.",
                    self._check.misplaced(columns, batch.source.partition),
                )
            )
        return screens


class InternalReader:
    """Reads an internal topic: records that our own stages wrote."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def read(self, batch: RecordBatch) -> ReadBatch:
        """Return the batch as columns.

        Raises ConflictError when records were written for another feature specification:
        their features cannot be read as these, and dropping them would lose events.
        """
        decoded = self._decoder.decode(batch.values)
        for record in decoded.bad:
            if record.code in ("features_version_mismatch", "schema_version_unknown"):
                raise ConflictError(
                    record.code,
                    f"{batch.source} holds records written by another version of this pipeline.",
                    "Let the workers of that version finish the topic first, or give the "
                    "changed pipeline another name.",
                    topic=batch.source.topic,
                    partition=batch.source.partition,
                )
        bad = [BadRow(row.row, row.code, row.message) for row in decoded.bad]
        columns = decoded.columns
        progress = np.where(columns.label_time > 0, columns.label_time, columns.event_time)
        return ReadBatch(batch, decoded.rows, batch.offsets()[decoded.rows], columns, progress, bad)


def _written_ms(batch: RecordBatch) -> NDArray[np.int64]:
    """Return (n,) int64: when each record was written, or its replay clock if that is declared."""
    written = np.array([record.timestamp for record in batch.records], np.int64)
    if not batch.has_headers:
        return written
    for row, record in enumerate(batch.records):
        for name, value in record.headers:
            if name == REPLAY_CLOCK_HEADER and value is not None and value.isdigit():
                written[row] = int(value)
    return written
