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
from stream_infer.alerts.reasons import Score
from stream_infer.events.columns import EventColumns
from stream_infer.events.scored import ScoredEncoder
from stream_infer.events.scored_readings import ScoredReadingEncoder
from stream_infer.features.plan import Plan
from stream_infer.observability.meter import EMIT, SCORE, StageMeter
from stream_infer.scoring.conditions import ROAD_LEVELS, ConditionScorer
from stream_infer.scoring.session import Scorer


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said about ``n`` rows.

    values          n record values
    decided         decisions, and the rules that made them
    scores          (n,) float32, None without a model
    score           the model, for reasons; None without one
    model, version  which model it was
    levels          further levels that alerts may be declared on, by name
    """

    values: list[bytes]
    decided: Decided
    scores: NDArray[np.float32] | None = None
    score: Score | None = None
    model: str | None = None
    version: str | None = None
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
    scorer            the model, None for a pipeline that only publishes features
    publish_features  whether scored events carry their features
    """

    levels: Sequence[str] = ()

    def __init__(self, plan: Plan, scorer: Scorer | None, *, publish_features: bool) -> None:
        self._plan = plan
        self._scorer = scorer
        self._publishes = publish_features or scorer is None
        alerts = plan.pipeline.alerts
        self._decider = (
            None if alerts is None else Decider(alerts, plan.pipeline.events, plan.feature_names)
        )
        self._encoder = ScoredEncoder(plan.pipeline, plan.feature_names, self._publishes)

    def answer(
        self,
        columns: EventColumns,
        matrix: NDArray[np.float64],
        listed: Listed,
        meter: StageMeter,
    ) -> Answer:
        """Return what is said about the rows."""
        began = perf_counter()
        scorer, scores, words = self._scorer, None, None
        if scorer is not None:
            scores = scorer.score(matrix)
            words = scorer.decisions(scores)
        if self._decider is None:
            decided = Decided(words, {}, {}, frozenset())
        else:
            decided = self._decider.decide(columns, matrix, words, listed)
        meter.lap_within(SCORE, EMIT, began)
        name, version = (None, None) if scorer is None else (scorer.name, scorer.version)
        values = self._encoder.encode(
            columns,
            scores,
            decided.decisions,
            name,
            version,
            self._plan.fingerprint,
            matrix if self._publishes else None,
            decided.rule_column(len(columns)),
        )
        return Answer(
            values, decided, scores, None if scorer is None else scorer.score, name, version
        )


class RoadConditions:
    """Answers with what is measured, how unusual it is and what is forecast.

    plan              of a pipeline with `conditions`
    scorer            judges readings
    publish_features  whether scored readings carry their features
    """

    levels: Sequence[str] = ROAD_LEVELS

    def __init__(self, plan: Plan, scorer: ConditionScorer, *, publish_features: bool) -> None:
        self._scorer = scorer
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
        judged = self._scorer.judge(matrix)
        meter.lap_within(SCORE, EMIT, began)
        values = self._encoder.encode(
            columns,
            judged.anomaly,
            judged.levels,
            judged.forecasts,
            self._scorer.name,
            self._scorer.version,
            self._fingerprint,
            matrix if self._publishes else None,
        )
        return Answer(
            values,
            Decided(None, {}, {}, frozenset()),
            model=self._scorer.name,
            version=self._scorer.version,
            levels=judged.alert_levels(),
        )
