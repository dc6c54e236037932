"""AUC, average precision, card precision, calibration: small cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.errors import InvalidDataError
from stream_infer.training.days import DAY_MS, DayRange, Protocol
from stream_infer.training.figures import (
    calibration_bins,
    calibration_figures,
    card_precision_by_day,
    decision_figures,
    measure,
)
from stream_infer.training.samples import NEVER, Samples, fit_rows, score_rows


def samples(truth: list[int], day: list[int], customer: list[int], delay_days: int = 7) -> Samples:
    time = np.array(day, np.int64) * DAY_MS + 3_600_000
    return Samples(
        np.zeros((len(truth), 1), np.float32),
        np.array(truth, np.bool_),
        time + delay_days * DAY_MS,
        time,
        np.array(customer, np.int64),
    )


def test_a_customer_counts_once_a_day_and_is_not_looked_at_again_once_found() -> None:
    rows = samples([1, 1, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1], [1, 1, 2, 1, 2, 3])
    scores = np.array([0.9, 0.8, 0.1, 0.9, 0.5, 0.1])
    # Day 0: customer 1 is found. Day 1: customer 2 comes before 3, and 1 is out.
    assert card_precision_by_day(scores, rows, top=1) == [("1970-01-01", 1.0), ("1970-01-02", 0.0)]
    assert card_precision_by_day(scores, rows, top=2) == [("1970-01-01", 0.5), ("1970-01-02", 0.5)]


def test_the_three_figures_of_a_perfect_and_of_an_inverted_score() -> None:
    rows = samples([1, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 4])
    assert measure(np.array([0.9, 0.3, 0.2, 0.1]), rows) == {
        "auc": 1.0,
        "average_precision": 1.0,
        "card_precision_100": 0.01,
    }
    assert measure(np.array([0.1, 0.3, 0.2, 0.9]), rows)["auc"] == 0.0


def test_customers_whose_fraud_was_known_when_the_day_began_are_left_out() -> None:
    # Customer 1: a fraud on day 10, known on day 17 after the start, so out from day 18 on.
    rows = samples([1, 0, 0, 1, 1], [10, 17, 18, 18, 5], [1, 1, 1, 2, 3])
    protocol = Protocol(DayRange(10, 10), DayRange(17, 18), 7 * DAY_MS)
    measured = score_rows(rows, protocol, "test", keep_known=False)
    assert measured.customer.tolist() == [1, 2]
    assert len(score_rows(rows, protocol, "test", keep_known=True)) == 3


def test_a_row_whose_label_came_after_the_model_was_made_is_not_fitted_on() -> None:
    rows = samples([1, 0, 0, 1], [1, 1, 2, 2], [1, 2, 3, 4])
    until = 9 * DAY_MS
    assert len(fit_rows(rows, DayRange(1, 2), until, "training")) == 2
    unlabelled = Samples(rows.matrix, rows.truth, np.full(4, NEVER), rows.time, rows.customer)
    assert len(fit_rows(unlabelled, DayRange(1, 2), until, "training")) == 4


@pytest.mark.parametrize(
    ("truth", "days", "code"), [([0, 0], (1, 1), "one_class"), ([1, 0], (5, 6), "no_rows")]
)
def test_days_without_a_positive_row_or_without_any_are_refused(
    truth: list[int], days: tuple[int, int], code: str
) -> None:
    with pytest.raises(InvalidDataError) as raised:
        fit_rows(samples(truth, [1, 1], [1, 2]), DayRange(*days), 9 * DAY_MS, "training")
    assert raised.value.code == code
    assert raised.value.fix


def test_calibration_is_perfect_where_scores_are_the_shares() -> None:
    random = np.random.default_rng(0)
    scores = random.random(50_000) ** 4
    truth = (random.random(50_000) < scores).astype(int).tolist()
    rows = samples(truth, [0] * 50_000, list(range(50_000)))
    assert calibration_figures(scores, rows)["calibration_error"] < 0.005
    assert calibration_figures(scores / 2, rows)["calibration_error"] > 0.05
    bins = calibration_bins(scores, rows)
    assert sum(each["rows"] for each in bins) == 50_000
    assert all(abs(each["mean_score"] - each["share"]) < 0.05 for each in bins)


def test_decisions_are_counted_at_or_above_a_threshold() -> None:
    rows = samples([1, 1, 0, 0], [0] * 4, [1, 2, 3, 4])
    said = decision_figures(np.array([0.9, 0.5, 0.5, 0.1]), rows, 0.5, 0.9)
    assert said["review"] == {"threshold": 0.5, "share": 0.75, "precision": 0.6667, "recall": 1.0}
    assert said["decline"]["recall"] == 0.5
