"""Kernels that read or write whole keys, rather than fold rows into them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import NO_POSITION
from stream_infer.windows.blocks import event_fits, make_room
from stream_infer.windows.compiled import kernel
from stream_infer.windows.entries import insert
from stream_infer.windows.layout import WindowLayout
from stream_infer.windows.narrow import (
    MASK,
    fits_label_time,
    is_half,
    label_time_at,
    position_at,
    sum_before,
    time_at,
)
from stream_infer.windows.state import (
    BASE,
    END,
    GHOST,
    NEWEST,
    START,
    TOTALS,
    UNLABELLED,
    WANTS,
    WANTS_LABEL_TIMES,
    Int64,
    Rules,
    State,
)


class Entries(NamedTuple):
    """Columns of entries, as `stream_infer.windows.snapshot` says them."""

    times: NDArray[np.int64]
    hashes: NDArray[np.int64]
    values: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int8]
    label_times: NDArray[np.int64]


def entry_columns(layout: WindowLayout, n: int) -> Entries:
    """Return room for so many entries; none in columns that the stage lacks."""
    labelled = n if layout.folds_labels else 0
    return Entries(
        times=np.empty(n, np.int64),
        hashes=np.empty(n, np.int64),
        values=np.empty((n, len(layout.values)), np.int64),
        positions=np.empty(n if layout.duplicates else 0, np.int64),
        labels=np.empty(labelled, np.int8),
        label_times=np.empty(labelled, np.int64),
    )


@kernel
def insert_all(
    state: State,
    rules: Rules,
    slots: np.ndarray,
    times: np.ndarray,
    hashes: np.ndarray,
    values: np.ndarray,
    positions: np.ndarray,
    labels: np.ndarray,
    label_times: np.ndarray,
    first: Int64,
) -> Int64:
    """Insert saved entries from `first` on; return their number, or where the store must help.

    slots, times, hashes (n,) int64; values (n, v) int64; positions (n,) int64;
    labels (n,) int8, ghosts as they were; label_times (n,) int64
    The entries of a slot lie together, and get a block of their size at once.
    """
    n = slots.shape[0]
    until = first
    for e in range(first, n):
        s = slots[e]
        if until <= e:
            until = e + 1
            while until < n and slots[until] == s:
                until += 1
        floor = state.slots[s][NEWEST] - rules.horizon
        # A base that suits the newest entry suits those before it.
        about = times[e]
        if is_half(rules.horizon):
            about = max(about, state.slots[s][NEWEST])
        if not make_room(state, rules, s, about, floor, until - e):
            return e
        label = np.int64(labels[e])
        if label < GHOST and not event_fits(state, s, values[e], positions[e]):
            return e
        if label != UNLABELLED and not fits_label_time(state, times[e], label_times[e]):
            state.registers[WANTS] = WANTS_LABEL_TIMES
            return e
        insert(state, rules, s, times[e], hashes[e], values[e], positions[e], label, label_times[e])
    return n


@kernel
def read_all(
    state: State,
    slots: np.ndarray,
    firsts: np.ndarray,
    times: np.ndarray,
    hashes: np.ndarray,
    values: np.ndarray,
    positions: np.ndarray,
    labels: np.ndarray,
    label_times: np.ndarray,
) -> None:
    """Write the entries of some slots into columns, those of ``slots[i]`` from ``firsts[i]`` on.

    Columns as `insert_all` takes them; those that the stage lacks have no rows.
    """
    for i in range(slots.shape[0]):
        s, first = slots[i], firsts[i]
        row = state.slots[s]
        start, base = row[START], row[BASE]
        for j in range(row[END]):
            to, at = first + j, start + j
            times[to], hashes[to] = time_at(state, base, at), state.hashes[at]
            for v in range(values.shape[1]):
                values[to, v] = sum_before(state, s, j + 1, v) - sum_before(state, s, j, v)
            is_ghost = False
            if state.labels.shape[0] > 0:
                labels[to], label_times[to] = state.labels[at], label_time_at(state, base, at)
                is_ghost = state.labels[at] >= GHOST
            if state.positions.shape[0] > 0:
                positions[to] = NO_POSITION if is_ghost else position_at(state, at)


@kernel
def widen_sums(state: State) -> None:
    """Fill the upper halves of the sums, which were added and hold nothing yet."""
    for s in range(state.slots.shape[0]):
        row = state.slots[s]
        for v in range(state.sums.shape[1]):
            total = row[TOTALS + v]
            for at in range(row[START], row[START] + row[END]):
                behind = (total - np.int64(state.sums[at, v])) & MASK
                state.sums_high[at, v] = np.uint32(((total - behind) >> 32) & MASK)
