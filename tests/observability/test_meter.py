from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

from stream_infer.observability.meter import (
    AGE_SECONDS_BOUNDS,
    CODES_MAX,
    EMIT,
    FOLD,
    READ,
    SCORE,
    SMALL_BATCH_ROWS,
    STEPS,
    Histogram,
    StageMeter,
)

NOW_MS = 1_700_000_000_000


def test_a_value_equal_to_a_bound_is_below_it() -> None:
    histogram = Histogram((1.0, 2.0, 5.0))
    values = [0.0, 1.0, 1.5, 2.0, 2.1, 5.0, 9.0]
    for value in values:
        histogram.add(value)
    assert histogram.counts == [2, 2, 2, 1]
    assert histogram.total == pytest.approx(sum(values))


@pytest.mark.parametrize("rows", [1, 100])
def test_an_age_equal_to_a_bound_is_below_it_in_a_batch_of_any_size(rows: int) -> None:
    for bucket, bound in enumerate(AGE_SECONDS_BOUNDS):
        for age_ms, expected in (
            (round(bound * 1000), bucket),
            (round(bound * 1000) + 1, bucket + 1),
        ):
            meter = StageMeter()
            meter.ages(np.full(rows, NOW_MS - age_ms), NOW_MS)
            ages = meter.facts().event_age
            assert ages.counts[expected] == rows, (bound, age_ms)
            assert ages.total == pytest.approx(rows * age_ms / 1000)


@pytest.mark.parametrize("rows", [0, 1, SMALL_BATCH_ROWS, SMALL_BATCH_ROWS + 1, 4096])
def test_ages_are_the_same_whatever_the_size_of_the_batch(rows: int) -> None:
    rng = np.random.default_rng(rows)
    ages_ms = rng.integers(-2_000, 5_000, rows)
    times = NOW_MS - ages_ms
    together, alone = StageMeter(), StageMeter()
    together.ages(times, NOW_MS)
    for row in range(rows):
        alone.ages(times[row : row + 1], NOW_MS)
    ages, expected = together.facts().event_age, alone.facts().event_age
    assert ages.counts == expected.counts
    assert sum(ages.counts) == rows
    assert ages.total == pytest.approx(float(np.maximum(ages_ms, 0).sum()) / 1000)


@pytest.mark.parametrize("rows", [1, 100])
def test_an_event_ahead_of_the_clock_has_the_age_zero(rows: int) -> None:
    meter = StageMeter()
    meter.ages(np.full(rows, NOW_MS + 60_000), NOW_MS)
    ages = meter.facts().event_age
    assert (ages.counts[0], ages.total) == (rows, 0.0)


def test_an_event_older_than_every_bound_is_counted_too() -> None:
    meter = StageMeter()
    meter.ages(np.zeros(1, np.int64), NOW_MS)
    assert meter.facts().event_age.counts[len(AGE_SECONDS_BOUNDS)] == 1


@pytest.mark.parametrize("rows", [2, 100])
def test_ages_of_what_happened_before_the_start_are_left_out(rows: int) -> None:
    meter = StageMeter(since_ms=NOW_MS - 1_000)
    times = np.full(rows, NOW_MS - 1_001)
    times[0] = NOW_MS - 1_000
    meter.ages(times, NOW_MS)
    ages = meter.facts().event_age
    assert (sum(ages.counts), ages.total) == (1, 1.0)


def test_laps_add_up_to_the_time_that_passed() -> None:
    meter = StageMeter()
    began = perf_counter()
    read = meter.lap(READ, began)
    folded = meter.lap(FOLD, read)
    seconds = dict(zip(STEPS, meter.facts().step_seconds, strict=True))
    assert seconds["read"] + seconds["fold"] == pytest.approx(folded - began)
    assert seconds["emit"] == seconds["send"] == 0.0


def test_a_step_inside_another_is_not_counted_twice() -> None:
    meter = StageMeter()
    began = perf_counter()
    meter.lap_within(SCORE, EMIT, began)
    ended = meter.lap(EMIT, began)
    seconds = dict(zip(STEPS, meter.facts().step_seconds, strict=True))
    assert seconds["score"] > 0
    assert seconds["emit"] > 0
    assert seconds["score"] + seconds["emit"] == pytest.approx(ended - began)


def test_facts_do_not_change_when_the_meter_goes_on() -> None:
    meter = StageMeter()
    meter.batch(4)
    meter.dead_letter("bad_time")
    before = meter.facts()
    meter.batch(4096)
    meter.dead_letter("bad_time")
    meter.ages(np.full(100, NOW_MS), NOW_MS)
    assert sum(before.batch_records.counts) == 1
    assert before.dead_letters == {"bad_time": 1}
    assert sum(before.event_age.counts) == 0


def test_codes_without_end_do_not_become_series_without_end() -> None:
    meter = StageMeter()
    for number in range(CODES_MAX + 50):
        meter.dead_letter(f"code_{number}")
    letters = meter.facts().dead_letters
    assert len(letters) == CODES_MAX + 1
    assert letters["other"] == 50
