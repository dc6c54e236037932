"""Reads what one version answered about a pipeline's events: as it served, or as a shadow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np

from stream_infer.audit.identity import split_event_id
from stream_infer.errors import NotFoundError
from stream_infer.events.columns import pack_position
from stream_infer.events.topic_names import SHADOW_SCORES
from stream_infer.kafka.reading import LogReader
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.manifest import Manifest
from stream_infer.training.history import Served
from stream_infer.training.topics.logs import Note


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
