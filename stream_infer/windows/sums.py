"""Cumulative columns: what lies before an entry, and how a new entry changes what lies behind.

The last entry is followed by the key's totals, which stand in its slot: nearly every
window ends there, so that its sums need one look into the arena instead of two.
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.compiled import part
from stream_infer.windows.exact import add, square
from stream_infer.windows.state import COUNT, END, START, TOTALS, Int64, Rules, State


@part
def count_before(state: State, s: Int64, j: Int64, which: Int64) -> Int64:
    """Return how many entries (which 0), labelled (1) or positive ones (2) lie before j."""
    if state.counts.shape[0] == 0:
        return j
    row = state.slots[s]
    if j == row[END]:
        return row[COUNT + which]
    return np.int64(state.counts[row[START] + j, which])


@part
def sum_before(state: State, s: Int64, j: Int64, v: Int64) -> Int64:
    """Return the sum of value v over the entries before j."""
    row = state.slots[s]
    return row[TOTALS + v] if j == row[END] else state.sums[row[START] + j, v]


@part
def squares_before(state: State, s: Int64, j: Int64, q: Int64) -> tuple[np.uint64, np.uint64]:
    """Return the 128-bit sum of squares over the entries before j."""
    row = state.slots[s]
    if j == row[END]:
        at = TOTALS + state.sums.shape[1] + 2 * q
        return np.uint64(row[at]), np.uint64(row[at + 1])
    at = row[START] + j
    return state.squares[at, 2 * q], state.squares[at, 2 * q + 1]


@part
def add_values_behind(state: State, rules: Rules, s: Int64, j: Int64, values: np.ndarray) -> None:
    """Add one entry's values to all sums behind position j, and to the totals."""
    row = state.slots[s]
    start, end = row[START], row[END]
    for v in range(state.sums.shape[1]):
        for k in range(start + j + 1, start + end):
            state.sums[k, v] += values[v]
        row[TOTALS + v] += values[v]
    for q in range(rules.squared.shape[0]):
        low, high = square(values[rules.squared[q]])
        at = TOTALS + state.sums.shape[1] + 2 * q
        total_low, total_high = add(np.uint64(row[at]), np.uint64(row[at + 1]), low, high)
        row[at], row[at + 1] = np.int64(total_low), np.int64(total_high)
        for k in range(start + j + 1, start + end):
            low_here, high_here = add(
                state.squares[k, 2 * q], state.squares[k, 2 * q + 1], low, high
            )
            state.squares[k, 2 * q], state.squares[k, 2 * q + 1] = low_here, high_here


@part
def add_counts_behind(state: State, s: Int64, j: Int64, which: Int64, change: Int64) -> None:
    """Change a cumulative count behind position j, and its total."""
    if state.counts.shape[0] == 0 or change == 0:
        return
    row = state.slots[s]
    for k in range(row[START] + j + 1, row[START] + row[END]):
        state.counts[k, which] += change
    row[COUNT + which] += change


@part
def write_totals(state: State, s: Int64, at: Int64) -> None:
    """Write the key's totals as what lies before arena row `at`, the new last entry."""
    row = state.slots[s]
    values = state.sums.shape[1]
    for v in range(values):
        state.sums[at, v] = row[TOTALS + v]
    for q in range(state.squares.shape[1]):
        state.squares[at, q] = np.uint64(row[TOTALS + values + q])
    if state.counts.shape[0]:
        for c in range(3):
            state.counts[at, c] = row[COUNT + c]
