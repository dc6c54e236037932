"""The memory of one stage and partition: arrays that grow, and what is given back.

Owns every array that the kernels write. They change in three ways only: `fold`,
`restore`, and growth, which changes where things lie but not what they mean.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import one_form
from stream_infer.errors import StateBudgetError
from stream_infer.windows.evaluate import CUT_WIDTH
from stream_infer.windows.kernels import fold_rows, sweep
from stream_infer.windows.layout import WindowLayout
from stream_infer.windows.memory import (
    ARENA,
    NARROW,
    clear_slots,
    empty_state,
    row_bytes,
    rules_of,
)
from stream_infer.windows.narrow import MASK
from stream_infer.windows.slots import SlotMap
from stream_infer.windows.state import (
    BUMP,
    CLOCK,
    ENTRIES,
    HIGH,
    NONE,
    WANTED_ROWS,
    WANTS,
    WANTS_ROWS,
    Results,
    Rows,
)
from stream_infer.windows.whole import widen_sums

if TYPE_CHECKING:
    from stream_infer.windows.capture import Capture

_GROWTH = 1.0625
"""Growing is cheap (pages are remapped, not copied), and what is not used yet is memory too."""
_ALIGN = 64

# Rows come from `stream_infer.features.fold` alone, whose arrays are always of one form.
_fold_rows = one_form(fold_rows)


class EntryStore:
    """Entries of every key of one stage and partition, folded in log order.

    layout            what the stage's windows need
    memory_bytes_max  bound on `bytes`, or None
    records           custom records, one array a step, a row a slot; grown with the slots
    forget_after_ms   of each custom step
    """

    def __init__(
        self,
        layout: WindowLayout,
        memory_bytes_max: int | None = None,
        records: Sequence[NDArray[Any]] = (),
        forget_after_ms: Sequence[int] = (),
    ) -> None:
        self.layout = layout
        self.memory_bytes_max = memory_bytes_max
        self.forget_after_ms = tuple(forget_after_ms)
        self.keys = SlotMap()
        self.upstreams: dict[str, int] = {}
        self.records = list(records)
        self.rules = rules_of(layout)
        self.state = empty_state(layout)
        for record in self.records:
            record.resize(len(self.state.slots), refcheck=False)
        self._cuts = np.empty((len(layout.boundaries), CUT_WIDTH + len(layout.values)), np.int64)
        self._forget_after_ms_max = max(self.forget_after_ms, default=0)
        self._swept_clock = NONE
        self._rows_since_sweep = 0
        self._captures: weakref.WeakSet[Capture] = weakref.WeakSet()

    @property
    def clock_ms(self) -> int | None:
        """The partition's clock, or None before the first event."""
        clock = int(self.state.registers[CLOCK])
        return None if clock == NONE else clock

    @property
    def entries(self) -> int:
        """Entries held, invisible ones that still lie in their blocks included."""
        return int(self.state.registers[ENTRIES])

    @property
    def bytes(self) -> int:
        """Memory held, keys and custom records included."""
        arrays = sum(array.nbytes for array in self.state)
        return arrays + sum(array.nbytes for array in self.records) + self.keys.bytes

    def upstream_indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of `seen` for these upstream partitions; new ones start below 0."""
        for name in names:
            self.upstreams.setdefault(name, len(self.upstreams))
        missing = len(self.upstreams) - len(self.state.seen)
        if missing > 0:
            self.state.seen.resize(len(self.upstreams), refcheck=False)
            self.state.seen[-missing:] = -1
        return np.array([self.upstreams[name] for name in names], np.int64)

    def slots_of(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the slot of each key; new keys get one. Sweeps first, when it is time to."""
        self._maybe_sweep()
        return self.add_keys(keys)

    def add_keys(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the slot of each key; new keys get one."""
        slots = self.keys.look_up(keys)
        self._grow_slots(self.keys.slots)
        return slots

    def fold(self, rows: Rows, results: Results, start: int, end: int) -> None:
        """Fold rows ``start..end-1`` and fill theirs of `results`.

        Raises `StateBudgetError` when memory is spent; the state then holds part of the batch
        and must be restored.
        """
        for capture in self._captures:
            capture.before(rows.slot[start:end])
        row = _fold_rows(self.state, self.rules, rows, results, self._cuts, start, end)
        while row < end:
            self.make_way()
            row = _fold_rows(self.state, self.rules, rows, results, self._cuts, row, end)
        self._rows_since_sweep += end - start

    def hand_over_to(self, capture: Capture) -> None:
        """Tell a capture of keys before they change, for as long as anybody holds it."""
        self._captures.add(capture)

    def sweep(self) -> None:
        """Give back the memory of forgotten keys; no result changes. Not within a batch.

        Nothing is swept while a capture reads the store: it changes keys that no row names.
        """
        if self._captures:
            return
        idle = np.empty(len(self.state.slots), np.int64)
        n = sweep(self.state, self.rules, self._forget_after_ms_max, idle)
        named = idle[:n][idle[:n] < self.keys.slots]
        self.keys.drop(named)
        cleared = self.state.slots[named]
        clear_slots(cleared)
        self.state.slots[named] = cleared
        self._swept_clock = self.state.registers[CLOCK]
        self._rows_since_sweep = 0

    def _maybe_sweep(self) -> None:
        """Sweep when a quarter of the horizon passed and enough rows came to pay for it."""
        clock = self.state.registers[CLOCK]
        if self._swept_clock == NONE:
            self._swept_clock = clock
        passed = max(self.layout.horizon_ms, self._forget_after_ms_max) // 4
        is_due = clock != NONE and clock - self._swept_clock >= passed
        if is_due and self._rows_since_sweep * 4 >= self.keys.slots:
            self.sweep()

    def _grow_slots(self, wanted: int) -> None:
        held = len(self.state.slots)
        if wanted <= held:
            return
        width = self.state.slots.shape[1]
        row_bytes = width * 8 + sum(record.dtype.itemsize for record in self.records)
        size = max(wanted, int(held * _GROWTH))
        if not self._has_budget((size - held) * row_bytes):
            size = wanted
        self._require_budget((size - held) * row_bytes)
        self.state.slots.resize((size, width), refcheck=False)
        clear_slots(self.state.slots[held:])
        for record in self.records:
            record.resize(size, refcheck=False)

    def make_way(self) -> None:
        """Do what a kernel waits for, so that it can go on."""
        wants = int(self.state.registers[WANTS])
        if wants == WANTS_ROWS:
            self._grow_arena(int(self.state.registers[WANTED_ROWS]))
        else:
            self.widen(NARROW[wants])

    def widen(self, name: str) -> None:
        """Add the upper halves of a column; see `stream_infer.windows.narrow`."""
        low = getattr(self.state, name)
        self._require_budget(low.nbytes)
        high = np.zeros_like(low)
        self.state = self.state._replace(**{f"{name}_high": high})
        if name == "sums":
            widen_sums(self.state)
        elif name == "positions":
            high[:] = self.state.registers[HIGH] & MASK

    def _grow_arena(self, wanted: int) -> None:
        """Make room for a block of so many rows; blocks of forgotten keys come first."""
        if self._rows_since_sweep > 0 and not self._captures:
            # Slots stay: the batch that is being folded holds them.
            idle = np.empty(len(self.state.slots), np.int64)
            sweep(self.state, self.rules, self._forget_after_ms_max, idle)
            self._rows_since_sweep = 0
            return
        held = len(self.state.times)
        needed = int(self.state.registers[BUMP]) + wanted
        size = max(needed, int(held * _GROWTH))
        if not self._has_budget((size - held) * self.row_bytes):
            size = needed
        size = (size + _ALIGN - 1) // _ALIGN * _ALIGN
        self._require_budget((size - held) * self.row_bytes)
        for name, rows in ARENA.items():
            array = getattr(self.state, name)
            if len(array):
                array.resize((size // rows, *array.shape[1:]), refcheck=False)

    @property
    def row_bytes(self) -> float:
        """Bytes of one arena row, its share of what there is for several rows included."""
        return row_bytes(self.state)

    def _has_budget(self, more: float) -> bool:
        return self.memory_bytes_max is None or self.bytes + more <= self.memory_bytes_max

    def _require_budget(self, more: float) -> None:
        if self._has_budget(more):
            return
        raise StateBudgetError(
            "state_budget",
            f"The windows of {len(self.keys):,} keys need {int(self.bytes + more):,} bytes, more "
            f"than the {self.memory_bytes_max:,} that a partition may take.",
            "Raise the memory bound, use more partitions, shorter windows or a shorter lateness.",
            keys=len(self.keys),
            entries=self.entries,
            bytes_held=self.bytes,
            bytes_max=self.memory_bytes_max,
        )
