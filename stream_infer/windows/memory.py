"""Which arrays a stage's windows have, and what an entry takes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.windows.arena import BLOCK_MIN
from stream_infer.windows.layout import WindowLayout
from stream_infer.windows.state import (
    CLOCK,
    HEADS,
    HIGH,
    NEWEST,
    NONE,
    REGISTERS,
    STEPPED,
    TOTALS,
    TOUCHED,
    WANTS_LABEL_TIMES,
    WANTS_POSITIONS,
    WANTS_SUMS,
    WANTS_TIMES,
    Rules,
    State,
)

_ROWS_FIRST = 256
_SLOTS_FIRST = 64
ARENA = {
    "times": 1,
    "times_high": 1,
    "hashes": 1,
    "positions": 1,
    "positions_high": 1,
    "sums": 1,
    "sums_high": 1,
    "squares": BLOCK_MIN,
    "counts": BLOCK_MIN,
    "labels": 1,
    "label_times": 1,
    "label_times_high": 1,
    "filters": 1,
    "tags": BLOCK_MIN,
}
"""Columns of the arena, and how many entries a row of each stands for."""
NARROW = {
    WANTS_TIMES: "times",
    WANTS_POSITIONS: "positions",
    WANTS_SUMS: "sums",
    WANTS_LABEL_TIMES: "label_times",
}


def rules_of(layout: WindowLayout) -> Rules:
    """Return the layout as kernels take it."""
    return Rules(
        horizon=np.int64(layout.horizon_ms),
        lateness=np.int64(layout.lateness_ms),
        first=np.int64(layout.first),
        duplicates=np.int64(layout.duplicates),
        folds_labels=np.int64(layout.folds_labels),
        finds_ids=np.int64(layout.finds_ids),
        keeps_entries=np.int64(layout.keeps_entries),
        boundaries=layout.boundaries,
        ops=layout.ops,
        scales=layout.scales,
        squared=layout.squares,
    )


def empty_state(layout: WindowLayout) -> State:
    """Return arrays of the first size, holding nothing."""
    values, squares = len(layout.values), len(layout.squares)
    rows = _ROWS_FIRST if layout.keeps_entries else 0
    labelled = rows if layout.folds_labels else 0
    registers = np.zeros(REGISTERS, np.int64)
    registers[CLOCK] = registers[HIGH] = NONE
    registers[HEADS:] = -1
    slots = np.zeros((_SLOTS_FIRST, TOTALS + values), np.int64)
    clear_slots(slots)
    return State(
        registers=registers,
        seen=np.zeros(0, np.int64),
        slots=slots,
        times=np.zeros(rows, np.uint32),
        times_high=np.zeros(0, np.uint32),
        hashes=np.zeros(rows, np.int64),
        positions=np.zeros(rows if layout.duplicates else 0, np.uint32),
        positions_high=np.zeros(0, np.uint32),
        sums=np.zeros((rows, values), np.uint32),
        sums_high=np.zeros((0, values), np.uint32),
        squares=np.zeros((rows // BLOCK_MIN, 2 * squares), np.uint64),
        counts=np.zeros((labelled // BLOCK_MIN, 3), np.int32),
        labels=np.zeros(labelled, np.int8),
        label_times=np.zeros(labelled, np.uint32),
        label_times_high=np.zeros(0, np.uint32),
        filters=np.zeros(rows if layout.finds_ids else 0, np.uint16),
        tags=np.zeros(rows // BLOCK_MIN, np.int8),
    )


def clear_slots(slots: NDArray[np.int64]) -> None:
    """Make slot rows those of keys that were never seen."""
    slots[:] = 0
    slots[:, NEWEST] = slots[:, TOUCHED] = slots[:, STEPPED] = NONE


def row_bytes(state: State) -> float:
    """Return the bytes of one arena row, its share of what there is for several rows included."""
    held = ((getattr(state, name), rows) for name, rows in ARENA.items())
    return float(sum(array.itemsize * array[:1].size / rows for array, rows in held))
