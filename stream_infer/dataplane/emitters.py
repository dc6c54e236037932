"""Emitters: from folded rows to output records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.dataplane.outputs import Headers, Outputs
from stream_infer.dataplane.stage import Emitted, ReadBatch
from stream_infer.events.columns import EVENT, EventColumns
from stream_infer.events.internal import encode_internal
from stream_infer.events.scored import ScoredEncoder
from stream_infer.features.fold import Folded
from stream_infer.features.plan import Plan
from stream_infer.pipeline import Events
from stream_infer.records import KeyPartitioner
from stream_infer.scoring.session import Scorer


@dataclass(frozen=True, slots=True)
class ForwardEmitter:
    """Writes rows to the internal topic in front of the next stage.

    events            the pipeline's events
    topic             the internal topic
    entity            the field it is keyed by
    partitioner       with its number of partitions
    features_version  of the features that the rows carry
    """

    events: Events
    topic: str
    entity: str
    partitioner: KeyPartitioner
    features_version: str

    def emit(self, read: ReadBatch, folded: Folded | None, outputs: Outputs) -> Emitted:
        """Add one internal record a row that was accepted."""
        columns, rows, offsets, headers = read.columns, read.rows, read.offsets, read.headers()
        features = columns.features
        if folded is not None:
            columns.late, columns.duplicate_of = folded.late, folded.duplicate_of
            features = np.hstack((columns.features, folded.features))
            if not folded.accepted.all():
                kept = np.flatnonzero(folded.accepted)
                columns, features = columns.take(kept), features[kept]
                rows, offsets, headers = rows[kept], offsets[kept], _pick(headers, kept)
        values = encode_internal(
            columns,
            read.batch.source.topic,
            read.batch.source.partition,
            offsets,
            features,
            self.features_version,
            self.events,
        )
        places = self.partitioner.place(columns.entities[self.entity])
        outputs.add_many(self.topic, places, values, headers, rows.tolist())
        return Emitted(forwarded=len(values))


class ScoreEmitter:
    """Scores events and writes them to the pipeline's output topic.

    plan              the pipeline's plan
    scorer            the model, None for a pipeline that only publishes features
    partitioner       with the output topic's number of partitions
    publish_features  whether scored events carry their features
    """

    def __init__(
        self,
        plan: Plan,
        scorer: Scorer | None,
        partitioner: KeyPartitioner,
        *,
        publish_features: bool,
    ) -> None:
        self._plan = plan
        self._scorer = scorer
        self._partitioner = partitioner
        self._publish_features = publish_features or scorer is None
        self._key = plan.pipeline.events.key
        self._topic = plan.pipeline.scored
        self._encoder = ScoredEncoder(plan.pipeline, plan.feature_names, self._publish_features)

    def emit(self, read: ReadBatch, folded: Folded | None, outputs: Outputs) -> Emitted:
        """Add one scored event for each event that was accepted."""
        columns, rows, headers = read.columns, read.rows, read.headers()
        features = columns.features
        if folded is not None:
            if self._plan.stages[-1].first:
                columns.late, columns.duplicate_of = folded.late, folded.duplicate_of
            features = np.hstack((columns.features, folded.features))
            scored = folded.accepted & (columns.kind == EVENT)
            if not scored.all():
                kept = np.flatnonzero(scored)
                columns, features = columns.take(kept), features[kept]
                rows, headers = rows[kept], _pick(headers, kept)
        if len(rows) == 0:
            return Emitted()
        values = self._encode(columns, self._plan.matrix(columns, features))
        places = self._partitioner.place(columns.entities[self._key])
        outputs.add_many(self._topic, places, values, headers, rows.tolist())
        return Emitted(scored=len(values))

    def _encode(self, columns: EventColumns, matrix: NDArray[np.float64]) -> list[bytes]:
        scores = decisions = model = version = None
        if self._scorer is not None:
            scores = self._scorer.score(matrix)
            decisions = self._scorer.decisions(scores)
            model, version = self._scorer.name, self._scorer.version
        return self._encoder.encode(
            columns,
            scores,
            decisions,
            model,
            version,
            self._plan.fingerprint,
            matrix if self._publish_features else None,
        )


def _pick(headers: list[Headers] | None, kept: NDArray[np.int64]) -> list[Headers] | None:
    return None if headers is None else [headers[i] for i in kept.tolist()]
