"""Records of scored events, shadows' scores and labels, as a trial wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from stream_infer.errors import ConfigError
from stream_infer.events.decode import LabelDecoder
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.topic_names import SHADOW_SCORES
from stream_infer.guarding.trials import ScoreRead
from stream_infer.guardrails.trying import Tried
from stream_infer.pipeline import Labels, Pipeline


class TrialRecords:
    """Reads what a trial needs out of three topics.

    pipeline  with labels
    mapping   where the labels' fields stand in the user's own JSON
    Raises    ConfigError ``pipeline_without_labels``; what a `LabelDecoder` raises
    """

    def __init__(self, pipeline: Pipeline, mapping: FieldMapping | None) -> None:
        self.labels_declared = _labels_of(pipeline)
        self.labels_topic = self.labels_declared.topic
        self.scored_topic = pipeline.scored
        self._origin = f"{pipeline.events.topic}-"
        self._labels = LabelDecoder(self.labels_declared, pipeline.events, mapping)
        self._scores = msgspec.json.Decoder(_score_type(pipeline.events.id))

    def topics(self, tried: Tried) -> list[str]:
        """Return where the scores of a trial stand."""
        return [self.scored_topic, *([SHADOW_SCORES] if tried.paired else [])]

    def scores(
        self, tried: Tried, topic: str, values: Iterable[bytes | None]
    ) -> Iterator[ScoreRead]:
        """Return the scores of the two versions on trial; all else is passed over.

        A second record of the same event is none of another event, and a score that is no number is
        the guard's business.
        """
        decode, shadow = self._scores.decode, topic == SHADOW_SCORES
        for value in values:
            try:
                read: Any = decode(value or b"")
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # nobody but us writes there, and nothing depends on one event
            if read.score is None or read.duplicate_of is not None:
                continue
            if not read.event_id.startswith(self._origin):
                continue  # shadows of all pipelines share a topic
            challenges = read.version == tried.challenger
            # What the challenger decided is none of the shadow's, or an event would count twice.
            wanted = (
                challenges
                if shadow
                else read.version == tried.champion or (challenges and not tried.paired)
            )
            if wanted:
                yield ScoreRead(read.event, read.event_time, read.score, challenges)

    def labels(self, values: Sequence[bytes | None]) -> Iterator[tuple[str, bool]]:
        """Return the event's id and the truth of each label; bad ones are dead letters already."""
        columns = self._labels.decode(values).columns
        yield from zip(columns.ids, (columns.label > 0).tolist(), strict=True)


def _labels_of(pipeline: Pipeline) -> Labels:
    if pipeline.labels is None:
        raise ConfigError(
            "pipeline_without_labels",
            f"Pipeline {pipeline.name!r} has no labels to try a challenger on.",
            "Declare its labels, or leave [model] trial out.",
        )
    return pipeline.labels


def _score_type(id_field: str) -> type[msgspec.Struct]:
    fields: list[Any] = [
        ("event", str),
        ("event_id", str),
        ("event_time", int),
        ("score", float | None),
        ("version", str | None),
        ("duplicate_of", str | None, None),
    ]
    return msgspec.defstruct("Score", fields, rename={"event": id_field}, gc=False)
