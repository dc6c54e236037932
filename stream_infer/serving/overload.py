"""When a pipeline falls to its fast model, and when it returns. Pure: lag and time in, a word out.

The lag is the age of events when they are scored: wall clock less event time, of the last second's
events on average. It is measured, not guessed from a number of records, and of events that
happened since the worker's start alone: a stream of long ago is old, and that is no overload.

Two limits and two waits, so that a lag about one limit does not switch to and fro: above `enter`
for `enter_s` the fast model serves, below `leave` for `leave_s` the champion again. The wait to
return is the longer one, for returning too early brings the lag back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from stream_infer.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadLimits:
    """From when on the fast model serves.

    enter_lag_ms  age of events at scoring from which on it does
    leave_lag_ms  age below which the champion returns; below `enter_lag_ms`
    enter_s       how long the age must be above
    leave_s       how long it must be below
    """

    enter_lag_ms: int = 10_000
    leave_lag_ms: int = 1_000
    enter_s: float = 2.0
    leave_s: float = 10.0

    def __post_init__(self) -> None:
        if self.leave_lag_ms >= self.enter_lag_ms:
            raise ConfigError(
                "overload_limits",
                f"The champion would return at a lag of {self.leave_lag_ms} ms, at which the fast"
                f" model serves already ({self.enter_lag_ms} ms).",
                "Let the lag at which it returns be well below.",
            )


@dataclass(frozen=True, slots=True)
class Overload:
    """Whether the fast model serves.

    fast     whether it does
    since_s  since when the lag has asked for the other; None: it does not
    """

    fast: bool = False
    since_s: float | None = None

    def after(self, lag_ms: int, now_s: float, limits: OverloadLimits) -> Overload:
        """Return the same after a look at the lag.

        lag_ms  age of the newest event that was scored
        now_s   a clock that never goes back
        """
        if self.fast:
            wants, wait_s = lag_ms < limits.leave_lag_ms, limits.leave_s
        else:
            wants, wait_s = lag_ms > limits.enter_lag_ms, limits.enter_s
        if not wants:
            return self if self.since_s is None else replace(self, since_s=None)
        since_s = now_s if self.since_s is None else self.since_s
        if now_s - since_s >= wait_s:
            return Overload(fast=not self.fast)
        return replace(self, since_s=since_s)


@dataclass(frozen=True, slots=True)
class Lag:
    """What a worker has scored so far, and whether there is more.

    events  how many were scored whose age counts
    age_s   sum of their ages
    behind  whether records wait that were not read
    """

    events: int = 0
    age_s: float = 0.0
    behind: bool = False


@dataclass(slots=True)
class LagWatch:
    """Turns sums into the age of the last second's events; owns the sums of the look before."""

    _before: Lag = field(default_factory=Lag)
    _lag_ms: int = 0

    def lag_ms(self, now: Lag) -> int:
        """Return the mean age of the events since the last look.

        Where none was scored it is 0 if nothing waits, and as it was if something does.
        """
        events = now.events - self._before.events
        if events > 0:
            self._lag_ms = max(0, round((now.age_s - self._before.age_s) / events * 1000))
        elif not now.behind:
            self._lag_ms = 0
        self._before = now
        return self._lag_ms
