"""Allow and block lists on their way from the users' topic into the deciding stage's log.

The reader makes a row of kind LIST of each record, the emitter writes it into every partition:
a customer's payments may lie in any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from stream_infer.alerts.lists import ListChange, ListRecord, list_key, read_list_change
from stream_infer.dataplane.batch import BadRow, Partition, RecordBatch
from stream_infer.dataplane.outputs import NO_HEADERS
from stream_infer.dataplane.stage import Emitted, Part, Parts, ReadBatch, ReadEvents
from stream_infer.errors import InvalidDataError
from stream_infer.events.columns import LIST, NO_POSITION, EventColumns
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.observability.meter import StageMeter
from stream_infer.pipeline import Events


@dataclass(frozen=True, slots=True)
class ListReader:
    """Reads the lists' topic.

    events  those of the pipeline whose log the changes go to
    """

    events: Events

    def read(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return each batch with changes as rows; what is none becomes a dead letter."""
        return [self._read(batch) for batch in batches]

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return what `read` does."""
        return self.read(batches)

    def _read(self, batch: RecordBatch) -> ReadEvents:
        rows, changes, bad = [], [], []
        for row, record in enumerate(batch.records):
            try:
                change = read_list_change(record.key, record.value, *batch.source, record.offset)
            except InvalidDataError as error:
                bad.append(BadRow(row, error.code, error.message))
            else:
                rows.append(row)
                changes.append(change)
        at = np.array(rows, np.int64)
        written = np.array([batch.records[row].timestamp for row in rows], np.int64)
        columns = list_columns(changes, self.events)
        # A change that is dated ahead is held back no longer than it has been written.
        progress = np.minimum(columns.event_time, written)
        return ReadBatch(batch, at, batch.offsets()[at], columns, progress, bad)


def list_columns(changes: Sequence[ListChange], events: Events) -> EventColumns:
    """Return changes as rows of kind LIST; they have no entity of the pipeline's."""
    n = len(changes)
    nothing = np.zeros(n, np.int64)
    return EventColumns(
        kind=np.full(n, LIST, np.int8),
        event_time=np.array([change.event_time for change in changes], np.int64),
        ids=[list_key(change.list, change.entity).decode() for change in changes],
        entities={name: [""] * n for name in events.entities},
        values=dict.fromkeys(events.decimals, nothing),
        features=np.empty((n, 0)),
        source_topic=events.topic,
        source_partition=np.full(n, -1, np.int64),
        source_offset=np.full(n, -1, np.int64),
        late=np.zeros(n, np.bool_),
        duplicate_of=np.full(n, NO_POSITION, np.int64),
        label=np.full(n, -1, np.int8),
        label_time=nothing,
        extra=[_record(change) for change in changes],
    )


def _record(change: ListChange) -> bytes:
    return msgspec.json.encode(
        ListRecord(
            list=change.list,
            entity=change.entity,
            listed=change.listed,
            reason=change.reason,
            event_time=change.event_time,
        )
    )


@dataclass(frozen=True, slots=True)
class BroadcastEmitter:
    """Writes each row into every partition of a topic.

    events            the pipeline's events
    topic             the log that the deciding stage folds
    partitions        how many it has
    features_version  of the records among which the rows stand
    """

    events: Events
    topic: str
    partitions: int
    features_version: str

    def emit(self, parts: Parts, meter: StageMeter) -> list[Emitted]:
        """Add the records to the outputs of their part."""
        return [self._emit(part) for part in parts]

    def _emit(self, part: Part) -> Emitted:
        read, columns = part.read, part.read.columns
        values = encode_internal(
            columns,
            read.batch.source.topic,
            np.full(len(columns), read.batch.source.partition, np.int64),
            read.offsets,
            columns.features,
            self.features_version,
            self.events,
        )
        for key, value, row in zip(columns.ids, values, read.rows.tolist(), strict=True):
            for partition in range(self.partitions):
                destination = Partition(self.topic, partition)
                part.outputs.add(destination, key.encode(), value, NO_HEADERS, row)
        return Emitted(forwarded=len(columns) * self.partitions)
