"""A challenger against the champion on labelled events, with an answer that may be asked any time.

Each step brings the difference of two losses, champion's less challenger's, between -1 and 1:
positive where the challenger was better. Two people bet against each other's claim. The one who
bets on the challenger multiplies his capital by ``1 + stake * (difference - margin)``; were the
challenger not better by more than the margin, his capital could not be expected to grow, and the
chance that it ever reaches ``1 / alpha`` would be at most alpha. The other bets that it is worse,
``1 + stake * (-difference - margin)``. So each look costs nothing: a test of fixed size that is
looked at every day finds a difference where there is none in a third of all trials.

The stake of each step depends on the steps before alone, and is the one that would have grown the
capital best had they all been like their mean.

Source  Ville (1939); Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables
        by betting, Journal of the Royal Statistical Society B 86 (1), section 4 (approximate
        GRAPA)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Answer = Literal["promote", "reject", "go on"]

ALPHA = 0.05
STAKE_MAX = 0.5
"""Of what could be lost in one step at worst: half of it leaves room for being wrong."""
_PRIOR_STEPS = 4.0
_PRIOR_VARIANCE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRules:
    """What an answer needs.

    alpha   chance of a wrong promotion, and of a wrong rejection, over all looks together
    margin  loss by which the challenger must be better to be promoted, or worse to be rejected
    steps_min  labelled events before which nothing is answered
    """

    alpha: float = ALPHA
    margin: float = 0.0
    steps_min: int = 200


@dataclass(frozen=True, slots=True)
class Trial:
    """What is known after some steps: enough to go on without them.

    steps          how many
    total, square  of the differences
    better, worse  natural logarithms of the two capitals
    best_better, best_worse  the highest that each ever was
    """

    steps: int = 0
    total: float = 0.0
    square: float = 0.0
    better: float = 0.0
    worse: float = 0.0
    best_better: float = 0.0
    best_worse: float = 0.0

    def after(self, differences: Iterable[float], rules: TrialRules) -> Trial:
        """Return the same after further steps.

        differences  champion's loss less challenger's, each in [-1, 1], in the order in which
                     they became known
        Raises       ValueError for one that is outside, or no number
        """
        steps, total, square = self.steps, self.total, self.square
        better, worse = self.better, self.worse
        best_better, best_worse = self.best_better, self.best_worse
        for difference in differences:
            if not -1.0 <= difference <= 1.0:
                raise ValueError(f"a difference of losses is {difference}")
            mean = total / (steps + _PRIOR_STEPS)
            variance = (square + _PRIOR_STEPS * _PRIOR_VARIANCE) / (steps + _PRIOR_STEPS)
            better += math.log1p(stake(mean, variance, rules.margin) * (difference - rules.margin))
            worse += math.log1p(stake(-mean, variance, rules.margin) * (-difference - rules.margin))
            best_better, best_worse = max(best_better, better), max(best_worse, worse)
            steps += 1
            total += difference
            square += difference * difference
        return Trial(steps, total, square, better, worse, best_better, best_worse)

    @property
    def mean(self) -> float:
        """Mean difference so far: by how much the challenger was better."""
        return self.total / self.steps if self.steps else 0.0

    def answer(self, rules: TrialRules) -> Answer:
        """Return what the steps so far allow to say."""
        if self.steps < rules.steps_min:
            return "go on"
        enough = -math.log(rules.alpha)
        if self.best_better >= enough and self.best_better >= self.best_worse:
            return "promote"
        return "reject" if self.best_worse >= enough else "go on"


def stake(mean: float, variance: float, margin: float) -> float:
    """Return what to bet on a difference above the margin: nothing where none is expected."""
    edge = mean - margin
    if edge <= 0:
        return 0.0
    return min(edge / (variance + edge * edge), STAKE_MAX / (1 + margin))


def brier_differences(
    champion: NDArray[np.floating], challenger: NDArray[np.floating], truth: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return champion's less challenger's squared error of each labelled event, in [-1, 1].

    champion, challenger  (n,) float, probabilities of the same events; of a canary, of events
                          that were paired in the order in which their labels came
    truth                 (n,) bool
    """
    y = truth.astype(np.float64)
    return np.asarray((champion - y) ** 2 - (challenger - y) ** 2, np.float64)
