"""The step of a terminal's known frauds: when the present run of them began, and goes on.

A compromised terminal's payments are frauds one after the other, until it is mended. Labels
come in the same log as payments, days after them. A fraud whose amount was far above its
customer's habit says more of the card than of the terminal: it is left out of the run. The
step keeps the ratios of the payments whose labels are still to come, by their ids.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

VERSION = 1
"""Raised whenever a feature begins to mean another value."""

EXPLAINED = 2.0
"""Times the customer's habit above which the amount alone explains a fraud."""
WAITING = 48
"""Payments whose labels are waited for; of a busier terminal, the newest. The label of one that
is no longer there counts as unexplained."""
DAYS_MAX = 60.0
SHARE_STEP = 0.2

_DAY_MS = 86_400_000
_UNKNOWN = 0
_GENUINE = 1
_FRAUD = 2

KNOWN_FRAUDS = np.dtype(
    [
        ("payments", np.int64),
        ("ids", np.int64, (WAITING,)),
        ("ratios", np.float32, (WAITING,)),
        ("labels", np.int8, (WAITING,)),
        ("label_times", np.int64, (WAITING,)),
        ("run", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("genuine", np.int64),
        ("frauds", np.int64),
        ("share", np.float64),
    ]
)
"""A terminal's state.

payments            how many there were
ids, ratios, labels, label_times
                    of the last of them, in a ring: amount over habit, and what is known since when
run, first, last    unexplained frauds of the present run, and the times of its first and last
genuine             labels of genuine payments since the last unexplained fraud
frauds              unexplained frauds ever
share               of frauds among the last ten labels or so
"""

NAMES = (
    "TERMINAL_ID_DAYS_SINCE_FRAUD",
    "TERMINAL_ID_DAYS_SINCE_RUN_BEGAN",
    "TERMINAL_ID_RUN_LENGTH",
    "TERMINAL_ID_GENUINE_SINCE_FRAUD",
    "TERMINAL_ID_KNOWN_FRAUDS",
    "TERMINAL_ID_DAYS_OF_RUN",
    "TERMINAL_ID_RECENT_RISK",
)
"""Features, in the order in which the step writes them; frauds are known and unexplained ones.

DAYS_SINCE_FRAUD      from the newest one's payment, at most 60; 60 without any
DAYS_SINCE_RUN_BEGAN  from the payment of the first one of its run, likewise
RUN_LENGTH            how many the run holds; a genuine payment after a fraud ends its run
GENUINE_SINCE_FRAUD   how many genuine ones became known after the newest fraud
KNOWN_FRAUDS          how many there were ever
DAYS_OF_RUN           between the payments of the run's first and last
RECENT_RISK           share of frauds among the last labels, newer ones weighing more
"""


@numba.njit
def known_frauds_step(record: Any, identity: int, event_time: int, values: Any, out: Any) -> None:
    """Fold one payment; see `NAMES`.

    values  (1,) float64, the amount over the customer's habit
    """
    since, began = DAYS_MAX, DAYS_MAX
    if record["frauds"] > 0:
        # In the order of the log, an event may come after a later one.
        since = min(DAYS_MAX, max(0.0, (event_time - record["last"]) / _DAY_MS))
        began = min(DAYS_MAX, max(0.0, (event_time - record["first"]) / _DAY_MS))
    out[0] = since
    out[1] = began
    out[2] = record["run"]
    out[3] = record["genuine"]
    out[4] = record["frauds"]
    out[5] = began - since
    out[6] = record["share"]
    at = record["payments"] % WAITING
    record["ids"][at] = identity
    record["ratios"][at] = values[0]
    record["labels"][at] = _UNKNOWN
    record["payments"] += 1


@numba.njit
def learn_label(record: Any, identity: int, event_time: int, label: int, label_time: int) -> None:
    """Fold what became known of a payment.

    A label that says nothing new changes nothing, nor does one that was known before the one held.
    A fraud that turns out to be genuine is counted out again; when its run began and was last
    seen stays as it was.
    """
    ratio = 0.0
    told = _FRAUD if label == 1 else _GENUINE
    for i in range(min(record["payments"], WAITING)):
        if record["ids"][i] == identity:
            held = record["labels"][i]
            if held == told or (held != _UNKNOWN and label_time < record["label_times"][i]):
                return
            record["labels"][i] = told
            record["label_times"][i] = label_time
            ratio = record["ratios"][i]
            if held == _FRAUD and ratio <= EXPLAINED:
                record["frauds"] = max(0, record["frauds"] - 1)
                record["run"] = max(0, record["run"] - 1)
            break
    if label == 0 or ratio <= EXPLAINED:
        record["share"] += SHARE_STEP * (label - record["share"])
    if label == 0:
        # A genuine payment from before the newest fraud does not end that one's run.
        if event_time > record["last"]:
            record["genuine"] += 1
        return
    if ratio > EXPLAINED:
        return
    if record["genuine"] > 0 or record["run"] == 0:
        record["run"] = 0
        record["first"] = event_time
    record["run"] += 1
    record["frauds"] += 1
    record["genuine"] = 0
    record["last"] = max(record["last"], event_time)
