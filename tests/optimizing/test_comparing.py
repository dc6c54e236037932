"""Flips and intervals: counted like a scorer decides, drawn by customer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from stream_infer.optimizing.comparing import (
    Flips,
    Resampling,
    as_many_stopped,
    average_precision_drop,
    count_flips,
)
from stream_infer.scoring.manifest import Thresholds
from stream_infer.training.samples import Samples

LIMITS = Thresholds(review=0.5, decline=0.9)


def rows(n: int = 3_000, seed: int = 0) -> Samples:
    random = np.random.default_rng(seed)
    time = np.arange(n, dtype=np.int64) * 60_000
    return Samples(
        np.zeros((n, 1), np.float32), random.random(n) < 0.05, time, time,
        random.integers(0, 200, n),
    )  # fmt: skip


def scores(samples: Samples, noise: float, seed: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    said = 0.3 + 0.4 * samples.truth + noise * random.standard_normal(len(samples))
    return np.round(np.clip(said, 0, 1), 2).astype(np.float32)


def flips(before: Any, after: Any, *truth: int) -> Flips:
    one, other = np.asarray(before, np.float32), np.asarray(after, np.float32)
    return count_flips(
        one, other, np.resize(truth or (False,), len(one)), before=LIMITS, after=LIMITS
    )


def test_a_flip_is_another_decision_among_the_rows_that_either_model_stops() -> None:
    before = [0.1, 0.5, 0.6, 0.95, 0.2, 0.91]
    after = [0.1, 0.49, 0.6, 0.8, 0.7, np.nan]
    found = flips(before, after, 0, 1, 1, 1, 1, 0)
    assert (found.alerts, found.flips, found.lost, found.new) == (5, 4, 1, 1)
    assert (found.right, found.right_lost, found.right_new) == (3, 1, 1)
    assert found.share == pytest.approx(0.8)
    assert found.facts()["right_lost_share"] == 0.3333


def test_each_model_decides_by_its_own_thresholds_in_float32() -> None:
    said = np.array([0.9, 0.3], np.float32)
    halved = Thresholds(review=0.25, decline=0.45)
    found = count_flips(said, said / 2, np.zeros(2, bool), before=LIMITS, after=halved)
    assert (found.alerts, found.flips) == (1, 0)
    assert flips([np.float64(np.float32(0.9))], [np.float32(0.9)]).flips == 0


def test_nobody_stopped_is_no_flip() -> None:
    found = flips(np.zeros(3), np.zeros(3))
    assert (found.share, found.right_lost_share) == (0, 0)


@pytest.mark.parametrize("digits", [7, 2])
def test_thresholds_of_a_candidate_stop_as_many_rows_or_just_fewer(digits: int) -> None:
    random = np.random.default_rng(0)
    original = random.random(2_000).astype(np.float32)
    candidate = np.round(original**3, digits).astype(np.float32)
    found = as_many_stopped(original, candidate, LIMITS)
    for before, after in ((0.5, found.review), (0.9, found.decline)):
        wanted = int((original >= np.float32(before)).sum())
        stopped = int((candidate >= np.float32(after)).sum())
        assert stopped == wanted if digits == 7 else wanted - 60 < stopped <= wanted


def test_a_draw_s_average_precision_is_that_of_rows_so_often_repeated() -> None:
    samples = rows(400)
    said = scores(samples, 0.2)  # two digits: many ties
    draws = Resampling(samples, 3, replicates=5)
    found = draws.precisions(said)
    assert found[0] == pytest.approx(average_precision_score(samples.truth, said))
    for drawn, value in zip(draws._drawn, found[1:], strict=True):
        times = drawn[draws._index].astype(int)
        repeated = np.repeat(np.arange(len(samples)), times)
        meant = average_precision_score(samples.truth[repeated], said[repeated])
        assert value == pytest.approx(meant)


def test_a_model_loses_nothing_against_itself_in_every_draw() -> None:
    samples = rows()
    draws = Resampling(samples, 0)
    said = draws.precisions(scores(samples, 0.2))
    drop = average_precision_drop(said, said)
    assert (drop.value, drop.low, drop.high) == (0, 0, 0)


def test_what_is_worse_loses_and_the_interval_lies_around_it() -> None:
    samples = rows()
    draws = Resampling(samples, 0)
    good, bad = (draws.precisions(scores(samples, noise)) for noise in (0.1, 0.3))
    drop = average_precision_drop(good, bad)
    assert 0 < drop.low < drop.value < drop.high
    again = Resampling(samples, 0).precisions(scores(samples, 0.1))
    np.testing.assert_array_equal(again, good)
