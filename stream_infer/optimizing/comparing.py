"""How a candidate's scores differ from the original's: decisions, and average precision."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.scoring.manifest import Thresholds
from stream_infer.training.samples import Samples
from stream_infer.training.thresholds import AlertBudget, choose_thresholds

Scores = NDArray[np.floating[Any]]
REPLICATES = 200
LOW, HIGH = 2.5, 97.5


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows that one of two models stops, and those on which their decisions differ.

    alerts      rows that either model sends to review or declines
    flips       of these, rows with another decision
    lost, new   of the flips, rows that the original alone stops, that the candidate alone stops
    right       positive rows that the original stops
    right_lost  of these, rows that the candidate lets pass
    right_new   positive rows that the candidate alone stops
    """

    alerts: int
    flips: int
    lost: int
    new: int
    right: int
    right_lost: int
    right_new: int

    @property
    def share(self) -> float:
        """Flips among the alerts; 0 where nobody stops anything."""
        return self.flips / max(1, self.alerts)

    @property
    def right_lost_share(self) -> float:
        """Right alerts that are let pass; 0 where none was right."""
        return self.right_lost / max(1, self.right)

    def facts(self) -> dict[str, Any]:
        """Return it as JSON-encodable facts."""
        return asdict(self) | {
            "share": round(self.share, 4),
            "right_lost_share": round(self.right_lost_share, 4),
        }


def count_flips(
    original: Scores,
    candidate: Scores,
    truth: NDArray[np.bool_],
    *,
    before: Thresholds,
    after: Thresholds,
) -> Flips:
    """Compare decisions, in float32 as a scorer makes them; NaN means review.

    before, after  thresholds of the original and of the candidate
    """
    one, other = _codes(original, before), _codes(candidate, after)
    was, is_now = one > 0, other > 0
    lost, new = was & ~is_now, is_now & ~was
    return Flips(
        int((was | is_now).sum()),
        int((one != other).sum()),
        int(lost.sum()),
        int(new.sum()),
        int((was & truth).sum()),
        int((lost & truth).sum()),
        int((new & truth).sum()),
    )


def as_many_stopped(original: Scores, candidate: Scores, thresholds: Thresholds) -> Thresholds:
    """Return thresholds at which a candidate stops as many rows as the original, or just fewer.

    Both models answer the same rows. Decisions would differ by the scale of the scores alone
    otherwise: a step of 8 bits may lie across a threshold, with hundreds of rows on it.
    """
    codes = _codes(original, thresholds)
    # Half a row more than the share, which as a float may be just below the whole number.
    review, decline = (
        min(1.0, ((codes > level).sum() + 0.5) / max(1, len(codes))) for level in (0, 1)
    )
    budget = AlertBudget(review=float(review), decline=float(decline))
    return choose_thresholds(np.asarray(candidate, np.float32), budget)


def _codes(scores: Scores, thresholds: Thresholds) -> NDArray[np.int8]:
    said = np.asarray(scores, np.float32)
    codes = (said >= np.float32(thresholds.review)).astype(np.int8)
    codes += said >= np.float32(thresholds.decline)
    codes[~np.isfinite(said)] = 1
    return codes


@dataclass(frozen=True, slots=True)
class Drop:
    """Average precision that is lost, and the interval of 95 % around it."""

    value: float
    low: float
    high: float

    def facts(self) -> dict[str, float]:
        """Return it as JSON-encodable facts."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


class Resampling:
    """Draws of customers, the same ones for every candidate, so that differences are paired.

    Customers are drawn, not rows or days: the frauds of one customer come in bursts and rise or
    fall together, and of days there are too few to draw from.

    samples  rows that are measured on
    seed     of the draws
    """

    def __init__(self, samples: Samples, seed: int, replicates: int = REPLICATES) -> None:
        random = np.random.default_rng(seed)
        customers, self._index = np.unique(samples.customer, return_inverse=True)
        counts = len(customers)
        self._drawn = [
            random.multinomial(counts, np.full(counts, 1 / counts)).astype(np.float64)
            for _ in range(replicates)
        ]
        self._truth = samples.truth

    def precisions(self, scores: Scores) -> NDArray[np.float64]:
        """Return average precision of the rows as they are, then of each draw, (1 + draws,).

        Cost  O(rows) a draw, after one sort
        """
        order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
        falling, truth = scores[order], self._truth[order].astype(np.float64)
        # A threshold takes all rows of one score or none.
        ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        said = [_weighted_precision(np.ones(len(order)), truth, ends)]
        index = self._index[order]
        said += [_weighted_precision(drawn[index], truth, ends) for drawn in self._drawn]
        return np.array(said)


def _weighted_precision(
    weights: NDArray[np.float64], truth: NDArray[np.float64], ends: NDArray[np.int64]
) -> float:
    right = np.cumsum(weights * truth)[ends]
    stopped = np.cumsum(weights)[ends]
    total = right[-1]
    if total == 0:
        return float("nan")  # a draw without a positive row says nothing
    precision = right / np.maximum(stopped, 1e-300)
    return float((np.diff(right, prepend=0.0) * precision).sum() / total)


def average_precision_drop(original: NDArray[np.float64], candidate: NDArray[np.float64]) -> Drop:
    """Return the drop from what `Resampling.precisions` said of two models."""
    drops = original - candidate
    low, high = np.nanpercentile(drops[1:], (LOW, HIGH)) if len(drops) > 1 else (drops[0],) * 2
    return Drop(float(drops[0]), float(low), float(high))
