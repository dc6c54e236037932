"""How surprising a value is after the one before it: a causal detector of anomalies.

Values are cut into 16 bins over the range that the first ones had, and half of it on either
side. The surprise of a bin is -log of its probability after the bin before, where
counts reach out to the bins around them (weights exp(-distance)) and a context that was
seen c times has the weight c / (c + 4), the rest being left to the bins' shares without
context, and in turn to equal shares. A surprise says little alone: some sensors are always
full of them. So half of the score is -log of the share of earlier surprises that were as
large (a conformal p-value: Laxhammar and Falkman, 2010).

Nothing looks ahead: a value is scored before it is learnt from, and the range comes from
values that were there. State is two kB a sensor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream_infer.traffic.compiled import traffic_part

BINS = 16
FIRST = 150
"""Values from which the range is learnt; nothing is scored before: half a day at 5 minutes."""
MARGIN = 0.5
"""Of the range, on either side: what is beyond it lies in the outermost bins. With half of it
the benchmark's score is the same (87 to 88) whether 150, 200, 250 or 288 values come first; with
a quarter it swings from 81 to 87."""
BACK_OFF = 4.0
SURPRISE_BINS = 64
SURPRISE_MAX = 16.0
"""Nats; the histogram of earlier surprises has bins of a quarter."""
COUNT_MAX = 20_000
"""Counts are halved here: what a road did months ago weighs less than what it does now."""

KERNEL = np.exp(-np.abs(np.arange(BINS)[:, None] - np.arange(BINS)[None, :]).astype(np.float64))
KERNEL /= KERNEL.sum(axis=1, keepdims=True)
"""(from, to) float64: how much of a count in one bin is counted in the others."""

FIELDS = [
    ("first", np.float32, (FIRST,)),
    ("firsts", np.int32),
    ("low", np.float64),
    ("width", np.float64),
    ("bin", np.int32),
    ("pairs", np.int32, (BINS, BINS)),
    ("singles", np.int32, (BINS,)),
    ("surprises", np.int32, (SURPRISE_BINS,)),
]
"""Fields of the state record: the first values, then the range and the counts.

pairs      (before, now) how often one bin followed another
singles    (now,) how often each bin came
surprises  how often each surprise came
"""


@traffic_part
def _bin_of(record: Any, value: float) -> int:
    cut = int((value - record["low"]) / record["width"])
    return min(BINS - 1, max(0, cut))


@traffic_part
def _surprise(record: Any, now: int) -> float:
    """Return -log of the probability of a bin after the one before, in nats."""
    before = record["bin"]
    seen = 0.0
    total = 0.0
    likely = 0.0
    share = 0.0
    for other in range(BINS):
        weight = KERNEL[other, now]
        seen += record["pairs"][before, other]
        likely += weight * record["pairs"][before, other]
        total += record["singles"][other]
        share += weight * record["singles"][other]
    # (c / (c + 4)) * (likely / c) is likely / (c + 4), and needs no case for c = 0.
    any_context = (share + BACK_OFF / BINS) / (total + BACK_OFF)
    return -math.log((likely + BACK_OFF * any_context) / (seen + BACK_OFF))


@traffic_part
def _tail(record: Any, surprise: float) -> float:
    """Return the share of earlier surprises at least as large; those of one bin count half."""
    at = min(SURPRISE_BINS - 1, int(surprise * (SURPRISE_BINS / SURPRISE_MAX)))
    above = 0.5 * record["surprises"][at]
    total = 0.0 + record["surprises"][at]
    for other in range(SURPRISE_BINS):
        if other != at:
            total += record["surprises"][other]
            if other > at:
                above += record["surprises"][other]
    share: float = (above + 1.0) / (total + 1.0)
    return share


@traffic_part
def _learn(record: Any, now: int, surprise: float) -> None:
    at = min(SURPRISE_BINS - 1, int(surprise * (SURPRISE_BINS / SURPRISE_MAX)))
    record["surprises"][at] += 1
    record["pairs"][record["bin"], now] += 1
    record["singles"][now] += 1
    record["bin"] = now
    if record["singles"][now] >= COUNT_MAX:
        for i in range(BINS):
            record["singles"][i] //= 2
            for j in range(BINS):
                record["pairs"][i, j] //= 2
        for i in range(SURPRISE_BINS):
            record["surprises"][i] //= 2


@traffic_part
def _begin(record: Any) -> None:
    """Set the range by the first values, then learn from them as if they came now."""
    low = math.inf
    high = -math.inf
    for i in range(FIRST):
        low = min(low, np.float64(record["first"][i]))
        high = max(high, np.float64(record["first"][i]))
    # A sensor that said one thing only still needs a range with a width.
    spread = max(high - low, 0.05 * max(abs(high), abs(low)), 1e-6)
    record["low"] = low - MARGIN * spread
    record["width"] = (spread * (1 + 2 * MARGIN)) / BINS
    record["bin"] = _bin_of(record, np.float64(record["first"][0]))
    for i in range(1, FIRST):
        now = _bin_of(record, np.float64(record["first"][i]))
        _learn(record, now, _surprise(record, now))


@traffic_part
def anomaly_score(record: Any, value: float) -> float:
    """Score a value, 0 to 1, and learn from it; 0 while the range is being learnt."""
    if record["firsts"] < FIRST:
        record["first"][record["firsts"]] = value
        record["firsts"] += 1
        if record["firsts"] == FIRST:
            _begin(record)
        return 0.0
    now = _bin_of(record, value)
    surprise = _surprise(record, now)
    mixed = 0.5 * surprise - 0.5 * math.log(_tail(record, surprise))
    _learn(record, now, surprise)
    return 1.0 - math.exp(-mixed)
