"""A pipeline's own history from Kafka: its events, its labels, and what a version answered.

Topics are read as committed, without a group, up to where they end when reading begins. Records
that a worker would not accept (they do not decode, or claim to come from the future) are left out
and counted, and those that its folds pass over are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.audit.identity import split_event_id
from stream_infer.durations import parse_duration
from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.events.columns import EventColumns, concat, pack_position
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.screen import screen_future
from stream_infer.events.topic_names import SHADOW_SCORES
from stream_infer.features.plan import Plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import LogReader, log_reader
from stream_infer.kafka.skips import Skipped, read_skips, skipped_offsets
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.manifest import Manifest
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer
from stream_infer.training.days import DAY_MS
from stream_infer.training.evaluating import Question, chosen_rows
from stream_infer.training.history import (
    SERVED,
    Log,
    Scored,
    Served,
    as_served,
    computed,
    in_one_order,
)
from stream_infer.training.samples import Samples

REPLAY_CLOCK_HEADER = "si-replay-clock"
"""Header of a declared replay: epoch ms as text, in place of the record's own timestamp."""

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


class _Answers:
    """What was read of a topic of scored events."""

    def __init__(self, pipeline: Pipeline, manifest: Manifest) -> None:
        events = pipeline.events
        self._topic, self._id, self._key = events.topic, events.id, events.key
        self._stamp = (manifest.name, manifest.version, manifest.features_fingerprint)
        self._decode = msgspec.json.Decoder(_row_type({events.id, events.key})).decode
        self.rows: dict[int, tuple[str, str, int]] = {}
        self.scores: dict[int, float] = {}
        self.unread = 0

    def take(self, values: Sequence[bytes | None], *, beside: bool) -> None:
        """Enter scored events; `beside` those of a shadow, which are no events of their own."""
        for value in values:
            try:
                row = self._decode(value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.unread += not beside  # beside, it may be another pipeline's
                continue
            place = split_event_id(row.event_id, self._topic)
            if place is None or row.duplicate_of is not None:
                continue
            packed = pack_position(*place)
            if not beside:
                self.rows[packed] = (
                    getattr(row, self._id),
                    getattr(row, self._key),
                    row.event_time,
                )
            if (row.model, row.version, row.features_version) == self._stamp:
                self.scores[packed] = np.nan if row.score is None else row.score

    def served(self, cut_ms: int | None) -> Served:
        place = np.array(sorted(self.rows), np.int64)
        rows = [self.rows[each] for each in place.tolist()]
        scores = [self.scores.get(each) for each in place.tolist()]
        return Served(
            [row[0] for row in rows],
            [row[1] for row in rows],
            place,
            np.array([row[2] for row in rows], np.int64),
            np.array([np.nan if each is None else each for each in scores], np.float32),
            np.array([each is not None for each in scores], np.bool_),
            cut_ms,
        )


def _row_type(ids: Collection[str]) -> type[Any]:
    return msgspec.defstruct(
        "ScoredRow",
        [
            ("event_id", str),
            *((name, str) for name in sorted(ids)),
            ("event_time", int),
            ("score", float | None, None),
            ("model", str | None, None),
            ("version", str | None, None),
            ("features_version", str, ""),
            ("duplicate_of", str | None, None),
        ],
        gc=False,
        kw_only=True,
    )


async def read_served(
    reader: LogReader,
    pipeline: Pipeline,
    manifest: Manifest,
    note: Note,
) -> Served:
    """Return what was scored, with the answers of one version, also those that it gave as a shadow.

    An answer of the version's name that was made of other features is another version's.
    """
    answers = _Answers(pipeline, manifest)
    cut_ms = None
    for topic in (pipeline.scored, SHADOW_SCORES):
        try:
            bounds = await reader.bounds(await reader.partitions(topic))
        except NotFoundError:
            continue  # nothing was scored yet, or no shadow ever ran: an older pipeline's topics
        async for _tp, records in reader.read(bounds):
            note(len(records))
            answers.take([record.value for record in records], beside=topic == SHADOW_SCORES)
        if topic == pipeline.scored and any(log.start > 0 for log in bounds.values()):
            cut_ms = min((row[2] for row in answers.rows.values()), default=None)
    return answers.served(cut_ms)


def _summed(note: Callable[[int], None]) -> Note:
    """Return what takes counts one by one and tells their sum."""
    done = 0

    def more(records: int) -> None:
        nonlocal done
        done += records
        note(done)

    return more


async def read_history(
    connection: Connection,
    model: Model,
    plan: Plan,
    question: Question,
    mappings: tuple[FieldMapping | None, FieldMapping | None],
    note: Callable[[int], None],
) -> Scored:
    """Return a pipeline's labelled events with one version's scores.

    The events are read and folded only where the version's own answers do not hold all that is
    asked for.
    mappings  where the events' and the labels' fields stand in the user's own JSON
    note      told how many records were read so far
    Raises    InvalidDataError ``no_labels``, ``topic_empty``; ConflictError ``features_differ``,
              ``features_fingerprint_differs``; NotFoundError ``topic_missing``; BrokerError
    """
    more = _summed(note)
    pipeline, manifest = plan.pipeline, model.manifest
    async with log_reader(connection) as reader:
        labels = await read_labels(reader, pipeline, mappings[1], more)
        served = await read_served(reader, pipeline, manifest, more)
        found = as_served(served, labels.columns, question.delay_ms)
        if covers(found.samples, served, question):
            return found
        # Before the long part: a model of other features is refused at once.
        scorer = Scorer(model, plan.feature_names, plan.fingerprint)
        skipped = skipped_offsets(await read_skips(connection, pipeline))
        events = await read_events(reader, pipeline, mappings[0], skipped, more)
    return await asyncio.to_thread(
        computed, plan, scorer, events, labels, served, question.delay_ms
    )


def covers(rows: Samples, served: Served, question: Question) -> bool:
    """Say whether a version's own answers hold all that is asked for."""
    try:
        chosen = chosen_rows(rows, question)
    except InvalidDataError:
        return False
    if not chosen.matrix[:, SERVED].all():
        return False
    test = question.test
    return test is None or served.cut_ms is None or test.first * DAY_MS >= served.cut_ms


async def read_readings_log(
    connection: Connection,
    pipeline: Pipeline,
    fields: FieldMapping | None,
    note: Callable[[int], None],
) -> EventColumns:
    """Return the readings of a pipeline's first topic in one order.

    Raises  as `read_events`
    """
    more = _summed(note)
    skipped = skipped_offsets(await read_skips(connection, pipeline))
    async with log_reader(connection) as reader:
        events = await read_events(reader, pipeline, fields, skipped, more)
    return in_one_order(events.columns)
