"""The features of one event, from the entries its key has at that moment."""

from __future__ import annotations

import math

import numpy as np

from stream_infer.windows.blocks import visible_from
from stream_infer.windows.compiled import part
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
from stream_infer.windows.narrow import sum_before, time_at
from stream_infer.windows.state import BASE, END, GHOST, START, Int64, Rules, State
from stream_infer.windows.sums import count_before, squares_before

# Columns of `cuts`.
_AT, _COUNT, _SUMS = 0, 1, 4
CUT_WIDTH = _SUMS
"""Numbers of a boundary beside the sums of the values."""


@part
def cut(state: State, rules: Rules, s: Int64, time: Int64, floor: Int64, cuts: np.ndarray) -> None:
    """Find where each boundary falls among the key's entries; what is below `floor` is invisible.

    cuts  (boundaries, CUT_WIDTH + v) int64, written: the number of entries at or before the
          boundary; of those that are no ghosts, of labelled ones, of positive ones; sums
    Cost  O(boundaries · log entries)
    """
    row = state.slots[s]
    start, base, high = row[START], row[BASE], row[END]
    for b in range(rules.boundaries.shape[0]):
        at = max(time - rules.boundaries[b], floor)
        # Nearly every event is its key's newest, and its last boundary lies behind all entries.
        if high > 0 and time_at(state, base, start + high - 1) > at:
            high = visible_from(state, s, 0, high, at)
        cuts[b, _AT] = high
        if state.labels.shape[0] > 0:
            count_before(state, start, high, cuts[b, _COUNT:_SUMS])
        else:
            cuts[b, _COUNT] = high
        for v in range(state.sums.shape[1]):
            cuts[b, _SUMS + v] = sum_before(state, s, high, v)


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
    rules: Rules,
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
    until_low, until_high = squares_before(state, rules, s, high, q)
    from_low, from_high = squares_before(state, rules, s, low, q)
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
def _rate(upper: np.ndarray, lower: np.ndarray, own: Int64, labelled_only: Int64) -> float:
    """Return the share of positive entries; the event itself has no label yet."""
    if labelled_only:
        n = upper[_COUNT + 1] - lower[_COUNT + 1]
    else:
        n = upper[_COUNT] - lower[_COUNT] + own
    positive = upper[_COUNT + 2] - lower[_COUNT + 2]
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
        row = state.slots[s]
        return float(time - time_at(state, row[BASE], row[START] + j))
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
    cuts           (boundaries, CUT_WIDTH + v) int64 from `cut`
    Every division is done once, by a divisor that is exact: values do not depend on the path.
    """
    for k in range(rules.ops.shape[0]):
        code, v = rules.ops[k, 0], rules.ops[k, 4]
        upper, lower = cuts[rules.ops[k, 1]], cuts[rules.ops[k, 2]]
        high, low = upper[_AT], lower[_AT]
        own = rules.ops[k, 3] & counts_itself
        scale = rules.scales[v] if v >= 0 else 1.0
        if code == OP_RATE:
            out[k] = _rate(upper, lower, own, rules.ops[k, 6])
            continue
        if code == OP_MAX:
            out[k] = _largest(state, s, low, high, v, own, values[v]) / scale
            continue
        if code in (OP_LAST, OP_SINCE):
            unit = 1000.0 if code == OP_SINCE else scale
            out[k] = _previous(state, s, low, high, code, time, v) / unit
            continue
        n = upper[_COUNT] - lower[_COUNT] + own
        if code == OP_COUNT:
            out[k] = float(n)
            continue
        total = upper[_SUMS + v] - lower[_SUMS + v]
        if own:
            total += values[v]
        if code == OP_SUM:
            out[k] = float(total) / scale
        elif code == OP_MEAN:
            out[k] = float(total) / (float(n) * scale) if n > 0 else 0.0
        elif code == OP_STD:
            q = rules.ops[k, 5]
            out[k] = _deviation(state, rules, s, low, high, n, total, q, own, values[v]) / scale
