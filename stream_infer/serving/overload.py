"""When a pipeline falls to its fast model, and when it returns. Pure: lag and time in, a word out.

Two limits and two waits, so that a lag about one limit does not switch to and fro: above `enter`
for `enter_s` the fast model serves, below `leave` for `leave_s` the champion again. The wait to
return is the longer one, for returning too early brings the lag back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
