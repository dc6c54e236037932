"""The step of a customer's habit: how unusual an amount is, and how often that came lately.

The mean follows the customer's amounts, but learns no more of one than so many times itself:
a stolen card's amounts would otherwise be usual by the next day. Limits are multiples of the
customer's own mean, so that they hold in any currency.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

VERSION = 1
"""Raised whenever a feature begins to mean another value."""

LEARNING = 3
"""Amounts that are only learnt from, before any of them is called unusual."""
MEMORY = 60
"""The mean follows the last sixty or so amounts: a month or two of a card."""
LEARNT_MAX = 2.0
"""Times the mean that an amount counts at most when the mean learns from it."""
OUTLIER = 3.0
"""Times the mean above which an amount is an outlier."""
OUTLIERS_MAX = 16
"""Outliers that are remembered: a card with more in two weeks is odd whatever their number."""
RATIO_MAX = 100.0

DAYS_MAX = 30.0
HOURS_MAX = 720.0

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

HABIT = np.dtype(
    [
        ("mean", np.float64),
        ("off", np.float64),
        ("last", np.int64),
        ("seen", np.int64),
        ("outliers", np.int64),
        ("times", np.int64, (OUTLIERS_MAX,)),
        ("ratios", np.float64, (OUTLIERS_MAX,)),
    ]
)
"""A customer's state.

mean    of the amounts, each capped
off     mean distance of the amounts, so capped, from the mean before them
last    time of the newest payment
seen    how many amounts there were
outliers, times, ratios
        how many outliers there were, and the last of them in a ring
"""

NAMES = (
    "CUSTOMER_ID_AMOUNT_OVER_HABIT",
    "CUSTOMER_ID_NB_OUTLIERS_1DAY_WINDOW",
    "CUSTOMER_ID_NB_OUTLIERS_7DAY_WINDOW",
    "CUSTOMER_ID_NB_OUTLIERS_14DAY_WINDOW",
    "CUSTOMER_ID_OUTLIER_RATIO_14DAY_WINDOW",
    "CUSTOMER_ID_DAYS_SINCE_OUTLIER",
    "CUSTOMER_ID_DAYS_SINCE_FIRST_OUTLIER",
    "CUSTOMER_ID_HABITUAL_AMOUNT",
    "CUSTOMER_ID_AMOUNT_OFF_HABIT",
    "CUSTOMER_ID_HOURS_SINCE_LAST",
)
"""Features, in the order in which the step writes them.

AMOUNT_OVER_HABIT   amount over the mean before it; 1 while that is being learnt
NB_OUTLIERS_*       earlier outliers of that time
OUTLIER_RATIO_*     mean ratio of those of 14 days; 0 without any
DAYS_SINCE_OUTLIER  since the newest earlier one, at most 30
DAYS_SINCE_FIRST_*  since the oldest one of 14 days; 0 without any
HABITUAL_AMOUNT     the mean before this amount
AMOUNT_OFF_HABIT    distance from that mean over the mean such distance, -100 to 100
HOURS_SINCE_LAST    since the newest payment, at most 720
"""


@numba.njit
def habit_step(record: Any, event_time: int, values: Any, out: Any) -> None:
    """Fold one payment; see `NAMES`.

    values  (1,) float64, the amount
    """
    amount = values[0]
    known = record["seen"] >= LEARNING and record["mean"] > 0.0
    ratio = min(amount / record["mean"], RATIO_MAX) if known else 1.0
    out[0] = ratio
    out[7] = record["mean"] if known else amount
    off = (amount - record["mean"]) / record["off"] if known and record["off"] > 0.0 else 0.0
    out[8] = max(-RATIO_MAX, min(RATIO_MAX, off))
    hours = (event_time - record["last"]) / _HOUR_MS if record["seen"] > 0 else HOURS_MAX
    out[9] = max(0.0, min(HOURS_MAX, hours))
    _write_outliers(record, event_time, out)
    if ratio > OUTLIER:
        at = record["outliers"] % OUTLIERS_MAX
        record["times"][at] = event_time
        record["ratios"][at] = ratio
        record["outliers"] += 1
    learnt = min(amount, LEARNT_MAX * record["mean"]) if known else amount
    record["last"] = max(record["last"], event_time)
    record["seen"] += 1
    if record["seen"] > 1:
        far = abs(learnt - record["mean"])
        record["off"] += (far - record["off"]) / min(record["seen"] - 1, MEMORY)
    record["mean"] += (learnt - record["mean"]) / min(record["seen"], MEMORY)


@numba.njit
def _write_outliers(record: Any, event_time: int, out: Any) -> None:
    """Write what the outliers before an event were."""
    newest = DAYS_MAX
    oldest = 0.0
    total = 0.0
    out[1:4] = 0.0
    for i in range(min(record["outliers"], OUTLIERS_MAX)):
        # In the order of the log, an event may come after a later one.
        if record["times"][i] > event_time:
            continue
        days = (event_time - record["times"][i]) / _DAY_MS
        newest = min(newest, days)
        out[1] += days < 1
        out[2] += days < 7
        out[3] += days < 14
        if days < 14:
            total += record["ratios"][i]
            oldest = max(oldest, days)
    out[4] = total / out[3] if out[3] > 0 else 0.0
    out[5] = newest
    out[6] = oldest
