"""What can happen to one key's entries: search, insert, remove.

Positions are counted within the key's block, 0 being its oldest entry.
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.blocks import copy_entries, filter_add, filter_has
from stream_infer.windows.compiled import part, rare
from stream_infer.windows.narrow import put_label, put_position, put_time, time_at
from stream_infer.windows.state import (
    BASE,
    CAPACITY,
    END,
    ENTRIES,
    GHOST,
    START,
    Int64,
    Rules,
    State,
)
from stream_infer.windows.sums import add_values_behind, sample_behind, write_totals


@part
def _place(state: State, s: Int64, time: Int64, identity: Int64) -> Int64:
    """Return where (time, identity) belongs: behind its equals."""
    row = state.slots[s]
    start, end, base = row[START], row[END], row[BASE]
    if end == 0 or time_at(state, base, start + end - 1) < time:
        return end
    low, high = np.int64(0), end
    while low < high:
        middle = (low + high) >> 1
        here = time_at(state, base, start + middle)
        if here > time or (here == time and state.hashes[start + middle] > identity):
            high = middle
        else:
            low = middle + 1
    return low


@part
def find(state: State, s: Int64, time: Int64, identity: Int64, floor: Int64, ghosts: bool) -> Int64:
    """Return the position of a visible entry with this id, or -1; one at `time` is preferred.

    ghosts  whether labels that wait are looked for, or events
    Cost    O(1) when the id is new, O(entries) to find it at another time
    """
    row = state.slots[s]
    if row[END] == 0 or not filter_has(state, row[START], row[CAPACITY], identity):
        return np.int64(-1)
    return _search(state, s, time, identity, floor, ghosts)


@rare
def _search(
    state: State, s: Int64, time: Int64, identity: Int64, floor: Int64, ghosts: bool
) -> Int64:
    """Search the entries themselves; see `find`."""
    row = state.slots[s]
    start, end, base = row[START], row[END], row[BASE]
    # A retry or a label nearly always names the time too, so hot keys are not scanned for it.
    j = _place(state, s, time, identity) - 1
    found = -1
    while j >= 0 and time > floor and _is_at(state, base, start + j, time, identity):
        if _is_wanted(state, start + j, ghosts):
            found = j
        j -= 1
    if found >= 0:
        return found
    for j in range(end):
        at = start + j
        if (
            state.hashes[at] == identity
            and time_at(state, base, at) > floor
            and _is_wanted(state, at, ghosts)
        ):
            return j
    return -1


@part
def _is_at(state: State, base: Int64, at: Int64, time: Int64, identity: Int64) -> bool:
    return bool(state.hashes[at] == identity and time_at(state, base, at) == time)


@part
def _is_wanted(state: State, at: Int64, ghosts: bool) -> bool:
    """Tell whether an entry is of a wanted sort; only stages that fold labels have ghosts."""
    return bool(state.labels.shape[0] == 0 or (state.labels[at] >= GHOST) == ghosts)


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

    Everything about it fits (`stream_infer.windows.narrow`).
    Cost  O(1) for the newest entry, else O(entries behind it)
    """
    row = state.slots[s]
    start, end = row[START], row[END]
    j = _place(state, s, time, identity)
    at = start + j
    if j < end:
        copy_entries(state, at, at + 1, end - j)
    else:
        write_totals(state, s, at)
    put_time(state, row[BASE], at, time)
    state.hashes[at] = identity
    put_position(state, at, position)
    if rules.finds_ids:
        filter_add(state, start, row[CAPACITY], identity)
    row[END] = end + 1
    state.registers[ENTRIES] += 1
    if label < GHOST:
        add_values_behind(state, s, j, values)
    if state.labels.shape[0]:
        put_label(state, at, time, label, label_time)
    sample_behind(state, rules, s, j)


@part
def remove_ghost(state: State, rules: Rules, s: Int64, j: Int64) -> None:
    """Remove the ghost at position j; no sum changes, since it counted for nothing."""
    row = state.slots[s]
    at, end = row[START] + j, row[END]
    copy_entries(state, at + 1, at, end - 1 - j)
    row[END] = end - 1
    state.registers[ENTRIES] -= 1
    sample_behind(state, rules, s, j)
