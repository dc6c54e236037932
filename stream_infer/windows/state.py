"""The arrays that hold one partition's windows, and what kernels take and give.

    slots   one row a key: where its block lies, its clocks, its totals (columns below)
    arena   one row an entry, column by column; a key's entries lie in one block, sorted by
            (event time, id hash)

Value columns do not hold values but what came before: `sums[i]` is the sum over the
key's entries before `i`, and the key's total stands in its slot. A window's sum is then
one subtraction, whatever its length. These sums are integers modulo 2**64 (squares
2**128): differences are exact whenever the window's own sum fits. Counts and squares are
held for every fourth row only, counted from the block's first one; those of the rows
between are added up when they are asked for.

Most columns of whole numbers hold their lower 32 bits only, for as long as that tells them all
(`stream_infer.windows.narrow`): event times lie near their key's BASE, label times near their
event's, positions have their upper half in common, and what a block's values add up to is small.
The first number that does not fit makes the store add a column of the upper halves, `..._high`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = Any
"""A whole number in a kernel: numba makes it an int64 from Python's ints and numpy's alike,
and judges its use itself; mypy knows those as types that do not mix."""

NONE = np.int64(-(2**62))
"""No time yet: before every time, and far enough from the end of int64 to subtract from it."""

# Columns of `slots`.
START = 0
"""First arena row of the key's block."""
CAPACITY = 1
"""Rows of the block; 0 when the key has none."""
END = 2
"""Entries in the block."""
NEWEST = 3
"""Event time of the key's newest kept event, or NONE."""
TOUCHED = 4
"""NEWEST, or a later time that a waiting label speaks of."""
STEPPED = 5
"""Event time of the newest event that custom steps folded, or NONE."""
BASE = 6
"""The time that the block's `times` count from."""
TOTALS = 7
"""The first value's total; then those of the others."""

# Registers of the whole partition.
CLOCK = 0
"""The partition's clock: the largest event time of an accepted event or tick, or NONE."""
BUMP = 1
"""Arena rows that were ever handed out and not given back since."""
ENTRIES = 2
"""Entries in all blocks."""
HIGH = 3
"""The upper half that all positions have, or NONE."""
WANTS = 4
"""What a kernel that stopped waits for: one of the words below."""
WANTED_ROWS = 5
"""Where that is WANTS_ROWS: of how many the block is to be."""
LISTED = 6
"""One bit for each class of free blocks that has any, eight to a register."""
CLASSES = 8 * 29
HEADS = LISTED + CLASSES // 8
"""First free block of each size class, or -1."""
REGISTERS = HEADS + CLASSES

# What a kernel may wait for.
WANTS_ROWS = 0
WANTS_TIMES = 1
WANTS_POSITIONS = 2
WANTS_SUMS = 3
WANTS_LABEL_TIMES = 4

# Values of the arena's `labels`.
UNLABELLED = -1
GHOST = 2
"""Added to the label of an entry whose transaction has not come yet."""


class Rows(NamedTuple):
    """``n`` rows of a batch. See `EventColumns` for what they mean.

    kind (n,) int8; time, slot, ids (n,) int64, ids being hashes; values (n, v) int64;
    position (n,) int64; late (n,) bool; duplicate_of (n,) int64; label (n,) int8;
    label_time, upstream, upstream_offset (n,) int64, upstream -1 where there is none.
    """

    kind: NDArray[np.int8]
    time: NDArray[np.int64]
    slot: NDArray[np.int64]
    ids: NDArray[np.int64]
    values: NDArray[np.int64]
    position: NDArray[np.int64]
    late: NDArray[np.bool_]
    duplicate_of: NDArray[np.int64]
    label: NDArray[np.int8]
    label_time: NDArray[np.int64]
    upstream: NDArray[np.int64]
    upstream_offset: NDArray[np.int64]


class Rules(NamedTuple):
    """A `WindowLayout` in the form that kernels take; flags are 0 or 1."""

    horizon: np.int64
    lateness: np.int64
    first: np.int64
    duplicates: np.int64
    folds_labels: np.int64
    finds_ids: np.int64
    keeps_entries: np.int64
    boundaries: NDArray[np.int64]
    ops: NDArray[np.int64]
    scales: NDArray[np.float64]
    squared: NDArray[np.int64]


class State(NamedTuple):
    """Everything that a fold of one stage and partition knows, but for custom records.

    registers (REGISTERS,) int64; seen (u,) int64, highest offset of each upstream;
    slots (s, TOTALS + v) int64. Arena columns, a rows each where the stage needs them and no
    row otherwise: times (a,) uint32 from the key's BASE; hashes (a,) int64; positions (a,)
    uint32; sums (a, v) uint32; labels (a,) int8; label_times (a,) uint32 from the entry's time;
    filters (a,) uint16, 16 bits an entry of a Bloom filter over the block's ids; and a row for
    every four: squares (a / 4, 2q) uint64, counts (a / 4, 3) int32 of entries, labelled and
    positive ones before, tags (a / 4,) int8 (`stream_infer.windows.arena`). Of times,
    positions, sums and label_times there is the upper half too, where it is needed.
    """

    registers: NDArray[np.int64]
    seen: NDArray[np.int64]
    slots: NDArray[np.int64]
    times: NDArray[np.uint32]
    times_high: NDArray[np.uint32]
    hashes: NDArray[np.int64]
    positions: NDArray[np.uint32]
    positions_high: NDArray[np.uint32]
    sums: NDArray[np.uint32]
    sums_high: NDArray[np.uint32]
    squares: NDArray[np.uint64]
    counts: NDArray[np.int32]
    labels: NDArray[np.int8]
    label_times: NDArray[np.uint32]
    label_times_high: NDArray[np.uint32]
    filters: NDArray[np.uint16]
    tags: NDArray[np.int8]


class Results(NamedTuple):
    """What a kernel writes, row by row.

    accepted, late (n,) bool; duplicate_of (n,) int64; features (n, k) float64, NaN where the
    row is no event; stepped (n,) int8: 0 custom steps skip the row, 1 they fold it, 2 they only
    evaluate it; clock, before (n,) int64: the partition's clock with this row, and the key's
    STEPPED before it.
    """

    accepted: NDArray[np.bool_]
    late: NDArray[np.bool_]
    duplicate_of: NDArray[np.int64]
    features: NDArray[np.float64]
    stepped: NDArray[np.int8]
    clock: NDArray[np.int64]
    before: NDArray[np.int64]
