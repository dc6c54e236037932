"""What can happen to one key's entries: search, insert, remove, make room, forget.

Positions are counted within the key's block, 0 being its oldest entry.
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.arena import block_size, free_block, take_block
from stream_infer.windows.compiled import part
from stream_infer.windows.state import (
    CAPACITY,
    COUNT,
    END,
    ENTRIES,
    GHOST,
    LABELLED,
    NEWEST,
    NONE,
    POSITIVE,
    START,
    TOTALS,
    TOUCHED,
    UNLABELLED,
    Int64,
    Rules,
    State,
)
from stream_infer.windows.sums import add_counts_behind, add_values_behind, write_totals


@part
def upper_bound(column: np.ndarray, start: Int64, low: Int64, high: Int64, x: Int64) -> Int64:
    """Return the first position in [low, high) whose element is above x, else high."""
    while low < high:
        middle = (low + high) >> 1
        if column[start + middle] > x:
            high = middle
        else:
            low = middle + 1
    return low


@part
def _place(state: State, start: Int64, end: Int64, time: Int64, identity: Int64) -> Int64:
    """Return where (time, identity) belongs: behind its equals."""
    if end == 0 or state.times[start + end - 1] < time:
        return end
    low, high = 0, end
    while low < high:
        middle = (low + high) >> 1
        here = state.times[start + middle]
        if here > time or (here == time and state.hashes[start + middle] > identity):
            high = middle
        else:
            low = middle + 1
    return low


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
def _filter_add(state: State, start: Int64, capacity: Int64, identity: Int64) -> None:
    for bit in _filter_bits(identity, capacity):
        state.filters[start + (bit >> 4)] |= np.uint16(1 << (bit & 15))


@part
def _filter_has(state: State, start: Int64, capacity: Int64, identity: Int64) -> bool:
    """Return False when the block surely holds no such id (1 in 200 strangers pass)."""
    for bit in _filter_bits(identity, capacity):
        if (state.filters[start + (bit >> 4)] >> (bit & 15)) & 1 == 0:
            return False
    return True


@part
def find(
    state: State, s: Int64, time: Int64, identity: Int64, floor: Int64, ghosts: bool, events: bool
) -> Int64:
    """Return the position of a visible entry with this id, or -1; one at `time` is preferred.

    ghosts, events  which of the two are looked for
    Cost            O(1) when the id is new, O(entries) to find it at another time
    """
    row = state.slots[s]
    start, end = row[START], row[END]
    if end == 0 or not _filter_has(state, start, row[CAPACITY], identity):
        return -1
    # A retry or a label nearly always names the time too, so hot keys are not scanned for it.
    j = _place(state, start, end, time, identity) - 1
    found = -1
    while j >= 0 and time > floor and _is_at(state, start + j, time, identity):
        if _is_wanted(state, start + j, ghosts, events):
            found = j
        j -= 1
    if found >= 0:
        return found
    for j in range(end):
        at = start + j
        if (
            state.hashes[at] == identity
            and state.times[at] > floor
            and _is_wanted(state, at, ghosts, events)
        ):
            return j
    return -1


@part
def _is_at(state: State, at: Int64, time: Int64, identity: Int64) -> bool:
    return bool(state.times[at] == time and state.hashes[at] == identity)


@part
def _is_wanted(state: State, at: Int64, ghosts: bool, events: bool) -> bool:
    """Tell whether an entry is of a wanted sort; only stages that fold labels have ghosts."""
    if state.labels.shape[0] == 0:
        return events
    return ghosts if state.labels[at] >= GHOST else events


@part
def _copy(state: State, source: Int64, target: Int64) -> None:
    """Copy one arena row, whatever columns there are."""
    state.times[target] = state.times[source]
    state.hashes[target] = state.hashes[source]
    if state.positions.shape[0]:
        state.positions[target] = state.positions[source]
    for v in range(state.sums.shape[1]):
        state.sums[target, v] = state.sums[source, v]
    for q in range(state.squares.shape[1]):
        state.squares[target, q] = state.squares[source, q]
    if state.labels.shape[0]:
        state.labels[target] = state.labels[source]
        state.label_times[target] = state.label_times[source]
        for c in range(3):
            state.counts[target, c] = state.counts[source, c]


@part
def insert(
    state: State,
    rules: Rules,
    s: Int64,
    time: Int64,
    identity: Int64,
    values: np.ndarray,
    position: Int64,
    label: Int64,
    label_time: Int64,
) -> None:
    """Insert an entry into a block that has room; a ghost counts for nothing.

    Cost  O(1) for the newest entry, else O(entries behind it)
    """
    row = state.slots[s]
    start, end = row[START], row[END]
    j = _place(state, start, end, time, identity)
    for k in range(start + end, start + j, -1):
        _copy(state, k - 1, k)
    if j == end:
        write_totals(state, s, start + j)
    state.times[start + j] = time
    state.hashes[start + j] = identity
    if state.positions.shape[0]:
        state.positions[start + j] = position
    if rules.finds_ids:
        _filter_add(state, start, row[CAPACITY], identity)
    row[END] = end + 1
    state.registers[ENTRIES] += 1
    ghost = label >= GHOST
    if not ghost:
        add_values_behind(state, rules, s, j, values)
    if state.labels.shape[0]:
        state.labels[start + j] = label
        state.label_times[start + j] = label_time
        if not ghost:
            add_counts_behind(state, s, j, 0, 1)
            add_counts_behind(state, s, j, 1, 1 if label != UNLABELLED else 0)
            add_counts_behind(state, s, j, 2, 1 if label == 1 else 0)


@part
def remove_ghost(state: State, s: Int64, j: Int64) -> None:
    """Remove the ghost at position j; no sum changes, since it counted for nothing."""
    row = state.slots[s]
    start, end = row[START], row[END]
    for k in range(start + j, start + end - 1):
        _copy(state, k + 1, k)
    row[END] = end - 1
    state.registers[ENTRIES] -= 1


@part
def _move(
    state: State, rules: Rules, s: Int64, first: Int64, target: Int64, capacity: Int64
) -> None:
    """Move the entries from position `first` on to the front of a block, and adopt it."""
    row = state.slots[s]
    start, live = row[START], row[END] - first
    for k in range(live):
        _copy(state, start + first + k, target + k)
    state.registers[ENTRIES] -= first
    row[START], row[CAPACITY], row[END] = target, capacity, live
    if rules.finds_ids:
        state.filters[target : target + capacity] = 0
        for k in range(target, target + live):
            _filter_add(state, target, capacity, state.hashes[k])


@part
def make_room(state: State, rules: Rules, s: Int64) -> bool:
    """Make sure that one entry fits; return False when the arena must grow first.

    A full block loses its invisible entries first, and moves only if what is left needs a block
    of another size. A sixteenth of the block is free afterwards, which pays for the move.
    """
    row = state.slots[s]
    start, capacity, end = row[START], row[CAPACITY], row[END]
    if end < capacity:
        return True
    dead = upper_bound(state.times, start, 0, end, row[NEWEST] - rules.horizon)
    live = end - dead
    size = block_size(live + max(1, live >> 4))
    if size == capacity:
        _move(state, rules, s, dead, start, capacity)
        return True
    target = take_block(state, size)
    if target < 0:
        return False
    _move(state, rules, s, dead, target, size)
    if capacity > 0:
        free_block(state, start, capacity)
    return True


@part
def drop_entries(state: State, s: Int64) -> None:
    """Forget a key's entries and clocks, and give its block back; its custom records stay."""
    row = state.slots[s]
    if row[CAPACITY] > 0:
        free_block(state, row[START], row[CAPACITY])
    state.registers[ENTRIES] -= row[END]
    row[START], row[CAPACITY], row[END] = 0, 0, 0
    row[NEWEST], row[TOUCHED] = NONE, NONE
    row[COUNT], row[LABELLED], row[POSITIVE] = 0, 0, 0
    row[TOTALS:] = 0
