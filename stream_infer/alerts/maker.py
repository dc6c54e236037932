"""From scored rows to candidates: what a scoring stage writes for the alert stage.

Only rows whose level reaches the keeping level of a kind become candidates, and only those
are explained, in one run of the model for all of them. Nothing here has a state: whether a
candidate opens an alert is for the alert stage to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.candidate import Candidate, Fact, FeatureReason, encode_candidates
from stream_infer.alerts.decisions import STRICTNESS, Decided
from stream_infer.alerts.declared import AlertPlan, KindPlan, check_names
from stream_infer.alerts.reasons import ByVersion, ReasonMaker
from stream_infer.alerts.spec import DECISION, MODEL_LEVELS, SCORE, AlertKind
from stream_infer.events.columns import NO_POSITION, EventColumns
from stream_infer.events.measures import NO_VALUE
from stream_infer.events.scored import event_ids
from stream_infer.events.shortest import shortest_floats
from stream_infer.pipeline import Events

_SCORE_BELOW = 1 - 2.0**-20
"""A score of 1 must not carry a decision over to the next one."""
_HALF_STEP = 1e-6
"""More than a score's published form and its 64-bit value can be apart."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows that a model, or nobody, has scored.

    columns         n rows of one upstream topic; of several partitions, one behind the other
    partitions      (n,) int64, the upstream partition of each
    offsets         (n,) int64, where each stands there
    matrix          (n, features) float64
    decided         what is decided about them
    scores          (n,) float32, None without a model
    by_version      the model that scored each row, for reasons; None without one
    model, version  which model it was; n versions where they differ
    levels          further levels by name, (n,) float64 each; NaN is no level
    """

    columns: EventColumns
    upstream_topic: str
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    matrix: NDArray[np.float64]
    decided: Decided
    scores: NDArray[np.float32] | None = None
    by_version: ByVersion | None = None
    model: str | None = None
    version: str | Sequence[str] | None = None
    levels: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def version_of(self, row: int) -> str | None:
        """Return the version that scored a row, None without a model."""
        version = self.version
        return version if version is None or isinstance(version, str) else version[row]


@dataclass(frozen=True, slots=True)
class CandidateRecords:
    """Candidates as they are written, in log order.

    rows    row of each among the given ones
    keys    the entity or group that it is partitioned by
    values  record values
    """

    rows: list[int]
    keys: list[str]
    values: list[bytes]


class CandidateMaker:
    """Makes candidates of one pipeline's rows.

    plan       what is declared
    events     the pipeline's events
    features   names of the matrix's columns
    reference  feature -> what is usual for everybody, see `ReasonMaker`
    levels     names of the levels that the stage computes itself
    Raises     ConfigError where the declaration names what the pipeline does not have
    """

    def __init__(
        self,
        plan: AlertPlan,
        events: Events,
        features: Sequence[str],
        reference: Mapping[str, float] | None = None,
        levels: Iterable[str] = (),
    ) -> None:
        check_names(plan.alerts, events, features, levels)
        self._kinds = tuple(plan.kinds.values())
        self._key, self._known = events.key, events.known
        self._scales = {name: 10**digits for name, digits in events.decimals.items()}
        self._features = {name: column for column, name in enumerate(features)}
        self._reasons = ReasonMaker(plan.alerts, features, reference)

    def make(self, scored: ScoredRows) -> CandidateRecords:
        """Return the candidates of the rows, by row and then by kind.

        Cost  a comparison of a column for each kind, and for a batch with candidates one run
              of the model over their number times that of the reasons
        """
        levels = _Levels(scored, self._features)
        found = [
            (row, kind, level)
            for kind in self._kinds
            for row, level in levels.reached(kind)
            if self._may_alert(scored, row)
        ]
        if not found:
            return CandidateRecords([], [], [])
        found.sort(key=lambda item: (item[0], item[1].index))
        reasons = self._explained(scored, found)
        ids = _event_ids(scored.columns, [row for row, _, _ in found])
        candidates = [
            self._candidate(scored, row, kind, level, event_id, reasons.get(row, ()))
            for (row, kind, level), event_id in zip(found, ids, strict=True)
        ]
        return CandidateRecords(
            [row for row, _, _ in found],
            [
                candidate_key(kind, item.entity, item.group)
                for (_, kind, _), item in zip(found, candidates, strict=True)
            ],
            encode_candidates(candidates),
        )

    def _may_alert(self, scored: ScoredRows, row: int) -> bool:
        # A repeat of an event has been a candidate already, and what is allowed never is one.
        return row not in scored.decided.allowed and scored.columns.duplicate_of[row] == NO_POSITION

    def _explained(
        self, scored: ScoredRows, found: Sequence[tuple[int, KindPlan, float]]
    ) -> dict[int, tuple[FeatureReason, ...]]:
        if scored.by_version is None or scored.scores is None:
            return {}
        rows = sorted({row for row, kind, _ in found if kind.spec.level in MODEL_LEVELS})
        if not rows:
            return {}
        reasons: dict[int, tuple[FeatureReason, ...]] = {}
        for score, those in scored.by_version(rows):
            told = self._reasons.explain(scored.matrix[those], scored.scores[those], score)
            reasons |= zip(those, told, strict=True)
        return reasons

    def _candidate(
        self,
        scored: ScoredRows,
        row: int,
        kind: KindPlan,
        level: float,
        event_id: str,
        reasons: tuple[FeatureReason, ...],
    ) -> Candidate:
        columns, spec, decided = scored.columns, kind.spec, scored.decided
        from_model = spec.level in MODEL_LEVELS
        return Candidate(
            kind=kind.name,
            upstream_topic=scored.upstream_topic,
            upstream_partition=int(scored.partitions[row]),
            upstream_offset=int(scored.offsets[row]),
            sub=kind.index,
            event_time=int(columns.event_time[row]),
            entity=columns.entities[spec.entity][row],
            group=self._group(columns, spec, row),
            level=level,
            score=None if scored.scores is None else shortest_floats(scored.scores[[row]])[0],
            decision=None if decided.decisions is None else decided.decisions[row],
            rule=decided.rules.get(row) if from_model else None,
            model=scored.model,
            version=scored.version_of(row),
            event_id=event_id,
            other=None if spec.other is None else columns.entities[spec.other][row],
            reasons=reasons if from_model else self._told(scored, row, spec.tells),
            facts=self._facts(scored, row, spec.facts),
        )

    def _told(
        self, scored: ScoredRows, row: int, names: Sequence[str]
    ) -> tuple[FeatureReason, ...]:
        levels = {name: float(scored.levels[name][row]) for name in names if name in scored.levels}
        return self._reasons.tell(scored.matrix[row], names, levels)

    def _group(self, columns: EventColumns, spec: AlertKind, row: int) -> str:
        if spec.group is None:
            return ""
        if spec.group in columns.entities or self._known is None:
            return columns.entities[spec.group][row]
        return self._known.places_of([columns.entities[self._key][row]])[0]

    def _facts(self, scored: ScoredRows, row: int, names: Sequence[str]) -> dict[str, Fact]:
        columns = scored.columns
        facts: dict[str, Fact] = {}
        for name in names:
            value: Fact
            if name in columns.entities:
                value = columns.entities[name][row]
            elif name in self._scales:
                units = int(columns.values[name][row])
                value = math.nan if units == NO_VALUE else units / self._scales[name]
            elif name in self._features:
                value = float(scored.matrix[row, self._features[name]])
            elif name in scored.levels:
                value = float(scored.levels[name][row])
            else:
                continue
            # An absent measurement, or no number: the text goes without this fact.
            if isinstance(value, str) or np.isfinite(value):
                facts[name] = value
        return facts


class _Levels:
    """The levels of one batch's rows; those of the model are computed once, when first asked for.

    scored    the rows
    features  feature -> column of the matrix
    """

    def __init__(self, scored: ScoredRows, features: Mapping[str, int]) -> None:
        self._scored = scored
        self._features = features
        self._scores = _scores(scored)
        self._decided: NDArray[np.float64] | None = None

    def reached(self, kind: KindPlan) -> list[tuple[int, float]]:
        """Return the rows whose level keeps an alert of this kind open, and their level."""
        name = kind.spec.level
        levels = self._column(name)
        if levels is None:
            return []
        least = kind.keep_at - (_HALF_STEP if name in MODEL_LEVELS else 0.0)
        rows: list[int] = np.flatnonzero(levels >= least).tolist()
        if not rows:
            return []
        exact = self._published(name, levels, rows)
        return [(row, at) for row, at in zip(rows, exact, strict=True) if at >= kind.keep_at]

    def _column(self, name: str) -> NDArray[np.float64] | None:
        """Return a level of each row, or None when nothing computes it."""
        if name == DECISION:
            if self._decided is None and self._scores is not None:
                self._decided = _with_decisions(self._scores, self._scored.decided.decisions)
            return self._decided
        if name == SCORE:
            return self._scores
        if name in self._scored.levels:
            return self._scored.levels[name]
        column = self._features.get(name)
        return None if column is None else self._scored.matrix[:, column]

    def _published(self, name: str, levels: NDArray[np.float64], rows: list[int]) -> list[float]:
        """Return the levels with each score in its published form.

        A float32 of 0.9 is 0.89999998 in 64 bits; a threshold of 0.9 means what is printed.
        """
        found: list[float] = levels[rows].tolist()
        if name not in MODEL_LEVELS or self._scores is None:
            return found
        widened = self._scores[rows].tolist()
        narrow = shortest_floats(self._scores[rows].astype(np.float32))
        return [
            round(level - wide) + short if short is not None and wide <= _SCORE_BELOW else level
            for level, wide, short in zip(found, widened, narrow, strict=True)
        ]


def _scores(scored: ScoredRows) -> NDArray[np.float64] | None:
    """Return each row's score, at least what its rule says; None without model and rule."""
    if scored.scores is None and not scored.decided.scores:
        return None
    n = len(scored.columns)
    scores = np.zeros(n) if scored.scores is None else scored.scores.astype(np.float64)
    # A score that is no number has the decision review: a person looks.
    scores[~np.isfinite(scores)] = 0.0
    for row, least in scored.decided.scores.items():
        scores[row] = max(scores[row], least)
    return scores


def _with_decisions(
    scores: NDArray[np.float64], decisions: Sequence[str | None] | None
) -> NDArray[np.float64]:
    if decisions is None:
        return scores
    codes = np.fromiter(map(STRICTNESS.__getitem__, decisions), np.float64, len(decisions))
    return np.maximum(codes, 0.0) + np.clip(scores, 0.0, _SCORE_BELOW)


def candidate_key(kind: KindPlan, entity: str, group: str) -> str:
    """Return the key of a candidate's record: its group, or ``customer:c-17`` without one.

    All candidates that one alert may be made of have one key, and so one partition. The
    entity's kind stands before it, for a customer and a terminal may have the same id.
    """
    if kind.spec.group is not None:
        return group
    return f"{kind.spec.entity.removesuffix('_id')}:{entity}"


def _event_ids(columns: EventColumns, rows: Sequence[int]) -> list[str]:
    return event_ids(
        columns.source_topic, columns.source_partition[rows], columns.source_offset[rows]
    )
