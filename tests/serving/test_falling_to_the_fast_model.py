from __future__ import annotations

import pytest

from stream_infer.errors import ConfigError
from stream_infer.serving.overload import Lag, LagWatch, Overload, OverloadLimits

LIMITS = OverloadLimits(enter_lag_ms=10_000, leave_lag_ms=1_000, enter_s=2, leave_s=10)


def seen(lags: list[int], step_s: float = 1.0) -> list[bool]:
    overload, words = Overload(), []
    for at, lag_ms in enumerate(lags):
        overload = overload.after(lag_ms, at * step_s, LIMITS)
        words.append(overload.fast)
    return words


def test_it_falls_when_the_lag_lasts_and_returns_when_it_is_gone_for_long() -> None:
    words = seen([0, 20_000, 20_000, 20_000, *[500] * 11, 500])
    assert words.index(True) == 3
    assert words[3:13] == [True] * 10
    assert words[14] is False


def test_a_short_peak_changes_nothing() -> None:
    assert not any(seen([0, 20_000, 20_000, 0, 20_000, 20_000, 0]))


def test_a_lag_between_the_limits_changes_nothing() -> None:
    fallen = [20_000] * 3
    assert seen([*fallen, *[5_000] * 60])[-1] is True
    assert seen([5_000] * 60)[-1] is False


def test_a_lag_that_comes_back_while_it_waits_to_return_keeps_it() -> None:
    assert seen([*[20_000] * 3, *[500] * 9, 2_000, *[500] * 9])[-1] is True


def test_limits_that_would_switch_to_and_fro_are_refused() -> None:
    with pytest.raises(ConfigError):
        OverloadLimits(enter_lag_ms=1_000, leave_lag_ms=1_000)


def test_the_lag_is_the_age_of_what_was_scored_since_the_last_look() -> None:
    watch = LagWatch()
    assert watch.lag_ms(Lag(100, 50.0)) == 500
    assert watch.lag_ms(Lag(110, 150.0)) == 10_000


def test_without_events_the_lag_is_gone_unless_something_waits() -> None:
    watch = LagWatch()
    watch.lag_ms(Lag(100, 2_000.0))
    assert watch.lag_ms(Lag(100, 2_000.0, behind=True)) == 20_000
    assert watch.lag_ms(Lag(100, 2_000.0)) == 0
