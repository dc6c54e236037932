"""The step of a terminal's known frauds: when the present run of them began, and goes on.

A compromised terminal's payments are frauds one after the other, until it is mended. Labels
come in the same log as payments, days after them. A fraud whose amount was far above its
customer's habit says more of the card than of the terminal: it is left out of the run.

What a payment sees is declared, as it is for a window with a delay: of the payments that are at
least `DELAY_MS` older, those whose labels have come, in the order of their own times. The log of
terminals merges partitions that are read in step to about an hour only, so a label may stand
there an hour before or after the payments that it would precede in a file. A feature that counted
labels as they come would be another one in the stream than in the file that a model is trained on.
So a label waits with its payment, and counts for good once no payment may come that is not to
see it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

VERSION = 2
"""Raised whenever a feature begins to mean another value."""

EXPLAINED = 2.0
"""Times the customer's habit above which the amount alone explains a fraud."""
WAITING = 64
"""Payments that are held; of a busier terminal, the newest. The label of one that is no longer
there counts at once, as unexplained; so a terminal of more than nine payments a day is told of
sooner or later than declared."""
DAYS_MAX = 60.0
SHARE_STEP = 0.2

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

DELAY_MS = 7 * _DAY_MS
"""Payments younger than this count as unlabelled, whatever is known of them. A label that takes
longer counts from the payment on before which it stands in the log."""
SKEW_MS = 6 * _HOUR_MS
"""How far behind the terminal's newest payment another may come and still see what it should:
several times what workers let partitions run ahead of each other."""
_UNKNOWN = 0
_GENUINE = 1
_FRAUD = 2
_LEAST = -(2**63)

KNOWN_FRAUDS = np.dtype(
    [
        ("payments", np.int64),
        ("newest", np.int64),
        ("ids", np.int64, (WAITING,)),
        ("times", np.int64, (WAITING,)),
        ("ratios", np.float32, (WAITING,)),
        ("labels", np.int8, (WAITING,)),
        ("label_times", np.int64, (WAITING,)),
        ("counted", np.int8, (WAITING,)),
        ("run", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("genuine", np.int64),
        ("frauds", np.int64),
        ("share", np.float64),
    ]
)
"""A terminal's state.

payments, newest    how many there were, and the newest's time
ids, times, ratios, labels, label_times, counted
                    of the last of them, in a ring: amount over habit, what is known since when,
                    and whether that counts for good in what follows
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
    held = record["payments"]
    record["newest"] = max(record["newest"], event_time) if held > 0 else event_time
    _count_for_good(record, record["newest"] - DELAY_MS - SKEW_MS)
    # What the payment sees beyond that is counted for it alone.
    run, first, last = record["run"], record["first"], record["last"]
    genuine, frauds, share = record["genuine"], record["frauds"], record["share"]
    i = _next(record, _LEAST, _LEAST, event_time - DELAY_MS)
    while i >= 0:
        _count(record, record["times"][i], record["ratios"][i], record["labels"][i])
        i = _next(record, record["times"][i], record["ids"][i], event_time - DELAY_MS)
    _write(record, event_time, out)
    record["run"], record["first"], record["last"] = run, first, last
    record["genuine"], record["frauds"], record["share"] = genuine, frauds, share
    at = held % WAITING
    if held >= WAITING and record["labels"][at] != _UNKNOWN and not record["counted"][at]:
        _count(record, record["times"][at], record["ratios"][at], record["labels"][at])
    record["ids"][at] = identity
    record["times"][at] = event_time
    record["ratios"][at] = values[0]
    record["labels"][at] = _UNKNOWN
    record["counted"][at] = 0
    record["payments"] += 1


@numba.njit
def learn_label(record: Any, identity: int, event_time: int, label: int, label_time: int) -> None:
    """Fold what became known of a payment.

    A label that says nothing new changes nothing, nor does one that was known before the one held.
    A fraud that turns out to be genuine is counted out again; when its run began and was last
    seen stays as it was.
    """
    told = _FRAUD if label == 1 else _GENUINE
    for i in range(min(record["payments"], WAITING)):
        if record["ids"][i] == identity:
            held = record["labels"][i]
            if held == told or (held != _UNKNOWN and label_time < record["label_times"][i]):
                return
            record["labels"][i] = told
            record["label_times"][i] = label_time
            if record["counted"][i]:
                if held == _FRAUD and record["ratios"][i] <= EXPLAINED:
                    record["frauds"] = max(0, record["frauds"] - 1)
                    record["run"] = max(0, record["run"] - 1)
                _count(record, event_time, record["ratios"][i], told)
            return
    _count(record, event_time, 0.0, told)


@numba.njit
def _write(record: Any, event_time: int, out: Any) -> None:
    """Write what is known to a payment of that time."""
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


@numba.njit
def _count_for_good(record: Any, until: int) -> None:
    """Count the labels of payments that are not after `until` for all payments to come."""
    i = _next(record, _LEAST, _LEAST, until)
    while i >= 0:
        _count(record, record["times"][i], record["ratios"][i], record["labels"][i])
        record["counted"][i] = 1
        i = _next(record, _LEAST, _LEAST, until)


@numba.njit
def _next(record: Any, after: int, after_id: int, until: int) -> int:
    """Return the place of the payment whose label counts next, -1 for none.

    Of those that do not count for good, the first behind (after, after_id) by time and id, and
    not after `until`.
    """
    found = -1
    for i in range(min(record["payments"], WAITING)):
        at, identity = record["times"][i], record["ids"][i]
        if at > until or record["counted"][i] or record["labels"][i] == _UNKNOWN:
            continue
        if at < after or (at == after and identity <= after_id):
            continue
        best, best_id = record["times"][found], record["ids"][found]
        if found < 0 or at < best or (at == best and identity < best_id):
            found = i
    return found


@numba.njit
def _count(record: Any, event_time: int, ratio: float, told: int) -> None:
    """Count a label in."""
    if told == _GENUINE:
        record["share"] -= SHARE_STEP * record["share"]
        # A genuine payment from before the newest fraud does not end that one's run.
        if event_time > record["last"]:
            record["genuine"] += 1
        return
    if ratio > EXPLAINED:
        return
    record["share"] += SHARE_STEP * (1.0 - record["share"])
    if record["genuine"] > 0 or record["run"] == 0:
        record["run"] = 0
        record["first"] = event_time
    record["run"] += 1
    record["frauds"] += 1
    record["genuine"] = 0
    record["last"] = max(record["last"], event_time)
