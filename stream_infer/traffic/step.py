"""The step of the traffic pipeline: one reading, its sensor's past, and its neighbours.

Values are looked at as shares of the sensor's scale (its free-flow speed, mostly), so that
roads of 50 and of 120 km/h speak one language and a model learnt on some serves others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream_infer.traffic import history, surprise
from stream_infer.traffic.compiled import traffic_part, traffic_step
from stream_infer.traffic.history import SLOTS, UNITS
from stream_infer.traffic.service import level_of_service
from stream_infer.traffic.surprise import anomaly_score

VERSION = 1
"""Raised whenever a feature begins to mean another value."""

HORIZON_SLOTS = (3, 6, 12)
LINK_MS_MAX = 900_000
"""A neighbour's reading that is older says nothing about now."""
_DAY_MS = 86_400_000

RECORD = np.dtype(
    [
        ("stepped", np.int64),
        ("now", np.float64),
        ("trend", np.float64),
        ("last", np.float64),
        ("same_since", np.int64),
        ("same", np.int64),
        *history.FIELDS,
        *surprise.FIELDS,
    ]
)
"""A sensor's state.

stepped           see `Custom`
now, trend        share of the present slot, and its change over 15 minutes: what neighbours read
last              the last value of the measure, with how many readings it has stood (`same`)
                  and since when (`same_since`, ms)
and the fields of `history` and `surprise`
"""

NAMES = (
    "level_of_service",
    "anomaly",
    "scale",
    "speed_now",
    "usual",
    "now",
    *(f"lag_{5 * lag}m" for lag in range(1, SLOTS)),
    "mean_15m",
    "mean_30m",
    "mean_60m",
    "std_60m",
    "max_60m",
    "min_60m",
    "off_usual",
    "usual_15m",
    "usual_30m",
    "usual_60m",
    "mean_ever",
    "near",
    "near_trend",
    "near_min",
    "downstream",
    "downstream_trend",
    "far",
    "far_trend",
    "day_sin",
    "day_cos",
    "missing_60m",
    "stuck_readings",
    "stuck_minutes",
)
"""Features, in the order in which the step writes them.

level_of_service  0 (A) to 5 (F); NaN where none can be told
anomaly           0 to 1, see `surprise`
scale             what shares are of, in the measure's unit
speed_now         as `now`, where the measure is speed; NaN elsewhere
usual             usual share at this time of day; `now` where none is known
now               share of the present slot (or the last one known); NaN before the first value
lag_*             share that long ago less `now`; an empty slot is as the one before it
mean_, max_, min_ of the slots of that time, less `now`; std_60m of the slots' shares
off_usual         that less `now`
usual_*           by how much the usual share changes until then
mean_ever         share over all slots that left the last hour, less `now`
near, near_min    mean and lowest share of the neighbours, less `now`; 0 without any
downstream, far   mean share of the neighbours downstream; of neighbours' neighbours
*_trend           mean of their changes over 15 minutes
day_sin, day_cos  time of day (UTC) as a point on a circle
missing_60m       share of the 12 slots before this one that are empty, since the first reading
stuck_readings    readings before this one with the very same value
stuck_minutes     for how long
"""

_NOW = NAMES.index("now")
_LAG = NAMES.index("lag_5m")
_MEAN = NAMES.index("mean_15m")
_USUAL = NAMES.index("off_usual")
_NEAR = NAMES.index("near")
_DAY = NAMES.index("day_sin")
_MISSING = NAMES.index("missing_60m")


@traffic_part
def _note_stuck(record: Any, event_time: int, value: float, out: Any) -> None:
    """Count how many readings in a row said the very same."""
    if record["same"] > 0 and record["last"] == value:
        out[_MISSING + 1] = record["same"]
        out[_MISSING + 2] = max(0, event_time - record["same_since"]) / 60_000.0
        record["same"] += 1
    else:
        record["last"] = value
        record["same"] = 1
        record["same_since"] = event_time


@traffic_part
def _write_past(record: Any, out: Any) -> float:
    """Write what the last hour was like; return the present share, NaN before the first value."""
    shares = out[_LAG - 1 : _LAG - 1 + SLOTS]
    known: float = math.nan
    for lag in range(SLOTS - 1, -1, -1):
        cell = (record["slot"] - lag) % SLOTS
        if record["counts"][cell] > 0:
            known = record["sums"][cell] / (record["counts"][cell] * UNITS)
        shares[lag] = known
    now: float = shares[0]
    if math.isnan(now):
        return now
    total = 0.0
    squares = 0.0
    high = 0.0
    low = 0.0
    for lag in range(SLOTS):
        # Slots before the first reading were as it is now, for all that is known.
        change = 0.0 if math.isnan(shares[lag]) else shares[lag] - now
        shares[lag] = change
        total += change
        squares += change * change
        high = max(high, change)
        low = min(low, change)
        if lag == 2:
            out[_MEAN] = total / 3
        elif lag == 5:
            out[_MEAN + 1] = total / 6
        elif lag == 11:
            out[_MEAN + 2] = total / 12
            out[_MEAN + 3] = math.sqrt(max(0.0, squares / 12 - (total / 12) ** 2))
            out[_MEAN + 4] = high
            out[_MEAN + 5] = low
    shares[0] = now
    return now


