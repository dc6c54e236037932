"""Thresholds from a budget of alerts, or from how often alerts must be right."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.training.samples import Samples
from stream_infer.training.thresholds import (
    AlertBudget,
    AlertGoals,
    choose_by_precision,
    choose_thresholds,
    customer_precision,
)


@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=300),
    review=st.floats(0, 1),
    decline=st.floats(0, 1),
)
def test_thresholds_keep_within_the_alert_budget(
    values: list[float], review: float, decline: float
) -> None:
    budget = AlertBudget(review=review, decline=min(review, decline))
    scores = np.array(values, np.float32)
    thresholds = choose_thresholds(scores, budget)
    below_one = scores < 1  # a threshold is at most 1: certain frauds are stopped anyhow
    for name in ("review", "decline"):
        stopped = (scores >= np.float32(getattr(thresholds, name))) & below_one
        assert stopped.sum() <= getattr(budget, name) * len(scores)


def test_thresholds_use_the_budget_up() -> None:
    scores = np.linspace(0, 1, 10_001, dtype=np.float32)
    thresholds = choose_thresholds(scores, AlertBudget(review=0.1, decline=0.01))
    assert (scores >= np.float32(thresholds.review)).sum() == 1_000
    assert (scores >= np.float32(thresholds.decline)).sum() == 100


def stopped_rows(many: int) -> tuple[NDArray[np.float32], Samples]:
    """Return scores and rows: by score ten payments of one tested card, then of each customer
    one; every second of these is a fraud from number `many` on, all before it."""
    customer = np.array([0] * 10 + list(range(1, 101)))
    truth = np.array([True] * 10 + [at < many or at % 2 == 0 for at in range(100)])
    scores = np.linspace(0.9, 0.1, len(customer)).astype(np.float32)
    time = np.zeros(110, np.int64)
    return scores, Samples(np.zeros((110, 1), np.float32), truth, time, time, customer)


def test_thresholds_are_the_lowest_at_which_so_many_customers_are_stopped_rightly() -> None:
    scores, rows = stopped_rows(40)
    found = choose_by_precision(scores, rows, AlertGoals(review=0.5, decline=0.92))
    assert found.review == 0.0  # all of them together are right often enough
    assert customer_precision(scores, rows, found.decline) >= 0.92
    lower = scores[scores < np.float32(found.decline)]
    assert all(customer_precision(scores, rows, float(score)) < 0.92 for score in lower)
    # The ten payments of the tested card are one right answer, not ten.
    assert customer_precision(scores, rows, float(scores[10 + 42])) == 43 / 44


def test_where_no_threshold_is_right_often_enough_nothing_is_declined() -> None:
    scores, rows = stopped_rows(0)
    found = choose_by_precision(scores, rows, AlertGoals(review=0.4, decline=0.99))
    assert found.decline == 1.0
    assert found.review < 0.2


def test_equal_scores_are_stopped_together_or_not_at_all() -> None:
    _, rows = stopped_rows(100)
    scores = np.full(110, 0.5, np.float32)
    rows.truth[60:] = False
    assert choose_by_precision(scores, rows, AlertGoals(review=0.9, decline=0.9)).review == 1.0
    assert choose_by_precision(scores, rows, AlertGoals(review=0.5, decline=0.9)).review == 0.0
