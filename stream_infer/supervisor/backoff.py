"""How long to wait before a process that ended is started again. Pure."""

from __future__ import annotations

FIRST_DELAY_S = 0.5
DELAY_S_MAX = 30.0
STABLE_S = 60.0
"""A process that has lived so long had no trouble starting: what ended it counts as its first."""


def restart_delay_s(failures: int, draw: float) -> float:
    """Return the seconds to wait after so many failures in a row.

    failures  1 for the first
    draw      uniform in 0..1; processes that died together must not come back together
    Returns   between half of and the whole of ``FIRST_DELAY_S * 2 ** (failures - 1)``, which is
              bounded by `DELAY_S_MAX`
    Source    "equal jitter" of Brooker (2015), Exponential Backoff and Jitter, AWS
              Architecture Blog

    >>> restart_delay_s(1, 1.0), restart_delay_s(3, 1.0), restart_delay_s(99, 0.0)
    (0.5, 2.0, 15.0)
    """
    # The exponent is bounded too: after days of failures the power would be no float.
    whole = min(DELAY_S_MAX, FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))
    return whole * (0.5 + draw / 2)


def failures_in_a_row(before: int, lived_s: float) -> int:
    """Return the number of failures in a row, after one of a process that lived so long."""
    return 1 if lived_s >= STABLE_S else before + 1
