"""Numbers of entries in 32 bits, and in 64 where that is not enough.

Whether a number can be told from its lower half is a matter of what lies in its block, so each
column has its own rule, and whoever writes asks first: `fits_...`. Where the answer is no the
kernel stops, the store adds a column of upper halves, and the kernel goes on.

    times        from the key's BASE, which lies a horizon before its newest entry
    label_times  from the entry's own time
    positions    a partition's log has the same upper half for four thousand million records
    sums         while no value is negative and a block's values stay below 2**32 together:
                 then what lies behind an entry is told by the lower half of its sum
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.compiled import part
from stream_infer.windows.state import (
    END,
    ENTRIES,
    HIGH,
    NONE,
    START,
    TOTALS,
    UNLABELLED,
    Int64,
    State,
)

MASK = 0xFFFFFFFF


@part
def _whole(low: np.ndarray, high: np.ndarray, at: Int64) -> Int64:
    """Return a number of a column; without upper halves it is none below 0."""
    number = np.int64(low[at])
    if high.shape[0] > 0:
        number |= np.int64(high[at]) << 32
    return number


@part
def _put(low: np.ndarray, high: np.ndarray, at: Int64, number: Int64) -> None:
    low[at] = np.uint32(number & MASK)
    if high.shape[0] > 0:
        high[at] = np.uint32((number >> 32) & MASK)


@part
def is_half(number: Int64) -> bool:
    """Tell whether a number is told by its lower half."""
    return bool(number >> 32 == 0)


@part
def time_at(state: State, base: Int64, at: Int64) -> Int64:
    """Return the event time of an arena row."""
    return base + _whole(state.times, state.times_high, at)


@part
def put_time(state: State, base: Int64, at: Int64, time: Int64) -> None:
    """Write the event time of an arena row."""
    _put(state.times, state.times_high, at, time - base)


@part
def label_time_at(state: State, base: Int64, at: Int64) -> Int64:
    """Return when an entry's label became known; 0 without one."""
    if state.labels[at] == UNLABELLED:
        return np.int64(0)
    after = _whole(state.label_times, state.label_times_high, at)
    return time_at(state, base, at) + after


@part
def fits_label_time(state: State, time: Int64, label_time: Int64) -> bool:
    """Tell whether the label time of an entry of that time can be written."""
    return bool(state.label_times_high.shape[0] > 0 or is_half(label_time - time))


@part
def put_label(state: State, at: Int64, time: Int64, label: Int64, label_time: Int64) -> None:
    """Write the label of an entry of that time, a ghost's as it is kept."""
    state.labels[at] = label
    after = label_time - time if label != UNLABELLED else np.int64(0)
    _put(state.label_times, state.label_times_high, at, after)


@part
def position_at(state: State, at: Int64) -> Int64:
    """Return the position of an entry that is no ghost."""
    if state.positions_high.shape[0] > 0:
        return _whole(state.positions, state.positions_high, at)
    return (state.registers[HIGH] << 32) | np.int64(state.positions[at])


@part
def fits_position(state: State, position: Int64) -> bool:
    """Tell whether a position can be written; the first one of all decides the upper half."""
    if state.positions.shape[0] == 0 or state.positions_high.shape[0] > 0:
        return True
    if state.registers[HIGH] == NONE or state.registers[ENTRIES] == 0:
        state.registers[HIGH] = position >> 32
    return bool(state.registers[HIGH] == position >> 32)


@part
def put_position(state: State, at: Int64, position: Int64) -> None:
    """Write the position of an entry, where the stage keeps any."""
    if state.positions.shape[0] > 0:
        _put(state.positions, state.positions_high, at, position)


@part
def sum_before(state: State, s: Int64, j: Int64, v: Int64) -> Int64:
    """Return the sum of value v over the key's entries before j."""
    row = state.slots[s]
    total = row[TOTALS + v]
    if j == row[END]:
        return total
    at = row[START] + j
    low = np.int64(state.sums[at, v])
    if state.sums_high.shape[0] > 0:
        return low | (np.int64(state.sums_high[at, v]) << 32)
    return total - ((total - low) & MASK)


@part
def fits_values(state: State, s: Int64, values: np.ndarray) -> bool:
    """Tell whether an entry's values can be added to what the key's block holds."""
    if state.sums_high.shape[0] > 0:
        return True
    row = state.slots[s]
    for v in range(state.sums.shape[1]):
        held = row[TOTALS + v] - sum_before(state, s, 0, v)
        if values[v] < 0 or values[v] > MASK - held:
            return False
    return True


@part
def write_sum(state: State, at: Int64, v: Int64, total: Int64) -> None:
    """Write what lies before an arena row."""
    state.sums[at, v] = np.uint32(total & MASK)
    if state.sums_high.shape[0] > 0:
        state.sums_high[at, v] = np.uint32((total >> 32) & MASK)
