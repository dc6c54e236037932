"""Times become whole milliseconds: cut, never rounded, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.events import times
from stream_infer.events.times import TimeUnit, to_epoch_ms

SECOND = 1_522_540_800


@pytest.mark.parametrize(
    ("raw", "unit", "expected_ms"),
    [
        (SECOND * 1_000, "ms", SECOND * 1_000),
        (-1, "ms", -1),
        (SECOND, "s", SECOND * 1_000),
        (SECOND + 0.123, "s", SECOND * 1_000 + 123),
        (SECOND + 0.1239, "s", SECOND * 1_000 + 123),
        (SECOND * 1_000_000 + 999, "us", SECOND * 1_000),
        (-1, "us", -1),
        (SECOND * 1_000_000_000 + 1_999_999, "ns", SECOND * 1_000 + 1),
        ("2018-04-01T00:00:00Z", "ms", SECOND * 1_000),
        ("2018-04-01t00:00:00z", "ms", SECOND * 1_000),
        ("2018-04-01 00:00:00Z", "s", SECOND * 1_000),
        ("2018-04-01T02:00:00+02:00", "ms", SECOND * 1_000),
        ("2018-03-31T19:30:00-04:30", "ms", SECOND * 1_000),
        ("2018-04-01T00:00:00.5Z", "ms", SECOND * 1_000 + 500),
        ("2018-04-01T00:00:00.1239Z", "ms", SECOND * 1_000 + 123),
        ("2018-04-01T00:00:00.123999999Z", "ms", SECOND * 1_000 + 123),
        ("2018-04-01T00:00:00.9999999999+00:00", "ms", SECOND * 1_000 + 999),
        ("2018-04-01 00:00:00", "naive-utc", SECOND * 1_000),
        ("2018-04-01T02:00:00+02:00", "naive-utc", SECOND * 1_000),
        (SECOND * 1_000, "naive-utc", SECOND * 1_000),
        (datetime(2018, 4, 1, tzinfo=UTC), "ms", SECOND * 1_000),
        ("0001-01-01T00:00:00Z", "ms", times.TIME_MS_MIN),
        ("9999-12-31T23:59:59.999999Z", "ms", times.TIME_MS_MAX),
    ],
)
def test_a_time_is_read_alone_and_among_others(raw: Any, unit: TimeUnit, expected_ms: int) -> None:
    for others in ([], [0], ["2018-04-01T00:00:00Z"], [None], ["x"], [10**30]):
        ms, causes = to_epoch_ms([raw, *others], unit)
        assert (ms[0], causes[0]) == (expected_ms, times.GOOD)


@pytest.mark.parametrize(
    ("raw", "unit", "cause"),
    [
        ("2018-04-01T00:00:00", "ms", times.NO_OFFSET),
        (datetime(2018, 4, 1), "ms", times.NO_OFFSET),  # noqa: DTZ001 - the case itself
        ("2018-04-01", "naive-utc", times.NOT_RFC3339),
        ("1522540800000", "ms", times.NOT_RFC3339),
        ("2018-02-30T00:00:00Z", "ms", times.NOT_RFC3339),
        ("2018-04-01T23:59:60Z", "ms", times.NOT_RFC3339),
        ("", "ms", times.NOT_RFC3339),
        (True, "ms", times.NOT_RFC3339),
        (float("nan"), "s", times.NOT_RFC3339),
        (None, "ms", times.NO_TIME),
        (times.TIME_MS_MAX + 1, "ms", times.OUT_OF_RANGE),
        (times.TIME_MS_MIN - 1, "ms", times.OUT_OF_RANGE),
        (2**63 - 1, "s", times.OUT_OF_RANGE),
        (-(2**63), "s", times.OUT_OF_RANGE),
        (2**63, "ms", times.OUT_OF_RANGE),
        (10**40, "us", times.OUT_OF_RANGE),
        (1e300, "s", times.OUT_OF_RANGE),
        ("9999-12-31T23:59:59-01:00", "ms", times.OUT_OF_RANGE),
    ],
)
def test_what_is_no_time_is_refused_with_its_cause(raw: Any, unit: TimeUnit, cause: int) -> None:
    for others in ([], [0], ["2018-04-01T00:00:00Z"]):
        ms, causes = to_epoch_ms([*others, raw], unit)
        assert causes.tolist() == [times.GOOD] * len(others) + [cause]
        assert len(ms) == len(others) + 1


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_text_reads_as_the_instant_that_it_says(naive: datetime, offset_minutes: int) -> None:
    time = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    [ms], [cause] = to_epoch_ms([time.isoformat()])
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert cause == times.GOOD
    assert epoch + timedelta(milliseconds=int(ms)) <= time
    assert time < epoch + timedelta(milliseconds=int(ms) + 1)
