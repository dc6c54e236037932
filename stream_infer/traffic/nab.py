"""The Numenta Anomaly Benchmark's score, from its published description.

An anomaly is a window of rows. The earliest row marked in a window counts for it, the more the
earlier; a window without any costs its weight; every marked row outside costs, less when it
follows a window closely. The first 15 percent of a series (of at most 5,000 rows) count for
nothing. 0 is a detector that never marks anything, 100 one that marks each window's first row
and nothing else.

Source  Lavin and Ahmad (2015), Evaluating Real-time Anomaly Detection Algorithms: the Numenta
        Anomaly Benchmark, section II; its weights of false positives are 0.11 (standard and low
        false negatives) and 0.22 (low false positives)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PROBATION = 0.15
PROBATION_ROWS = 5_000
_STEEPNESS = 5.0
_FAR = 3.0
"""Windows' widths behind a window, from which on a false mark counts in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What right and wrong marks weigh."""

    true: float = 1.0
    missed: float = 1.0
    false: float = 0.11


STANDARD = Profile()
LOW_FALSE_POSITIVES = Profile(false=0.22)
LOW_FALSE_NEGATIVES = Profile(missed=2.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One file's scores.

    scores   (n,) float64, higher where more anomalous
    windows  (first, last) rows of each labelled anomaly, both included
    """

    scores: NDArray[np.float64]
    windows: Sequence[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Rows that do not count."""
        return probation_rows(len(self.scores))


def probation_rows(rows: int) -> int:
    """Return how many of a series' first rows do not count."""
    return int(PROBATION * min(rows, PROBATION_ROWS))


def nab_score(series: Sequence[Series], threshold: float, profile: Profile = STANDARD) -> float:
    """Return the score of marking every row at or above a threshold."""
    windows = sum(len(each.windows) for each in series)
    total = sum(_raw(each, threshold, profile) for each in series)
    nothing = -profile.missed * windows
    return 100.0 * (total - nothing) / (profile.true * windows - nothing)


def best_threshold(series: Sequence[Series], profile: Profile = STANDARD) -> tuple[float, float]:
    """Return (threshold, score) of the threshold that scores highest; the highest such one."""
    counted = np.concatenate([each.scores[each.probation :] for each in series])
    best = (float("inf"), nab_score(series, float("inf"), profile))
    for threshold in np.unique(counted)[::-1].tolist():
        score = nab_score(series, threshold, profile)
        if score > best[1]:
            best = (threshold, score)
    return best


def _raw(series: Series, threshold: float, profile: Profile) -> float:
    weights, window_of = _weights(series, profile)
    marked = series.scores >= threshold
    marked[: series.probation] = False
    total = float(weights[marked & (window_of < 0)].sum())
    for number in range(len(series.windows)):
        found = weights[marked & (window_of == number)]
        total += float(found.max()) if len(found) else -profile.missed
    return total


def _weights(series: Series, profile: Profile) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what marking each row is worth, and the window that it lies in (-1 for none)."""
    n = len(series.scores)
    row = np.arange(n)
    weights = np.full(n, -profile.false)
    window_of = np.full(n, -1)
    for number, (first, last) in enumerate(series.windows):
        width = last - first + 1
        past = np.minimum((row - last) / max(width - 1, 1), _FAR + 1)
        behind = row > last
        weights[behind] = profile.false * _sigmoid(past[behind])
        inside = slice(first, last + 1)
        window_of[inside] = number
        place = -(last - row[inside] + 1) / width
        weights[inside] = profile.true * _sigmoid(place) / _sigmoid(np.array([-1.0]))[0]
    return weights, window_of


def _sigmoid(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 far before a window's end, 0 at it, -1 far behind."""
    return np.where(place > _FAR, -1.0, 2.0 / (1.0 + np.exp(_STEEPNESS * place)) - 1.0)
