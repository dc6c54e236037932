"""A pipeline's own history from Kafka, as `evaluate` measures it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stream_infer.errors import InvalidDataError
from stream_infer.events.columns import EventColumns
from stream_infer.events.mapping import FieldMapping
from stream_infer.features.plan import Plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.skips import read_skips, skipped_offsets
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer
from stream_infer.training.days import DAY_MS
from stream_infer.training.evaluating import Question, chosen_rows
from stream_infer.training.history import (
    SERVED,
    Scored,
    Served,
    as_served,
    computed,
    in_one_order,
)
from stream_infer.training.samples import Samples
from stream_infer.training.topics.answers import read_served
from stream_infer.training.topics.logs import Note, read_events, read_labels


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


def _summed(note: Callable[[int], None]) -> Note:
    """Return what takes counts one by one and tells their sum."""
    done = 0

    def more(records: int) -> None:
        nonlocal done
        done += records
        note(done)

    return more
