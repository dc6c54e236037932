"""The features of one event, from the entries its key has at that moment."""

from __future__ import annotations

import math

import numpy as np

from stream_infer.windows.compiled import part
from stream_infer.windows.entries import upper_bound
from stream_infer.windows.exact import add, spread, square, subtract
from stream_infer.windows.layout import (
    OP_COUNT,
    OP_LAST,
    OP_MAX,
    OP_MEAN,
    OP_RATE,
    OP_SINCE,
    OP_STD,
    OP_SUM,
)
from stream_infer.windows.state import END, GHOST, START, Int64, Rules, State
from stream_infer.windows.sums import count_before, squares_before, sum_before


@part
def cut(state: State, rules: Rules, s: Int64, time: Int64, floor: Int64, cuts: np.ndarray) -> None:
    """Find where each boundary falls among the key's entries; what is below `floor` is invisible.

    cuts  (boundaries,) int64, written: number of entries at or before the boundary
    Cost  O(boundaries · log entries)
    """
    row = state.slots[s]
    start, high = row[START], row[END]
    for b in range(rules.boundaries.shape[0]):
        at = max(time - rules.boundaries[b], floor)
        # Nearly every event is its key's newest, and its last boundary lies behind all entries.
        if high > 0 and state.times[start + high - 1] > at:
            high = upper_bound(state.times, start, 0, high, at)
        cuts[b] = high


@part
def _value_at(state: State, s: Int64, j: Int64, v: Int64) -> Int64:
    return sum_before(state, s, j + 1, v) - sum_before(state, s, j, v)


@part
def _largest(
    state: State, s: Int64, low: Int64, high: Int64, v: Int64, own: Int64, value: Int64
) -> float:
    """Return the largest value in [low, high) and, where own is 1, the event's; 0 when empty."""
    largest = value if own else np.int64(np.iinfo(np.int64).min)
    found = own
    start = state.slots[s][START]
    for j in range(low, high):
        if state.labels.shape[0] > 0 and state.labels[start + j] >= GHOST:
            continue
        found = 1
        largest = max(largest, _value_at(state, s, j, v))
    return float(largest) if found else 0.0


@part
def _deviation(
    state: State,
    s: Int64,
    low: Int64,
    high: Int64,
    n: Int64,
    total: Int64,
    q: Int64,
    own: Int64,
    value: Int64,
) -> float:
    """Return the sample standard deviation over [low, high) and the event, in fixed point."""
    if n < 2:
        return 0.0
    until_low, until_high = squares_before(state, s, high, q)
    from_low, from_high = squares_before(state, s, low, q)
    sum_low, sum_high = subtract(until_low, until_high, from_low, from_high)
    if own:
        own_low, own_high = square(value)
        sum_low, sum_high = add(sum_low, sum_high, own_low, own_high)
    return math.sqrt(spread(n, total, sum_low, sum_high) / (float(n) * float(n - 1)))


@part
def _last_event(state: State, s: Int64, low: Int64, high: Int64) -> Int64:
    """Return the position of the newest entry in [low, high) that is no ghost, or -1."""
    start = state.slots[s][START]
    j = high - 1
    while j >= low and state.labels.shape[0] > 0 and state.labels[start + j] >= GHOST:
        j -= 1
    return j if j >= low else -1


@part
def _rate(
    state: State, s: Int64, low: Int64, high: Int64, own: Int64, labelled_only: Int64
) -> float:
    """Return the share of positive entries; the event itself has no label yet."""
    which = 1 if labelled_only else 0
    n = (count_before(state, s, high, which) - count_before(state, s, low, which)) & 0xFFFFFFFF
    if not labelled_only:
        n += own
    positive = (count_before(state, s, high, 2) - count_before(state, s, low, 2)) & 0xFFFFFFFF
    return float(positive) / float(n) if n > 0 else 0.0


@part
def _previous(
    state: State, s: Int64, low: Int64, high: Int64, code: Int64, time: Int64, v: Int64
) -> float:
    """Return the value of the event before (fixed point), or the ms since it; NaN without one."""
    j = _last_event(state, s, low, high)
    if j < 0:
        return np.nan
    if code == OP_SINCE:
        return float(time - state.times[state.slots[s][START] + j])
    return float(_value_at(state, s, j, v))


@part
def evaluate(
    state: State,
    rules: Rules,
    s: Int64,
    time: Int64,
    values: np.ndarray,
    counts_itself: Int64,
    cuts: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (k,) float64 with the features of one event.

    counts_itself  0 for a duplicate, which its first record already stands for
    cuts           (boundaries,) int64 from `cut`
    Every division is done once, by a divisor that is exact: values do not depend on the path.
    """
    for k in range(rules.ops.shape[0]):
        code, v = rules.ops[k, 0], rules.ops[k, 4]
        high, low = cuts[rules.ops[k, 1]], cuts[rules.ops[k, 2]]
        own = rules.ops[k, 3] & counts_itself
        scale = rules.scales[v] if v >= 0 else 1.0
        if code == OP_RATE:
            out[k] = _rate(state, s, low, high, own, rules.ops[k, 6])
            continue
        if code == OP_MAX:
            out[k] = _largest(state, s, low, high, v, own, values[v]) / scale
            continue
        if code in (OP_LAST, OP_SINCE):
            unit = 1000.0 if code == OP_SINCE else scale
            out[k] = _previous(state, s, low, high, code, time, v) / unit
            continue
        n = ((count_before(state, s, high, 0) - count_before(state, s, low, 0)) & 0xFFFFFFFF) + own
        if code == OP_COUNT:
            out[k] = float(n)
            continue
        total = sum_before(state, s, high, v) - sum_before(state, s, low, v)
        if own:
            total += values[v]
        if code == OP_SUM:
            out[k] = float(total) / scale
        elif code == OP_MEAN:
            out[k] = float(total) / (float(n) * scale) if n > 0 else 0.0
        elif code == OP_STD:
            q = rules.ops[k, 5]
            out[k] = _deviation(state, s, low, high, n, total, q, own, values[v]) / scale
