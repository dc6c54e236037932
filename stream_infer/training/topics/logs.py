"""Reads a pipeline's events and labels from Kafka as columns.

Topics are read as committed, without a group, up to where they end when reading begins. Records
that a worker would not accept (they do not decode, or claim to come from the future) are left out
and counted, and those that its folds pass over are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.errors import InvalidDataError
from stream_infer.events.columns import EventColumns, concat
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.screen import screen_future
from stream_infer.kafka.reading import LogReader
from stream_infer.kafka.replaying import REPLAY_CLOCK_HEADER
from stream_infer.kafka.skips import Skipped
from stream_infer.pipeline import Pipeline
from stream_infer.training.history import Log

Note = Callable[[int], None]
"""Told how many records were read more."""


async def read_events(
    reader: LogReader,
    pipeline: Pipeline,
    fields: FieldMapping | None,
    skipped: Skipped,
    note: Note,
) -> Log:
    """Return the events of the pipeline's first topic.

    Raises  NotFoundError ``topic_missing``; InvalidDataError ``topic_empty``
    """
    decoder = EventDecoder(pipeline.events, fields)
    return await _read_log(reader, pipeline, pipeline.events.topic, decoder, skipped, note)


async def read_labels(
    reader: LogReader, pipeline: Pipeline, fields: FieldMapping | None, note: Note
) -> Log:
    """Return the labels.

    Raises  InvalidDataError ``no_labels``, also for a pipeline without any; NotFoundError
            ``topic_missing``
    """
    labels = pipeline.labels
    if labels is None:
        raise no_labels(f"Pipeline {pipeline.name!r} declares no labels")
    decoder = LabelDecoder(labels, pipeline.events, fields)
    try:
        return await _read_log(reader, pipeline, labels.topic, decoder, {}, note, is_label=True)
    except InvalidDataError as error:
        if error.code != "topic_empty":
            raise
        raise no_labels(f"The topic {labels.topic!r} holds no label that can be used") from None


def no_labels(what: str) -> InvalidDataError:
    """Return the error for a history of which nobody knows the truth."""
    return InvalidDataError(
        "no_labels",
        f"{what}: nobody knows yet which events were what.",
        "Send what became known to the labels' topic and evaluate again, or measure on a file with"
        " --data and --labels.",
    )


async def _read_log(
    reader: LogReader,
    pipeline: Pipeline,
    topic: str,
    decoder: EventDecoder | LabelDecoder,
    skipped: Skipped,
    note: Note,
    *,
    is_label: bool = False,
) -> Log:
    future_max_ms = parse_duration(pipeline.future_max)
    bounds = await reader.bounds(await reader.partitions(topic))
    found: dict[int, list[EventColumns]] = {}
    bad = 0
    async for tp, records in reader.read(bounds):
        note(len(records))
        kept = _without(records, skipped.get((tp.topic, tp.partition), frozenset()))
        decoded = decoder.decode([record.value for record in kept])
        columns = _placed(decoded.columns, topic, tp.partition, kept, decoded.rows)
        written = _written_ms(kept)[decoded.rows]
        ahead = screen_future(columns.event_time, written, future_max_ms)
        if is_label:
            ahead |= screen_future(columns.label_time, written, future_max_ms)
        if ahead.any():
            columns = columns.take(np.flatnonzero(~ahead))
        bad += len(kept) - len(columns)
        if len(columns):
            found.setdefault(tp.partition, []).append(columns)
    if not found:
        raise InvalidDataError(
            "topic_empty",
            f"The topic {topic!r} holds no record that can be used ({bad} cannot).",
            "Send events to it, or look at the dead letters: stream-infer dlq list.",
            topic=topic,
        )
    firsts = {
        partition: int((parts[0].label_time if is_label else parts[0].event_time)[0])
        for partition, parts in found.items()
    }
    starts = {tp.partition: log.start for tp, log in bounds.items()}
    return Log(
        concat([part for partition in sorted(found) for part in found[partition]]),
        bad,
        _cut_ms(firsts, starts),
    )


def _cut_ms(firsts: Mapping[int, int], starts: Mapping[int, int]) -> int | None:
    return max((ms for partition, ms in firsts.items() if starts[partition] > 0), default=None)


def _without(records: Sequence[Any], skipped: Collection[int]) -> Sequence[Any]:
    if not skipped:
        return records
    return [record for record in records if record.offset not in skipped]


def _placed(
    columns: EventColumns,
    topic: str,
    partition: int,
    records: Sequence[Any],
    rows: NDArray[np.int64],
) -> EventColumns:
    columns.source_topic = topic
    columns.source_partition = np.full(len(rows), partition, np.int64)
    columns.source_offset = np.array([record.offset for record in records], np.int64)[rows]
    return columns


def _written_ms(records: Sequence[Any]) -> NDArray[np.int64]:
    """Return when each record was written, or its replay clock where that is declared."""
    written = np.array([record.timestamp for record in records], np.int64)
    for row, record in enumerate(records):
        for name, value in record.headers:
            if name == REPLAY_CLOCK_HEADER and value is not None and value.isdigit():
                written[row] = int(value)
    return written
