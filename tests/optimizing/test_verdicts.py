"""Verdicts are words about figures: what is lost, what is gained, and which candidate is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_infer.optimizing.verdicts import (
    Choice,
    Compared,
    Tolerance,
    judge,
    pareto_front,
    recommend,
)

GOOD = Compared(
    drop=0.002, drop_low=-0.001, drop_high=0.005, right_lost=0.004, flips=0.2, speedup=20.0,
    speedup_low=18.0, size=0.1,
)  # fmt: skip


def test_what_loses_little_and_is_quicker_is_adopted_with_its_figures() -> None:
    verdict = judge(GOOD, Tolerance())
    assert verdict.word == "adopt"
    said = "; ".join(verdict.reasons)
    for words in (
        "20.00 times",
        "10%",
        "0.0020",
        "-0.0010 to 0.0050",
        "0.40% of the right",
        "20.0% of all",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drop": 0.0101}, "above 0.01"),
        ({"drop": float("nan")}, "above 0.01"),
        ({"right_lost": 0.011}, "1.10% of the right alerts are let pass, above 1%"),
        ({"speedup": 1.02, "speedup_low": 1.01, "size": 0.97}, "neither quicker (1.02"),
        ({"speedup": 1.2, "speedup_low": 0.9, "size": 1.0}, "nor smaller (100%"),
        ({"speedup": 1.09, "size": 0.91}, "neither quicker (1.09"),
        ({"over_float": 0.96, "over_float_low": 0.9}, "the same in float: 0.96"),
        ({"over_float": 1.04, "over_float_low": 1.02}, "the same in float: 1.04"),
        ({"over_float": 1.3, "over_float_low": 0.9}, "the same in float: 1.30"),
    ],
)
def test_what_breaks_one_limit_is_refused_and_told_which(
    change: dict[str, float], words: str
) -> None:
    verdict = judge(replace(GOOD, **change), Tolerance())
    assert verdict.word == "don't"
    assert len(verdict.reasons) == 1
    assert words in verdict.reasons[0]


def test_one_gain_is_enough() -> None:
    assert judge(replace(GOOD, speedup=0.8, speedup_low=0.7), Tolerance()).adopt
    assert judge(replace(GOOD, size=1.5), Tolerance()).adopt


def test_8_bits_are_refused_when_slower_however_small() -> None:
    slower = replace(GOOD, over_float=0.9, size=0.01)
    assert not judge(slower, Tolerance()).adopt
    assert judge(replace(slower, over_float=1.3, over_float_low=1.2), Tolerance()).adopt


def test_every_broken_limit_is_told() -> None:
    worst = Compared(
        drop=0.2, drop_low=0.1, drop_high=0.3, right_lost=0.5, flips=0.5, speedup=0.5,
        speedup_low=0.4, size=2.0, over_float=0.5,
    )  # fmt: skip
    assert len(judge(worst, Tolerance()).reasons) == 4


def test_other_tolerances_are_kept_to() -> None:
    strict = Tolerance(drop_max=0.001, flips_max=0.001)
    assert len(judge(GOOD, strict).reasons) == 2
    assert judge(GOOD, Tolerance(gain_min=30)).reasons[0].startswith("neither quicker")


def test_every_other_decision_counts_where_that_is_asked_for() -> None:
    verdict = judge(GOOD, Tolerance(every_flip=True))
    assert verdict.reasons == (
        "the decision is another one on 20.0% of all alerts, above 1%",
    )  # fmt: skip
    assert judge(replace(GOOD, right_lost=0.5, flips=0.01), Tolerance(every_flip=True)).adopt


def test_of_those_half_as_quick_as_the_quickest_the_best_is_recommended() -> None:
    slow = Choice("slow", 0.9, 90_000, 10)
    quick = Choice("quick", 0.7, 200_000, 10)
    better = Choice("better", 0.8, 120_000, 20)
    assert recommend([slow, quick, better]) == "better"
    assert recommend([slow, quick, better, Choice("tiny", 0.8, 120_000, 5)]) == "tiny"
    assert recommend([]) is None


def test_beyond_a_million_rows_a_second_more_speed_is_worth_no_precision() -> None:
    enough = Choice("enough", 0.8, 1_100_000, 20)
    quicker = Choice("quicker", 0.79, 9_000_000, 5)
    assert recommend([enough, quicker]) == "enough"
    assert recommend([Choice("slower", 0.9, 900_000, 20), quicker]) == "quicker"


def test_a_point_on_the_front_is_beaten_by_none_at_both() -> None:
    points = {"a": (1.0, 3.0), "b": (2.0, 2.0), "same": (2.0, 2.0), "worse": (1.5, 1.9)}
    assert pareto_front(points) in (["a", "b"], ["a", "same"])
    assert pareto_front({}) == []
