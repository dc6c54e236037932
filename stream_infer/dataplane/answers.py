"""What a scoring stage says about its rows: by a probability, or by conditions of a road.

An `Answering` turns rows and their features into record values, and keeps what was said in
the form from which candidates for alerts are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.decisions import Decided, Decider
from stream_infer.alerts.listed import Listed
from stream_infer.alerts.reasons import ByVersion
from stream_infer.events.columns import EventColumns
from stream_infer.events.scored import ScoredEncoder
from stream_infer.events.scored_readings import ScoredReadingEncoder
from stream_infer.features.plan import Plan
from stream_infer.observability.meter import EMIT, SCORE, StageMeter
from stream_infer.scoring.conditions import ROAD_LEVELS
from stream_infer.serving.forecaster import Forecaster
from stream_infer.serving.router import Routed, Router


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said about ``n`` rows.

    values          n record values
    decided         decisions, and the rules that made them
    scores          (n,) float32, None without a model
    by_version      the model that scored each row, for reasons; None without one
    model, version  which model it was; n versions where they differ
    shadow          n record values of the shadow's, None without one
    levels          further levels that alerts may be declared on, by name
    """

    values: list[bytes]
    decided: Decided
    scores: NDArray[np.float32] | None = None
    by_version: ByVersion | None = None
    model: str | None = None
    version: str | Sequence[str] | None = None
    shadow: list[bytes] | None = None
    levels: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Answering(Protocol):
    """Says something about rows."""

    @property
    def levels(self) -> Sequence[str]:
        """Names of the levels that it computes."""

    def answer(
        self,
        columns: EventColumns,
        matrix: NDArray[np.float64],
        listed: Listed,
        meter: StageMeter,
    ) -> Answer:
        """Return what is said about the rows.

        matrix  (n, features) float64
        listed  which rows are on a list
        """


class Probabilities:
    """Answers with the probability of an event being positive, and a decision.

    plan              the pipeline's plan
    router            chooses the model, None for a pipeline that only publishes features
    publish_features  whether scored events carry their features
    """

    levels: Sequence[str] = ()

    def __init__(self, plan: Plan, router: Router | None, *, publish_features: bool) -> None:
        self._plan = plan
        self._router = router
        self._publishes = publish_features or router is None
        alerts = plan.pipeline.alerts
        self._decider = (
            None if alerts is None else Decider(alerts, plan.pipeline.events, plan.feature_names)
        )
        self._encoder = ScoredEncoder(plan.pipeline, plan.feature_names, self._publishes)
        self._shadow_encoder = ScoredEncoder(plan.pipeline, plan.feature_names)
        self._key = plan.pipeline.events.key

    def answer(
        self,
        columns: EventColumns,
        matrix: NDArray[np.float64],
        listed: Listed,
        meter: StageMeter,
    ) -> Answer:
        """Return what is said about the rows."""
        began = perf_counter()
        routed, scores, words, versions = None, None, None, None
        if self._router is not None:
            routed = self._router.route(columns.entities[self._key], matrix)
            scores, words, versions = routed.scores, routed.decisions, routed.versions()
        if self._decider is None:
            decided = Decided(words, {}, {}, frozenset())
        else:
            decided = self._decider.decide(columns, matrix, words, listed)
        meter.lap_within(SCORE, EMIT, began)
        name = None if routed is None else routed.name
        values = self._encoder.encode(
            columns,
            scores,
            decided.decisions,
            name,
            versions,
            self._plan.fingerprint,
            matrix if self._publishes else None,
            decided.rule_column(len(columns)),
        )
        return Answer(
            values,
            decided,
            scores,
            None if routed is None else routed.by_version,
            name,
            versions,
            None if routed is None else self._beside(columns, routed),
        )

    def _beside(self, columns: EventColumns, routed: Routed) -> list[bytes] | None:
        """Return what the shadow says, in the form of scored events; nobody acts on it."""
        said = routed.shadow
        if said is None:
            return None
        fingerprint = self._plan.fingerprint
        return self._shadow_encoder.encode(
            columns, said.scores, said.decisions, said.name, said.versions(), fingerprint
        )


class RoadConditions:
    """Answers with what is measured, how unusual it is and what is forecast.

    plan              of a pipeline with `conditions`
    forecaster        holds the version that judges readings
    publish_features  whether scored readings carry their features
    """

    levels: Sequence[str] = ROAD_LEVELS

    def __init__(self, plan: Plan, forecaster: Forecaster, *, publish_features: bool) -> None:
        self._forecaster = forecaster
        self._fingerprint = plan.fingerprint
        self._publishes = publish_features
        self._encoder = ScoredReadingEncoder(
            plan.pipeline, plan.feature_names, publish_features=publish_features
        )

    def answer(
        self,
        columns: EventColumns,
        matrix: NDArray[np.float64],
        listed: Listed,
        meter: StageMeter,
    ) -> Answer:
        """Return what is said about the rows."""
        began = perf_counter()
        scorer = self._forecaster.champion
        judged = scorer.judge(matrix)
        meter.lap_within(SCORE, EMIT, began)
        values = self._encoder.encode(
            columns,
            judged.anomaly,
            judged.levels,
            judged.forecasts,
            scorer.name,
            scorer.version,
            self._fingerprint,
            matrix if self._publishes else None,
        )
        return Answer(
            values,
            Decided(None, {}, {}, frozenset()),
            model=scorer.name,
            version=scorer.version,
            levels=judged.alert_levels(),
        )
