"""Readers: from record batches to columns, with every unusable record named.

A row is unusable when it does not decode, when it claims to come from the future, or
when it lies in a partition that is not its entity's. All three depend on the record
alone, so a replay refuses exactly the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.lists import list_changes
from stream_infer.dataplane.batch import BadRow, RecordBatch
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.stage import ReadBatch, ReadEvents
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.durations import format_duration
from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.events.columns import LIST, EventColumns
from stream_infer.events.decode import Decoded
from stream_infer.events.internal import LATER, OTHER_FEATURES, InternalDecoder
from stream_infer.events.screen import screen_future
from stream_infer.records.placing import partitions_of

REPLAY_CLOCK_HEADER = "si-replay-clock"
"""Header of a declared replay: epoch ms as text, in place of the record's own timestamp."""

WRONG_PARTITION_ROWS = 16
"""Records in the wrong partition, most of those seen first, that stop the worker."""


class Decoder(Protocol):
    """Turns record values into columns."""

    def decode(self, values: Sequence[bytes | None], *, for_state: bool = False) -> Decoded:
        """Return the good rows as columns and the bad ones with their cause.

        for_state  whether they are for a state alone
        """


class PartitionCheck:
    """Finds records that lie in another partition than their entity's.

    topic       the input topic, for messages
    entity      the field that the topic is partitioned by
    partitions  of the topic
    """

    def __init__(self, topic: str, entity: str, partitions: int) -> None:
        self.topic = topic
        self.entity = entity
        self._partitions = partitions
        self._seen: dict[int, int] = defaultdict(int)
        self._wrong: dict[int, int] = defaultdict(int)
        self._trusted: set[int] = set()

    def misplaced(self, columns: EventColumns, partitions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) bool, True where the row belongs elsewhere.

        partitions  (n,) int64, where each row lies
        Raises      ConflictError when most of a partition's first records are misplaced: then
                    the producer partitions in another way, and windows would be split over logs
        """
        places = partitions_of(columns.entities[self.entity], self._partitions)
        wrong: NDArray[np.bool_] = places != partitions
        if len(self._trusted) < self._partitions:
            for partition in set(partitions.tolist()) - self._trusted:
                self._judge(partition, wrong[partitions == partition])
        return wrong

    def _judge(self, partition: int, wrong: NDArray[np.bool_]) -> None:
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
        if self._seen[partition] >= 2 * WRONG_PARTITION_ROWS:
            self._trusted.add(partition)


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

    def read(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return each batch with good rows as columns and bad ones with their cause."""
        return self._read(batches, for_state=False)

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return what `read` does, for a state alone."""
        return self._read(batches, for_state=True)

    def _read(self, batches: Sequence[RecordBatch], *, for_state: bool) -> list[ReadEvents]:
        records = _joined(batches)
        decoded = self._decoder.decode(records.values, for_state=for_state)
        rows, columns = decoded.rows, decoded.columns
        bad = [BadRow(row.row, row.code, row.message) for row in decoded.bad]
        refused = np.zeros(len(rows), np.bool_)
        for code, message, mask in self._screens(batches, records, rows, columns):
            if np.count_nonzero(mask):
                news = mask & ~refused
                bad.extend(BadRow(int(row), code, message) for row in rows[news])
                refused |= mask
        if np.count_nonzero(refused):
            kept = np.flatnonzero(~refused)
            rows, columns = rows[kept], columns.take(kept)
        columns.source_topic = batches[0].source.topic
        every = len(rows) == len(records.values)
        columns.source_partition = records.partitions if every else records.partitions[rows]
        columns.source_offset = records.offsets if every else records.offsets[rows]
        return _parted(batches, records, rows, columns, self._progress(columns), bad)

    def _progress(self, columns: EventColumns) -> NDArray[np.int64]:
        return columns.label_time if self._by_label_time else columns.event_time

    def _screens(
        self,
        batches: Sequence[RecordBatch],
        records: _Records,
        rows: NDArray[np.int64],
        columns: EventColumns,
    ) -> list[tuple[str, str, NDArray[np.bool_]]]:
        written = _written_ms(batches)[rows]
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
                    self._check.misplaced(columns, records.partitions[rows]),
                )
            )
        return screens


class InternalReader:
    """Reads an internal topic: records that our own stages wrote.

    earlier         versions of features that are earlier than this process's; None where any
                    other version is refused
    folds_features  whether the features that records carry enter the stage's state: then none of
                    another version is accepted, not even for the state alone
    """

    def __init__(
        self,
        decoder: InternalDecoder,
        earlier: EarlierVersions | None = None,
        *,
        folds_features: bool = False,
    ) -> None:
        self._decoder = decoder
        self._earlier = None if folds_features else earlier
        self._silently: tuple[str, ...] | None = () if folds_features else None

    def read(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return each batch as columns; features of an earlier version are NaN.

        Raises  StandstillError ``features_version_mismatch`` and ``schema_version_later`` for what
                a later worker wrote: it cannot be read as ours, and dropping it would lose events;
                ConflictError ``schema_version_unknown``
        """
        records = _joined(batches)
        if self._earlier is None:
            decoded = self._decoder.decode(records.values)
        else:
            decoded = self._decoder.decode(records.values, self._earlier.known)
            if any(record.code == OTHER_FEATURES for record in decoded.bad) and self._earlier.note(
                zip(records.values, _written_ms(batches).tolist(), strict=True)
            ):
                decoded = self._decoder.decode(records.values, self._earlier.known)
        return self._read(batches, records, decoded)

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return each batch as columns for the state alone, which features do not enter."""
        records = _joined(batches)
        decoded = self._decoder.decode(
            records.values, self._silently, for_state=self._silently is None
        )
        return self._read(batches, records, decoded)

    def _read(
        self, batches: Sequence[RecordBatch], records: _Records, decoded: Decoded
    ) -> list[ReadEvents]:
        for record in decoded.bad:
            if record.code in (OTHER_FEATURES, LATER, "schema_version_unknown"):
                topic, partition = batches[0].source.topic, int(records.partitions[record.row])
                offset = int(records.offsets[record.row])
                raise _of_another_version(record.code, topic, partition, offset)
        bad = [BadRow(row.row, row.code, row.message) for row in decoded.bad]
        rows, columns = _without_bad_lists(decoded, bad)
        progress = columns.event_time
        if np.count_nonzero(columns.label_time):
            progress = np.where(columns.label_time > 0, columns.label_time, progress)
        return _parted(batches, records, rows, columns, progress, bad)


def _of_another_version(code: str, topic: str, partition: int, offset: int) -> ConflictError:
    what = f"Record {offset} of {topic}-{partition} was written by another version"
    if code == "schema_version_unknown":
        return ConflictError(
            code,
            f"{what}, and this release cannot read its form.",
            "Let the workers of that version finish the topic first, or give the changed pipeline "
            "another name.",
            topic=topic,
            partition=partition,
            offset=offset,
        )
    return StandstillError(
        code,
        f"{what} of this pipeline, and cannot be read as one of this worker's.",
        "Restart this worker with that version: it goes on from this record. Where its own version "
        "is the newer one, give the changed pipeline another name: its steps fold features, or its "
        "events have other fields.",
        offset=offset,
        topic=topic,
        partition=partition,
    )


def _without_bad_lists(
    decoded: Decoded, bad: list[BadRow]
) -> tuple[NDArray[np.int64], EventColumns]:
    """Return rows and columns without changes of lists that hold none; those are added to `bad`."""
    rows, columns = decoded.rows, decoded.columns
    try:
        list_changes(columns)
    except InvalidDataError as error:
        wrong = [
            row for row in np.flatnonzero(columns.kind == LIST).tolist() if _is_bad(columns, row)
        ]
        bad += [BadRow(int(rows[row]), error.code, error.message) for row in wrong]
        kept = np.setdiff1d(np.arange(len(rows)), wrong)
        return rows[kept], columns.take(kept)
    return rows, columns


def _is_bad(columns: EventColumns, row: int) -> bool:
    try:
        list_changes(columns.slice(row, row + 1))
    except InvalidDataError:
        return True
    return False


class _Records(NamedTuple):
    """The ``n`` records of all batches, those of one batch behind those of another.

    values      n values
    offsets     (n,) int64
    partitions  (n,) int64
    starts      row at which each batch begins, and n
    """

    values: Sequence[bytes | None]
    offsets: NDArray[np.int64]
    partitions: NDArray[np.int64]
    starts: list[int]


def _joined(batches: Sequence[RecordBatch]) -> _Records:
    lengths = [len(batch) for batch in batches]
    if len(batches) == 1:
        [batch] = batches
        partitions = np.full(len(batch), batch.source.partition, np.int64)
        return _Records(batch.values, batch.offsets(), partitions, [0, len(batch)])
    return _Records(
        [value for batch in batches for value in batch.values],
        np.concatenate([batch.offsets() for batch in batches]),
        _partitions(batches, sum(lengths)),
        list(accumulate(lengths, initial=0)),
    )


def _partitions(batches: Sequence[RecordBatch], n: int) -> NDArray[np.int64]:
    """Return the partition of each record, (n,) int64; `np.repeat` takes three times as long."""
    partitions = np.empty(n, np.int64)
    start = 0
    for batch in batches:
        partitions[start : start + len(batch)] = batch.source.partition
        start += len(batch)
    return partitions


def _parted(
    batches: Sequence[RecordBatch],
    records: _Records,
    rows: NDArray[np.int64],
    columns: EventColumns,
    progress: NDArray[np.int64],
    bad: list[BadRow],
) -> list[ReadEvents]:
    """Give each batch its own rows of what was read together."""
    every = len(rows) == len(records.values)
    if len(batches) == 1:
        offsets = records.offsets if every else records.offsets[rows]
        return [ReadBatch(batches[0], rows, offsets, columns, progress, bad)]
    parts = []
    ends = records.starts if every else np.searchsorted(rows, records.starts).tolist()
    for at, batch in enumerate(batches):
        first, last = records.starts[at], records.starts[at + 1]
        these = slice(ends[at], ends[at + 1])
        own = rows[these]
        parts.append(
            ReadBatch(
                batch,
                own - first,
                records.offsets[own],
                columns.slice(these.start, these.stop),
                progress[these],
                [row._replace(row=row.row - first) for row in bad if first <= row.row < last],
            )
        )
    return parts


def _written_ms(batches: Sequence[RecordBatch]) -> NDArray[np.int64]:
    """Return (n,) int64: when each record was written, or its replay clock if that is declared."""
    written = np.concatenate([batch.records.timestamps for batch in batches])
    start = 0
    for batch in batches:
        if batch.records.has_headers:
            clocks = batch.records.headers_named(REPLAY_CLOCK_HEADER)
            for row, clock in enumerate(clocks, start):
                if clock is not None and clock.isdigit():
                    written[row] = int(clock)
        start += len(batch)
    return written
