"""How far two distributions are apart, and how far chance alone would bring them.

The population stability index of two histograms is ``sum((q - p) * ln(q / p))``. The usual bounds
of 0.1 and 0.25 ignore how many rows there are: a hundred rows reach them by chance, and of a
million a far smaller index is no chance. Of two samples of one distribution the index is about
``(1/n + 1/m)`` times chi-squared with one degree of freedom less than bins, so what chance
explains is taken off before the rest is compared with a size that matters.

Source  Yurdakul and Naranjo (2020), Statistical Properties of the Population Stability Index,
        Journal of Risk Model Validation 14 (4); Wilson and Hilferty (1931) for chi-squared
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

FALSE_ALARM = 1e-4
"""Chance that one comparison of two equal distributions passes the bound. It is made every
minute or so for each feature, so one in a hundred would be an alarm an hour."""
EFFECT_MAX = 0.1
"""An index that is usually called small; what is above, beyond chance, is drift."""
_ADDED = 0.5
"""To each bin, so that an empty one is unlikely and not impossible (Jeffreys)."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Two histograms compared.

    index     the population stability index
    by_chance what equal distributions of these sizes stay below, but for one time in many
    rows      of the smaller histogram
    """

    index: float
    by_chance: float
    rows: int

    def drifted(self, effect_max: float = EFFECT_MAX) -> bool:
        """Say whether the distributions are further apart than chance and `effect_max` explain."""
        return self.index > self.by_chance + effect_max


def compare(
    before: Sequence[float], after: Sequence[float], false_alarm: float = FALSE_ALARM
) -> Stability:
    """Return how far two histograms over the same bins are apart.

    before, after  counts by bin; of a weighted sample no whole numbers
    false_alarm    share of comparisons of equal distributions that may pass the bound
    Raises         ValueError where they have not as many bins

    >>> compare([10, 10], [100, 100]).index
    0.0
    """
    if len(before) != len(after):
        raise ValueError(f"histograms of {len(before)} and {len(after)} bins")
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    rows = int(min(first.sum(), second.sum()))
    # A bin that neither has ever seen says nothing.
    seen = (first + second) > 0
    bins = int(np.count_nonzero(seen))
    if bins < 2 or not rows:
        return Stability(0.0, math.inf, rows)
    first, second = first[seen] + _ADDED, second[seen] + _ADDED
    p, q = first / first.sum(), second / second.sum()
    index = float(np.sum((q - p) * np.log(q / p)))
    noise = 1 / first.sum() + 1 / second.sum()
    return Stability(index, float(noise * chi_squared(bins - 1, 1 - false_alarm)), rows)


def chi_squared(freedom: int, below: float) -> float:
    """Return the value that chi-squared stays below with a probability; within some percent.

    >>> round(chi_squared(9, 0.95), 1)
    16.9
    """
    part = 2 / (9 * freedom)
    root = 1 - part + NormalDist().inv_cdf(below) * math.sqrt(part)
    return freedom * max(root, 0.0) ** 3
