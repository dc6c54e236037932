"""Cumulative columns: what lies before an entry, and how a new entry changes what lies behind.

The last entry is followed by the key's totals, which stand in its slot: nearly every
window ends there, so that its sums need one look into the arena instead of two.

Counts and squares are samples, one for the first of every four rows: what lies between the
block's beginning and that row. A whole column of them would be 12 and 16 bytes an entry.
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.arena import BLOCK_MIN
from stream_infer.windows.compiled import part, rare
from stream_infer.windows.exact import add, square
from stream_infer.windows.narrow import sum_before, write_sum
from stream_infer.windows.state import END, GHOST, START, TOTALS, Int64, Rules, State


@part
def count_before(state: State, start: Int64, j: Int64, counted: np.ndarray) -> None:
    """Count the entries before j of the block at `start`.

    counted  (3,) int64, written: entries, labelled ones, positive ones; ghosts are none
    """
    counted[0] = counted[1] = counted[2] = 0
    if j == 0:
        return
    first = (start + j - 1) // BLOCK_MIN
    n = np.int64(state.counts[first, 0])
    labelled, positive = np.int64(state.counts[first, 1]), np.int64(state.counts[first, 2])
    for at in range(first * BLOCK_MIN, start + j):
        label = state.labels[at]
        n += 1 if label < GHOST else 0
        labelled += 1 if 0 <= label < GHOST else 0
        positive += 1 if label == 1 else 0
    counted[0], counted[1], counted[2] = n, labelled, positive


@part
def _square_at(state: State, rules: Rules, s: Int64, j: Int64, q: Int64) -> tuple[Int64, Int64]:
    v = rules.squared[q]
    return square(sum_before(state, s, j + 1, v) - sum_before(state, s, j, v))


@part
def squares_before(
    state: State, rules: Rules, s: Int64, j: Int64, q: Int64
) -> tuple[np.uint64, np.uint64]:
    """Return the 128-bit sum of squares over the entries before j."""
    low, high = np.uint64(0), np.uint64(0)
    if j == 0:
        return low, high
    start = state.slots[s][START]
    first = (start + j - 1) // BLOCK_MIN
    low, high = state.squares[first, 2 * q], state.squares[first, 2 * q + 1]
    for k in range(first * BLOCK_MIN - start, j):
        low_here, high_here = _square_at(state, rules, s, k, q)
        low, high = add(low, high, low_here, high_here)
    return low, high


@part
def add_values_behind(state: State, s: Int64, j: Int64, values: np.ndarray) -> None:
    """Add one entry's values to all sums behind position j, and to the totals."""
    row = state.slots[s]
    start, end = row[START], row[END]
    for v in range(state.sums.shape[1]):
        if state.sums_high.shape[0] > 0:
            for k in range(start + j + 1, start + end):
                low, high = np.int64(state.sums[k, v]), np.int64(state.sums_high[k, v])
                write_sum(state, k, v, (low | (high << 32)) + values[v])
        else:
            for k in range(start + j + 1, start + end):
                state.sums[k, v] += np.uint32(values[v])
        row[TOTALS + v] += values[v]


@part
def sample_behind(state: State, rules: Rules, s: Int64, j: Int64) -> None:
    """Write the samples that lie behind what changed at position j, or that j itself begins."""
    if state.counts.shape[0] == 0 and state.squares.shape[1] == 0:
        return
    row = state.slots[s]
    first = (row[START] + j + BLOCK_MIN - 1) // BLOCK_MIN
    end = (row[START] + row[END] + BLOCK_MIN - 1) // BLOCK_MIN
    if first < end:
        _sample(state, rules, row[START], s, first, end)


@rare
def _sample(state: State, rules: Rules, start: Int64, s: Int64, first: Int64, end: Int64) -> None:
    """Write the samples ``first..end-1`` of a key's block."""
    if first * BLOCK_MIN == start:
        if state.counts.shape[0] > 0:
            for c in range(3):
                state.counts[first, c] = 0
        for q in range(state.squares.shape[1]):
            state.squares[first, q] = 0
        first += 1
    for sample in range(first, end):
        if state.counts.shape[0] > 0:
            _sample_counts(state, sample)
        for q in range(rules.squared.shape[0]):
            at = sample * BLOCK_MIN - start
            low, high = squares_before(state, rules, s, at, q)
            state.squares[sample, 2 * q], state.squares[sample, 2 * q + 1] = low, high


@part
def _sample_counts(state: State, sample: Int64) -> None:
    """Write a sample of counts from the one before it."""
    n, labelled, positive = 0, 0, 0
    for at in range((sample - 1) * BLOCK_MIN, sample * BLOCK_MIN):
        label = state.labels[at]
        n += 1 if label < GHOST else 0
        labelled += 1 if 0 <= label < GHOST else 0
        positive += 1 if label == 1 else 0
    state.counts[sample, 0] = state.counts[sample - 1, 0] + n
    state.counts[sample, 1] = state.counts[sample - 1, 1] + labelled
    state.counts[sample, 2] = state.counts[sample - 1, 2] + positive


@part
def add_counts_behind(state: State, s: Int64, j: Int64, labelled: Int64, positive: Int64) -> None:
    """Change the counts behind position j, where an entry's label changed."""
    row = state.slots[s]
    first = (row[START] + j) // BLOCK_MIN + 1
    for sample in range(first, (row[START] + row[END] + BLOCK_MIN - 1) // BLOCK_MIN):
        state.counts[sample, 1] += labelled
        state.counts[sample, 2] += positive


@part
def write_totals(state: State, s: Int64, at: Int64) -> None:
    """Write the key's totals as what lies before arena row `at`, the new last entry."""
    row = state.slots[s]
    for v in range(state.sums.shape[1]):
        write_sum(state, at, v, row[TOTALS + v])
