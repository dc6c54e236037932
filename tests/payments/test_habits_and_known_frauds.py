"""The two steps of the pipeline `fraud_history`, payment by payment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.features.plan import compile_plan
from stream_infer.payments import habit, known_frauds
from stream_infer.pipelines.fraud_history import pipeline

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class Customer:
    def __init__(self) -> None:
        self.record: Any = np.zeros(1, habit.HABIT)

    def pays(self, amount: float, at_ms: int) -> dict[str, float]:
        out = np.full(len(habit.NAMES), np.nan)
        habit.habit_step(self.record[0], at_ms, np.array([amount]), out)
        assert np.isfinite(out).all()
        return {
            name.removeprefix("CUSTOMER_ID_"): value
            for name, value in zip(habit.NAMES, out.tolist(), strict=True)
        }


def test_an_amount_is_compared_with_the_customer_s_own_mean_and_scatter() -> None:
    customer = Customer()
    for day, amount in enumerate((8.0, 12.0, 8.0, 12.0)):
        assert customer.pays(amount, day * DAY_MS)["HOURS_SINCE_LAST"] == (24 if day else 720)
    said = customer.pays(50.0, 4 * DAY_MS + HOUR_MS)
    assert said["HABITUAL_AMOUNT"] == 10.0
    assert said["AMOUNT_OVER_HABIT"] == 5.0
    assert said["AMOUNT_OFF_HABIT"] > 10
    assert said["HOURS_SINCE_LAST"] == 25.0


def test_an_outlier_moves_the_mean_no_further_than_twice_itself_would() -> None:
    customer = Customer()
    for hour in range(3):
        customer.pays(10.0, hour * HOUR_MS)
    customer.pays(10_000.0, 3 * HOUR_MS)
    assert customer.pays(10.0, 4 * HOUR_MS)["HABITUAL_AMOUNT"] == 12.5


def test_outliers_are_counted_by_their_age() -> None:
    customer = Customer()
    for hour in range(3):
        customer.pays(10.0, hour * HOUR_MS)
    for day in (1, 9, 13):
        customer.pays(100.0, day * DAY_MS)
    said = customer.pays(10.0, 13 * DAY_MS + 6 * HOUR_MS)
    counts = [said[f"NB_OUTLIERS_{days}DAY_WINDOW"] for days in (1, 7, 14)]
    assert counts == [1.0, 2.0, 3.0]
    assert said["DAYS_SINCE_OUTLIER"] == 0.25
    assert said["DAYS_SINCE_FIRST_OUTLIER"] == 12.25


class Terminal:
    def __init__(self) -> None:
        self.record: Any = np.zeros(1, known_frauds.KNOWN_FRAUDS)

    def sees(self, identity: int, at_ms: int, ratio: float = 1.0) -> dict[str, float]:
        out = np.full(len(known_frauds.NAMES), np.nan)
        known_frauds.known_frauds_step(self.record[0], identity, at_ms, np.array([ratio]), out)
        assert np.isfinite(out).all()
        return {
            name.removeprefix("TERMINAL_ID_"): value
            for name, value in zip(known_frauds.NAMES, out.tolist(), strict=True)
        }

    def learns(self, identity: int, at_ms: int, label: int) -> None:
        known_frauds.learn_label(self.record[0], identity, at_ms, label, at_ms + 7 * DAY_MS)


def test_a_run_begins_with_its_first_fraud_and_ends_with_a_genuine_payment() -> None:
    terminal = Terminal()
    for day in range(6):
        terminal.sees(day, day * DAY_MS)
    labels = [0, 1, 1, 0]
    for day, label in enumerate(labels):
        terminal.learns(day, day * DAY_MS, label)
    said = terminal.sees(10, 10 * DAY_MS)
    assert (said["DAYS_SINCE_FRAUD"], said["DAYS_SINCE_RUN_BEGAN"]) == (8.0, 9.0)
    assert (said["RUN_LENGTH"], said["GENUINE_SINCE_FRAUD"], said["KNOWN_FRAUDS"]) == (2, 1, 2)
    assert said["DAYS_OF_RUN"] == 1.0
    terminal.learns(5, 5 * DAY_MS, 1)
    assert terminal.sees(11, 12 * DAY_MS - 1)["KNOWN_FRAUDS"] == 2, "less than seven days old"
    said = terminal.sees(12, 12 * DAY_MS)
    assert (said["DAYS_SINCE_RUN_BEGAN"], said["RUN_LENGTH"], said["KNOWN_FRAUDS"]) == (7.0, 1, 3)


def test_a_fraud_that_its_amount_explains_is_not_the_terminal_s() -> None:
    terminal = Terminal()
    terminal.sees(1, 0, ratio=5.0)
    terminal.learns(1, 0, 1)
    said = terminal.sees(2, 8 * DAY_MS)
    assert (said["KNOWN_FRAUDS"], said["DAYS_SINCE_FRAUD"], said["RECENT_RISK"]) == (0, 60.0, 0)


def test_a_label_that_comes_twice_counts_once() -> None:
    terminal = Terminal()
    terminal.sees(1, 0)
    for _ in range(3):
        terminal.learns(1, 0, 1)
    assert terminal.sees(2, 8 * DAY_MS)["RUN_LENGTH"] == 1


def test_a_fraud_that_turns_out_to_be_genuine_is_counted_out_again() -> None:
    terminal = Terminal()
    terminal.sees(1, DAY_MS)
    terminal.learns(1, DAY_MS, 1)
    known_frauds.learn_label(terminal.record[0], 1, DAY_MS, 0, DAY_MS)  # told before that label
    assert terminal.sees(2, 9 * DAY_MS)["KNOWN_FRAUDS"] == 1
    known_frauds.learn_label(terminal.record[0], 1, DAY_MS, 0, 30 * DAY_MS)
    said = terminal.sees(3, 31 * DAY_MS)
    assert (said["KNOWN_FRAUDS"], said["RUN_LENGTH"]) == (0, 0)


def test_a_label_of_a_payment_that_is_no_longer_held_counts_as_unexplained() -> None:
    terminal = Terminal()
    terminal.sees(1, 0, ratio=5.0)
    for identity in range(2, 2 + known_frauds.WAITING):
        terminal.sees(identity, identity)
    terminal.learns(1, 0, 1)
    assert terminal.sees(99, 8 * DAY_MS)["RUN_LENGTH"] == 1


def test_the_pipeline_adds_to_the_fraud_pipeline_s_features_and_has_no_feature_twice() -> None:
    names: NDArray[Any] = np.array(compile_plan(pipeline).feature_names)
    assert names[0] == "TX_AMOUNT"
    assert len(names) == len(set(names.tolist())) == 39
