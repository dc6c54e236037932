"""Where a key's entries lie: room for more, moves, and what is forgotten.

A full block loses its invisible entries first, and moves only if what is left needs a block of
another size. None of this changes what a key knows.
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.arena import block_size, free_block, take_block
from stream_infer.windows.compiled import part, rare
from stream_infer.windows.narrow import (
    fits_position,
    fits_values,
    is_half,
    put_time,
    time_at,
)
from stream_infer.windows.state import (
    BASE,
    CAPACITY,
    END,
    ENTRIES,
    NEWEST,
    NONE,
    START,
    TOTALS,
    TOUCHED,
    WANTED_ROWS,
    WANTS,
    WANTS_POSITIONS,
    WANTS_ROWS,
    WANTS_SUMS,
    WANTS_TIMES,
    Int64,
    Rules,
    State,
)
from stream_infer.windows.sums import sample_behind


@part
def _filter_bits(identity: Int64, capacity: Int64) -> tuple[Int64, Int64, Int64]:
    """Return the three bits of an id in a filter of 16 bits an entry."""
    bits = capacity * 16
    # 31 bits of the hash as a fraction of the filter's length, which is no power of two.
    return (
        ((identity & 0x7FFFFFFF) * bits) >> 31,
        (((identity >> 16) & 0x7FFFFFFF) * bits) >> 31,
        (((identity >> 33) & 0x7FFFFFFF) * bits) >> 31,
    )


@part
def filter_add(state: State, start: Int64, capacity: Int64, identity: Int64) -> None:
    """Note an id in the filter of a block."""
    for bit in _filter_bits(identity, capacity):
        state.filters[start + (bit >> 4)] |= np.uint16(1 << (bit & 15))


@part
def filter_has(state: State, start: Int64, capacity: Int64, identity: Int64) -> bool:
    """Return False when the block surely holds no such id (1 in 200 strangers pass)."""
    for bit in _filter_bits(identity, capacity):
        if (state.filters[start + (bit >> 4)] >> (bit & 15)) & 1 == 0:
            return False
    return True


@part
def _copy_rows(column: np.ndarray, source: Int64, target: Int64, n: Int64) -> None:
    """Copy rows of a column, where it has any; the two places may overlap."""
    if column.shape[0] == 0:
        return
    if target <= source:
        for k in range(n):
            column[target + k] = column[source + k]
    else:
        for k in range(n - 1, -1, -1):
            column[target + k] = column[source + k]


@part
def _copy_wide_rows(column: np.ndarray, source: Int64, target: Int64, n: Int64) -> None:
    """Copy rows of several numbers each."""
    if column.shape[0] == 0:
        return
    for v in range(column.shape[1]):
        if target <= source:
            for k in range(n):
                column[target + k, v] = column[source + k, v]
        else:
            for k in range(n - 1, -1, -1):
                column[target + k, v] = column[source + k, v]


@rare
def copy_entries(state: State, source: Int64, target: Int64, n: Int64) -> None:
    """Copy arena rows, whatever columns there are; samples and filters stay behind."""
    _copy_rows(state.times, source, target, n)
    _copy_rows(state.times_high, source, target, n)
    _copy_rows(state.hashes, source, target, n)
    _copy_rows(state.positions, source, target, n)
    _copy_rows(state.positions_high, source, target, n)
    _copy_wide_rows(state.sums, source, target, n)
    _copy_wide_rows(state.sums_high, source, target, n)
    _copy_rows(state.labels, source, target, n)
    _copy_rows(state.label_times, source, target, n)
    _copy_rows(state.label_times_high, source, target, n)


@part
def visible_from(state: State, s: Int64, low: Int64, high: Int64, floor: Int64) -> Int64:
    """Return the first position in [low, high) whose event time is above `floor`, else high."""
    row = state.slots[s]
    start, base = row[START], row[BASE]
    while low < high:
        middle = (low + high) >> 1
        if time_at(state, base, start + middle) > floor:
            high = middle
        else:
            low = middle + 1
    return low


@part
def _base_for(state: State, rules: Rules, s: Int64, first: Int64, time: Int64) -> Int64:
    """Return a base for the entries from position `first` on and one more, or NONE.

    A horizon before the newest of them lies nothing that is visible, so that nothing which comes
    later lies before it either; a label that waits for an event far ahead may leave less room.
    """
    row = state.slots[s]
    if state.times_high.shape[0] > 0:
        return row[BASE]
    lowest = highest = time
    if first < row[END]:
        lowest = min(time, time_at(state, row[BASE], row[START] + first))
        highest = max(time, time_at(state, row[BASE], row[START] + row[END] - 1))
    base = min(lowest, highest - rules.horizon)
    if not is_half(highest - base):
        base = lowest
    return base if is_half(highest - base) else NONE


@part
def _move(
    state: State,
    rules: Rules,
    s: Int64,
    first: Int64,
    target: Int64,
    capacity: Int64,
    base: Int64,
) -> None:
    """Move the entries from position `first` on to the front of a block, and adopt it."""
    row = state.slots[s]
    start, live, before = row[START], row[END] - first, row[BASE]
    copy_entries(state, start + first, target, live)
    if base != before:
        for k in range(target, target + live):
            put_time(state, base, k, time_at(state, before, k))
    state.registers[ENTRIES] -= first
    row[START], row[CAPACITY], row[END], row[BASE] = target, capacity, live, base
    if rules.finds_ids:
        state.filters[target : target + capacity] = 0
        for k in range(target, target + live):
            filter_add(state, target, capacity, state.hashes[k])
    sample_behind(state, rules, s, 0)


@rare
def _rearrange(
    state: State, rules: Rules, s: Int64, time: Int64, floor: Int64, more: Int64
) -> bool:
    """Drop invisible entries, move the others to a block of the right size; see `make_room`."""
    row = state.slots[s]
    start, capacity, end = row[START], row[CAPACITY], row[END]
    dead = visible_from(state, s, 0, end, floor)
    live = end - dead
    base = _base_for(state, rules, s, dead, time)
    if base == NONE:
        state.registers[WANTS] = WANTS_TIMES
        return False
    size = capacity
    if end + more > capacity:
        size = block_size(live + max(more, live >> 3))
    if size == capacity:
        _move(state, rules, s, dead, start, capacity, base)
        return True
    target = take_block(state, size)
    if target < 0:
        state.registers[WANTS], state.registers[WANTED_ROWS] = WANTS_ROWS, size
        return False
    _move(state, rules, s, dead, target, size, base)
    if capacity > 0:
        free_block(state, start, capacity)
    return True


@part
def make_room(state: State, rules: Rules, s: Int64, time: Int64, floor: Int64, more: Int64) -> bool:
    """Make sure that entries of about that time fit; return False when the store must help first.

    floor  entries at or before it are invisible from now on
    more   how many
    An eighth of a block that was full is free afterwards, which pays for the move.
    """
    row = state.slots[s]
    fits = state.times_high.shape[0] > 0 or is_half(time - row[BASE])
    if row[END] + more <= row[CAPACITY] and fits:
        return True
    return _rearrange(state, rules, s, time, floor, more)


@part
def event_fits(state: State, s: Int64, values: np.ndarray, position: Int64) -> bool:
    """Tell whether an event's numbers can be written; if not, the store must help first."""
    if not fits_values(state, s, values):
        state.registers[WANTS] = WANTS_SUMS
        return False
    if not fits_position(state, position):
        state.registers[WANTS] = WANTS_POSITIONS
        return False
    return True


@rare
def drop_entries(state: State, s: Int64) -> None:
    """Forget a key's entries and clocks, and give its block back; its custom records stay."""
    row = state.slots[s]
    if row[CAPACITY] > 0:
        free_block(state, row[START], row[CAPACITY])
    state.registers[ENTRIES] -= row[END]
    row[START], row[CAPACITY], row[END] = 0, 0, 0
    row[NEWEST], row[TOUCHED] = NONE, NONE
    row[BASE] = 0
    row[TOTALS:] = 0
