"""The last hour of a sensor in slots of five minutes, and its usual day.

A slot holds the sum and the number of its readings, so that sensors of any interval have the
same features, and so that a late reading finds its place. Slot ``q`` lies in cell ``q % 13``
until slot ``q + 13`` needs it; then its mean joins the profile of its time of day. So the
profile of an hour never holds what that hour is doing today.

Shares (value / scale) are summed as whole numbers of a hundred-thousandth: sums do not
depend on the order of the readings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_infer.traffic.compiled import traffic_part

SLOT_MS = 300_000
SLOTS = 13
"""The present slot and an hour before it."""
DAY_SLOTS = 288
UNITS = 100_000.0
DAYS_MAX = 60
"""Days that a profile's sum holds before it is halved, so that seasons fade."""
SMOOTH = 2
"""Slots on either side whose profile counts too: one day's slot alone is noise."""

FIELDS = [
    ("slot", np.int64),
    ("began", np.int64),
    ("sums", np.int64, (SLOTS,)),
    ("counts", np.int32, (SLOTS,)),
    ("all_sum", np.int64),
    ("all_count", np.int64),
    ("profile", np.int32, (DAY_SLOTS,)),
    ("days", np.uint8, (DAY_SLOTS,)),
]
"""Fields of the state record.

slot       number of the present slot since the epoch
began      number of the slot with the first reading
sums, counts
           of the slots' readings, in units
all_sum, all_count
           of the slots that left the last hour
profile    sum over days of each slot's mean, in units
days       how many days that sum holds
"""


@traffic_part
def _leave(record: Any, cell: int, slot: int) -> None:
    """Let the reading of a slot that is over an hour old join the profile; empty its cell."""
    count = record["counts"][cell]
    if count > 0:
        mean = np.int64(np.rint(record["sums"][cell] / count))
        at = slot % DAY_SLOTS
        if record["days"][at] >= DAYS_MAX:
            record["profile"][at] //= 2
            record["days"][at] //= 2
        record["profile"][at] += mean
        record["days"][at] += 1
        record["all_sum"] += mean
        record["all_count"] += 1
    record["sums"][cell] = 0
    record["counts"][cell] = 0


@traffic_part
def enter(record: Any, event_time: int) -> int:
    """Move on to the slot of a time; return its cell, or -1 when it left the last hour."""
    slot = event_time // SLOT_MS
    if record["stepped"] == 0:
        record["slot"] = slot
        record["began"] = slot
    newest = record["slot"]
    if slot <= newest - SLOTS:
        return -1
    if slot > newest:
        # After a gap each cell is emptied once.
        for later in range(newest + 1, min(slot, newest + SLOTS) + 1):
            _leave(record, later % SLOTS, later - SLOTS)
        record["slot"] = slot
    record["began"] = min(record["began"], slot)
    return slot % SLOTS


@traffic_part
def usual(record: Any, slot: int, otherwise: float) -> float:
    """Return the usual share at the time of day of a slot, or `otherwise` where none is known."""
    total = 0.0
    days = 0.0
    for near in range(slot - SMOOTH, slot + SMOOTH + 1):
        at = near % DAY_SLOTS
        total += record["profile"][at]
        days += record["days"][at]
    known: float = total / (days * UNITS) if days > 0 else otherwise
    return known
