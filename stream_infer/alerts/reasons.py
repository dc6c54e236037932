"""Why a score is high: what it would be if one thing were as usual.

A reason's contribution is the score less the score of the same row with the reason's
features put to what is usual for this entity (baseline substitution, the one-at-a-time form
of occlusion; Zeiler and Fergus 2014, section 4). All reasons of all alerting rows are scored
in one run. Contributions are no shares and do not add up: where either of two things alone
would explain the score, each contributes little. Things that say the same belong into one
reason, see `stream_infer.alerts.spec.Reason`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.candidate import FeatureReason
from stream_infer.alerts.spec import Alerts, Reason, Usual, UsualConstant, UsualMean, UsualOf

Score = Callable[[NDArray[np.float64]], NDArray[np.float32]]
ByVersion = Callable[[Sequence[int]], Sequence[tuple[Score, list[int]]]]
"""From rows to each model with those of them that it scored."""


def by_one(score: Score) -> ByVersion:
    """Return that one model scored all rows."""
    return lambda rows: [(score, list(rows))]


ROWS_MAX = 4_096
"""Rows of one run of the model: bounds the memory of a batch in which everything alerts."""
CONTRIBUTION_MIN = 0.01
"""A reason that explains less than this of the score is not told."""


@dataclass(frozen=True, slots=True)
class _Explained:
    """One declared reason: the column that is told, and the columns that are put back."""

    column: int
    along: tuple[int, ...]


class ReasonMaker:
    """Explains scores by a pipeline's declaration.

    alerts     what is usual, and which reasons there are
    features   names of the matrix's columns
    reference  feature -> what is usual for everybody, where nothing says what it is for the
               entity: the medians of the model's training data
    """

    def __init__(
        self,
        alerts: Alerts,
        features: Sequence[str],
        reference: Mapping[str, float] | None = None,
    ) -> None:
        self._columns = {name: column for column, name in enumerate(features)}
        self._usual = {
            self._columns[name]: usual
            for name, usual in alerts.usual.items()
            if name in self._columns
        }
        self._usual_level = {
            name: usual for name, usual in alerts.usual.items() if name not in self._columns
        }
        known = reference or {}
        self._reference = np.array([known.get(name, np.nan) for name in features], np.float64)
        explained = alerts.reasons or tuple(
            Reason(feature=name) for name in features if name in alerts.usual or name in known
        )
        self._explained = [
            _Explained(
                self._columns[reason.feature], tuple(self._columns[name] for name in reason.along)
            )
            for reason in explained
            # What the stage computes is no input of the model's, and can only be told.
            if reason.feature in self._columns
        ]
        self._told = [features[reason.column] for reason in self._explained]
        self._put_back = np.zeros((len(self._explained), len(features)), np.bool_)
        for row, reason in enumerate(self._explained):
            self._put_back[row, [reason.column, *reason.along]] = True
        self._reasons_max = alerts.reasons_max

    def usual(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, features) float64: what is usual for each row's entity, NaN where unknown."""
        usual = np.tile(self._reference, (len(matrix), 1))
        for column, declared in self._usual.items():
            values = self._usual_of(declared, matrix)
            usual[:, column] = np.where(np.isfinite(values), values, usual[:, column])
        return usual

    def explain(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float32], score: Score
    ) -> list[tuple[FeatureReason, ...]]:
        """Return the reasons of each row, the largest contribution first.

        matrix  (n, features) float64, alerting rows only
        scores  (n,) float32, their scores
        score   the model: (m, features) to (m,) float32
        Cost    one run over n times the declared reasons, at most `ROWS_MAX` rows at a time
        """
        count = len(self._explained)
        if not count or not self._reasons_max:
            return [()] * len(matrix)
        step = max(1, ROWS_MAX // count)
        reasons: list[tuple[FeatureReason, ...]] = []
        for start in range(0, len(matrix), step):
            rows = slice(start, start + step)
            reasons += self._explain(matrix[rows], scores[rows], score)
        return reasons

    @property
    def columns(self) -> NDArray[np.bool_]:
        """(reasons, features) bool: which features each reason is about."""
        return self._put_back.copy()

    def contributions(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float32], score: Score
    ) -> NDArray[np.float64]:
        """Return what each reason contributes to each score, (n, reasons) float64.

        0 where nothing is known of what is usual. Parameters and cost as of `explain`
        """
        step = max(1, ROWS_MAX // max(1, len(self._explained)))
        parts = [
            self._contributions(rows, self.usual(rows), scores[start : start + step], score)
            for start in range(0, len(matrix), step)
            if len(rows := matrix[start : start + step])
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self._explained)))

    def tell(
        self, row: NDArray[np.float64], names: Sequence[str], levels: Mapping[str, float]
    ) -> tuple[FeatureReason, ...]:
        """Return what is named of one row, with what is usual; no model is run.

        row     (features,) float64
        names   features, or levels that the stage computes
        levels  this row's levels by name
        """
        usual = self.usual(row[None])[0]
        told = []
        for name in names:
            column = self._columns.get(name)
            if column is not None:
                value, as_usual = row[column], usual[column]
            else:
                declared = self._usual_level.get(name)
                value = levels[name]
                as_usual = np.nan if declared is None else self._usual_of(declared, row[None])[0]
            told.append(FeatureReason(name, _finite(value), _finite(as_usual), None))
        return tuple(told)

    def _explain(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float32], score: Score
    ) -> list[tuple[FeatureReason, ...]]:
        usual = self.usual(matrix)
        contributions = self._contributions(matrix, usual, scores, score)
        order = np.argsort(-contributions, axis=1, kind="stable")[:, : self._reasons_max]
        return [
            tuple(
                self._reason(matrix, usual, row, index, float(contributions[row, index]))
                for index in best
                if contributions[row, index] >= CONTRIBUTION_MIN
            )
            for row, best in enumerate(order.tolist())
        ]

    def _contributions(
        self,
        matrix: NDArray[np.float64],
        usual: NDArray[np.float64],
        scores: NDArray[np.float32],
        score: Score,
    ) -> NDArray[np.float64]:
        n, width = matrix.shape
        put_back = self._put_back & np.isfinite(usual)[:, None, :]
        rows = np.where(put_back, usual[:, None, :], matrix[:, None, :])
        # Each score stands for itself, so that a row's reasons do not depend on its neighbours.
        without = score(rows.reshape(-1, width)).reshape(n, -1)
        contributions = scores.astype(np.float64)[:, None] - without
        contributions[~np.isfinite(contributions)] = 0.0
        return contributions

    def _reason(
        self,
        matrix: NDArray[np.float64],
        usual: NDArray[np.float64],
        row: int,
        index: int,
        contribution: float,
    ) -> FeatureReason:
        column = self._explained[index].column
        return FeatureReason(
            self._told[index],
            _finite(matrix[row, column]),
            _finite(usual[row, column]),
            round(contribution, 6),
        )

    def _usual_of(self, usual: Usual, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        match usual:
            case UsualConstant():
                return np.full(len(matrix), usual.value)
            case UsualOf():
                return matrix[:, self._columns[usual.of]] * usual.times
            case UsualMean():
                count = matrix[:, self._columns[usual.count]]
                total = matrix[:, self._columns[usual.mean]] * count
                others = total - matrix[:, self._columns[usual.value]]
                otherwise = np.nan if usual.otherwise is None else usual.otherwise
                known = count > 1
                return np.where(known, others / np.where(known, count - 1, 1), otherwise)
            case _:
                assert_never(usual)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
