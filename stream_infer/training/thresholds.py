"""Where decisions change: by how much may be stopped, or by how often a stop must be right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.scoring.manifest import Thresholds
from stream_infer.training.samples import Samples

STOPPED_MIN = 20
"""A share of fewer customers than this says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBudget:
    """How many transactions may be stopped, as shares of all.

    review   those that a person looks at or that are declined
    decline  those that are declined without a look
    """

    review: float = 0.010
    decline: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertGoals:
    """How often a stop must be right: by customers and days, as people see alerts.

    Of the customers with a payment at or above the threshold on a day, this share must have
    a fraud among those payments. By payments a tested card with its twenty would count for
    twenty right answers, and each honest customer for one wrong one.

    review   for what a person looks at or that is declined
    decline  for what is declined without a look
    """

    review: float = 0.5
    decline: float = 0.92


@dataclass(frozen=True, slots=True)
class Aim:
    """What the thresholds are to keep.

    budget  shares of the payments that may be stopped; None where `goals` are given
    goals   how often stops must be right, by customers and days
    """

    budget: AlertBudget | None = None
    goals: AlertGoals | None = None

    def choose(self, scores: NDArray[np.float32], samples: Samples) -> Thresholds:
        """Return the thresholds for scores of rows that the model was not fitted on."""
        if self.goals is None:
            return choose_thresholds(scores, self.budget or AlertBudget())
        return choose_by_precision(scores, samples, self.goals)

    def words(self) -> str:
        """Say it in words."""
        if self.goals is not None:
            return (
                f"lowest with {self.goals.review:.0%} of the stopped customers of a day right, and "
                f"{self.goals.decline:.0%} of the declined ones"
            )
        budget = self.budget or AlertBudget()
        return f"at most {budget.review:.2%} stopped and {budget.decline:.2%} declined"


def choose_thresholds(scores: NDArray[np.float32], budget: AlertBudget) -> Thresholds:
    """Return the lowest thresholds that keep within the budget on these scores.

    They are rounded up to six significant digits: see `Thresholds` for why so few.
    """
    review = _threshold(scores, budget.review)
    return Thresholds(review=review, decline=max(review, _threshold(scores, budget.decline)))


def _threshold(scores: NDArray[np.float32], share: float) -> float:
    allowed = int(share * len(scores))
    if allowed >= len(scores):
        return 0.0
    # The highest score that is not allowed any more: only what lies above it may be stopped.
    refused = np.sort(scores)[::-1][allowed]
    return _just_above(refused)


def _just_above(refused: np.float32) -> float:
    """Return a threshold above a score that is not to be stopped, with few digits."""
    lowest = float(np.nextafter(refused, np.float32(2)))
    digits = 6 - math.ceil(math.log10(lowest))
    return min(1.0, round(math.ceil(lowest * 10.0**digits) / 10.0**digits, digits))


def choose_by_precision(
    scores: NDArray[np.float32], rows: Samples, goals: AlertGoals
) -> Thresholds:
    """Return the lowest thresholds that reach the goals on these rows; 1.0 where none does.

    scores  (n,) float32, of the same rows
    """
    order = np.argsort(-scores, kind="stable")
    right, stopped = (
        np.cumsum(_first_of_customer_and_day(rows, order, only_frauds=only))
        for only in (True, False)
    )
    falling = scores[order]
    # A threshold takes all equal scores or none of them.
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)

    def lowest(goal: float) -> float:
        reached = ends[(right[ends] >= goal * stopped[ends]) & (stopped[ends] >= STOPPED_MIN)]
        if not len(reached):
            return 1.0
        last = int(reached[-1])
        return _just_above(falling[last + 1]) if last + 1 < len(falling) else 0.0

    review = lowest(goals.review)
    return Thresholds(review=review, decline=max(review, lowest(goals.decline)))


def customer_precision(scores: NDArray[np.float32], rows: Samples, threshold: float) -> float:
    """Return how many of the customers and days that a threshold stops are right; 0 of none."""
    above = np.flatnonzero(scores >= np.float32(threshold))
    stopped = int(_first_of_customer_and_day(rows, above, only_frauds=False).sum())
    right = int(_first_of_customer_and_day(rows, above, only_frauds=True).sum())
    return right / max(1, stopped)


def _first_of_customer_and_day(
    rows: Samples, order: NDArray[np.int64], *, only_frauds: bool
) -> NDArray[np.bool_]:
    """Say which rows, taken in this order, are the first (fraud) of their customer that day."""
    among = np.flatnonzero(rows.truth[order]) if only_frauds else np.arange(len(order))
    unit = rows.customer[order][among] * (int(rows.day.max(initial=0)) + 1) + rows.day[order][among]
    first = np.zeros(len(order), np.bool_)
    first[among[np.unique(unit, return_index=True)[1]]] = True
    return first