@traffic_part
def _write_usual(record: Any, now: float, out: Any) -> None:
    """Write what is usual at this time of day, and what is usual to come."""
    slot = record["slot"]
    here = history.usual(record, slot, now)
    out[_NOW - 1] = here
    out[_USUAL] = here - now
    for h in range(len(HORIZON_SLOTS)):
        out[_USUAL + 1 + h] = history.usual(record, slot + HORIZON_SLOTS[h], here) - here
    if record["all_count"] > 0:
        out[_USUAL + 4] = record["all_sum"] / (record["all_count"] * UNITS) - now


@traffic_part
def _write_links(
    records: Any,
    links: Any,
    facts: Any,
    event_time: int,
    now: float,
    out: Any,
) -> None:
    """Write what the neighbours say, those that spoke in the last quarter of an hour."""
    near = 0
    down = 0
    far = 0
    lowest = math.inf
    near_end = facts["near"]
    for j in range(near_end + facts["far"]):
        s = links[j]
        if s < 0:
            continue
        other = records[s]
        spoke = other["stepped"] - _NEVER
        if spoke < event_time - LINK_MS_MAX or math.isnan(other["now"]):
            continue
        if j >= near_end:
            far += 1
            out[_NEAR + 5] += other["now"]
            out[_NEAR + 6] += other["trend"]
            continue
        near += 1
        out[_NEAR] += other["now"]
        out[_NEAR + 1] += other["trend"]
        lowest = min(lowest, other["now"])
        if j < facts["downstream"]:
            down += 1
            out[_NEAR + 3] += other["now"]
            out[_NEAR + 4] += other["trend"]
    if near > 0:
        out[_NEAR] = out[_NEAR] / near - now
        out[_NEAR + 1] /= near
        out[_NEAR + 2] = lowest - now
    if down > 0:
        out[_NEAR + 3] = out[_NEAR + 3] / down - now
        out[_NEAR + 4] /= down
    if far > 0:
        out[_NEAR + 5] = out[_NEAR + 5] / far - now
        out[_NEAR + 6] /= far


@traffic_part
def _missing(record: Any) -> float:
    """Return the share of empty slots among the twelve before the present one."""
    expected = 0
    empty = 0
    for lag in range(1, SLOTS):
        if record["slot"] - lag >= record["began"]:
            expected += 1
            if record["counts"][(record["slot"] - lag) % SLOTS] == 0:
                empty += 1
    return empty / expected if expected > 0 else 0.0


_NEVER = np.int64(2**62)
"""What `stepped` is ahead of the time it means."""


@traffic_step
def traffic_reading(
    record: Any,
    records: Any,
    links: Any,
    facts: Any,
    event_time: int,
    values: Any,
    out: Any,
) -> None:
    """Fold one reading and write its features; see `NAMES` and `stream_infer.features.spec`.

    values  (3,) float64: speed, flow, occupancy in the contract's units, NaN where absent
    """
    out[:] = 0.0
    out[0] = level_of_service(values[0], values[1], facts["lanes"], facts["free_flow"])
    scale = facts["scale"]
    out[2] = scale
    value = values[facts["measure"]]
    cell = history.enter(record, event_time)
    if not math.isnan(value):
        if cell >= 0:
            record["sums"][cell] += np.int64(np.rint(value / scale * UNITS))
            record["counts"][cell] += 1
        out[1] = anomaly_score(record, value / scale)
        _note_stuck(record, event_time, value, out)
    now = _write_past(record, out)
    out[_NOW - 2] = now if facts["measure"] == 0 else math.nan
    out[_NOW - 1] = now
    record["now"] = now
    if math.isnan(now):
        record["trend"] = 0.0
        out[_LAG:] = 0.0
    else:
        record["trend"] = -out[_LAG + 2]
        _write_usual(record, now, out)
        _write_links(records, links, facts, event_time, now, out)
    angle = 2.0 * math.pi * ((event_time % _DAY_MS) / _DAY_MS)
    out[_DAY] = math.sin(angle)
    out[_DAY + 1] = math.cos(angle)
    out[_MISSING] = _missing(record)
