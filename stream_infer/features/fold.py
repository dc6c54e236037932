"""One stage's fold: records in, features out, state kept.

`StageFold` owns the state of one stage for one partition. Its state is a function of
the records it was given, in their order: not of how they were cut into batches, not
of clocks, not of memory (see `stream_infer.windows.kernels` for the rules).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConflictError
from stream_infer.events.columns import EventColumns
from stream_infer.features.custom import CustomSteps, custom_rows
from stream_infer.features.plan import StagePlan
from stream_infer.features.silence import Silences, SilenceWatch
from stream_infer.windows.capture import Capture
from stream_infer.windows.hashing import hash_ids
from stream_infer.windows.snapshot import (
    Snapshot,
    head_of,
    restore_head,
    restore_piece,
    take_snapshot,
)
from stream_infer.windows.state import Results, Rows
from stream_infer.windows.store import EntryStore

_OFFSET_BITS = np.int64(48)
_SHIFT = np.uint64(33)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """What a stage says about the ``n`` rows of a batch.

    accepted      (n,) bool; False where the row's upstream record was folded before: then
                  nothing was folded and the row's other columns mean nothing
    late          (n,) bool
    duplicate_of  (n,) int64, packed position, or NO_POSITION
    features      (n, k) float64 in the stage's order; NaN where the row is no event
    silences      keys that were found silent; None where nobody watches
    """

    accepted: NDArray[np.bool_]
    late: NDArray[np.bool_]
    duplicate_of: NDArray[np.int64]
    features: NDArray[np.float64]
    silences: Silences | None = None


class StageFold:
    """The fold of one stage over one partition.

    plan              what the stage folds
    memory_bytes_max  bound on `bytes`; `fold` raises `StateBudgetError` beyond it, after
                      which the state must be restored
    """

    def __init__(self, plan: StagePlan, memory_bytes_max: int | None = None) -> None:
        self.plan = plan
        self._customs = CustomSteps(plan)
        self._watch = None if plan.silence is None else SilenceWatch(plan.silence)
        watched = [] if self._watch is None else [self._watch.records]
        forget = [] if self._watch is None else [self._watch.forget_after_ms]
        self._store = EntryStore(
            plan.layout,
            memory_bytes_max,
            [*self._customs.records, *watched],
            [*self._customs.forget_after_ms, *forget],
        )
        self._upstream_names: list[str] = []
        self._upstream_places = np.full(1, -1, np.int64)

    @property
    def clock_ms(self) -> int | None:
        """The partition's clock: its largest event time so far, or None."""
        return self._store.clock_ms

    @property
    def keys(self) -> int:
        """Keys that are held."""
        return len(self._store.keys)

    @property
    def entries(self) -> int:
        """Entries that are held."""
        return self._store.entries

    @property
    def bytes(self) -> int:
        """Memory that is held."""
        return self._store.bytes

    def fold(self, columns: EventColumns, ready: ReadyRows | None = None, start: int = 0) -> Folded:
        """Fold the rows in order and return what is said about them.

        ready  these rows among others, made ready together; None: they are made ready here
        start  where they begin among those
        """
        if ready is None:
            ready = ReadyRows(self.plan, columns)
        store, rows, results = self._store, ready.rows, ready.results
        end = start + len(columns)
        these = slice(start, end)
        rows.slot[these] = store.slots_of(columns.entities[self.plan.entity])
        if columns.upstream is not None:
            rows.upstream[these] = self._upstream(columns.upstream, columns.upstreams)
        clock_before = store.clock_ms
        store.fold(rows, results, start, end)
        if self._customs:
            self._customs.fold(ready.customs, rows, results, start, end)
        silences = None
        if self._watch is not None:
            silences = self._watch.fold(
                rows, results, clock_before, self._names, store.upstreams, start, end
            )
        return Folded(
            results.accepted[these],
            results.late[these],
            results.duplicate_of[these],
            ready.features(these),
            silences,
        )

    def tells_silence(self, clock_ms: int) -> bool:
        """Say whether a tick at that time would find a key silent that is to be told."""
        if self._watch is None or self.clock_ms is None:
            return False
        return self._watch.tells(self.clock_ms, clock_ms)

    def snapshot(self) -> Snapshot:
        """Return the state as text, whole numbers, lists and bytes; equal states, equal snapshots.

        See `stream_infer.windows.snapshot` for what it holds.
        """
        return take_snapshot(self._store) | {"features_version": self.plan.features_version}

    def capture(self) -> tuple[Snapshot, Capture]:
        """Return what is said once of the state as it is now, and its keys, still to be read.

        The keys are read piece by piece, between folds that go on meanwhile.
        """
        # The watch moves every key along with the clock, also those that no row names.
        whole = () if self._watch is None else (len(self._store.records) - 1,)
        capture = Capture(self._store, whole)
        return head_of(capture) | {"features_version": self.plan.features_version}, capture

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the state by a snapshot's.

        Raises  ConflictError when other declarations made it, StateBudgetError when it is too big
        """
        fresh = StageFold(self.plan, self._store.memory_bytes_max)
        fresh.restore_head(snapshot)
        fresh.restore_piece(snapshot)
        self._customs, self._store, self._watch = fresh._customs, fresh._store, fresh._watch
        self._upstream_names = []

    def restore_head(self, head: Mapping[str, Any]) -> None:
        """Put what is said once of a state into this empty fold; see `restore` for errors."""
        if head.get("features_version") != self.plan.features_version:
            raise ConflictError(
                "state_of_other_features",
                f"The saved state of stage {self.plan.entity!r} belongs to other features.",
                "Rebuild the state from the log.",
                found=head.get("features_version"),
                expected=self.plan.features_version,
            )
        restore_head(self._store, head)
        self._upstream_names = []

    def restore_piece(self, piece: Mapping[str, Any]) -> None:
        """Put some of a state's keys into this fold, which does not know them yet."""
        slots = restore_piece(self._store, piece)
        self._customs.link(piece["keys"], slots)

    def sweep(self) -> None:
        """Give back the memory of forgotten keys; happens by itself, and changes no result."""
        self._store.sweep()

    def _names(self, slots: NDArray[np.int64]) -> list[str]:
        """Return the keys of slots."""
        return self._store.keys.names(slots)

    def _upstream(self, upstream: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
        """Return each row's place in `seen`, (n,) int64; -1 without an upstream.

        upstream  (n,) int64, indices into `names`, or -1
        """
        if names != self._upstream_names:
            # One more, so that index -1 (a record of our own, such as a tick) finds -1.
            self._upstream_places = np.append(self._store.upstream_indices(names), -1)
            self._upstream_names = list(names)
        return self._upstream_places[upstream]


class ReadyRows:
    """``n`` rows in the form that kernels take, and room for what these say.

    What does not depend on a partition's state is done once for rows of several partitions:
    at a steady pace each has two or three, and making arrays ready takes as long for them as
    for a hundred.

    plan     what is folded
    columns  rows of some partitions, those of one behind those of another
    rows     the same; slots and upstreams are filled by the fold of each partition
    results  what the kernels say
    customs  what custom steps read and write
    """

    def __init__(self, plan: StagePlan, columns: EventColumns) -> None:
        n = len(columns)
        offsets = columns.source_offset
        # What no upstream wrote has no place among them.
        nowhere = np.full(n, -1, np.int64)
        self.rows = Rows(
            kind=_column(columns.kind, np.int8),
            time=_column(columns.event_time, np.int64),
            slot=np.empty(n, np.int64),
            ids=mix(columns.event_time) if plan.time_is_id else hash_ids(columns.ids),
            values=_values(plan, columns),
            position=_column((columns.source_partition << _OFFSET_BITS) | offsets, np.int64),
            late=_column(columns.late, np.bool_),
            duplicate_of=_column(columns.duplicate_of, np.int64),
            label=_column(columns.label, np.int8),
            label_time=_column(columns.label_time, np.int64),
            upstream=nowhere,
            upstream_offset=nowhere
            if columns.upstream_offset is None
            else _column(columns.upstream_offset, np.int64),
        )
        self.results = Results(
            accepted=np.empty(n, np.bool_),
            late=np.empty(n, np.bool_),
            duplicate_of=np.empty(n, np.int64),
            features=np.empty((n, len(plan.window_at)), np.float64),
            stepped=np.empty(n, np.int8),
            clock=np.empty(n, np.int64),
            before=np.empty(n, np.int64),
        )
        self.customs = [custom_rows(plan, custom, columns) for _, custom in plan.customs]
        self._plan = plan

    def features(self, these: slice) -> NDArray[np.float64]:
        """Return the features of some rows, (n, k) float64."""
        plan, windows = self._plan, self.results.features[these]
        if not plan.customs:
            return windows
        if len(plan.customs) == 1 and not len(plan.window_at):
            return self.customs[0].out[these]
        features = np.empty((len(windows), len(plan.names)), np.float64)
        features[:, plan.window_at] = windows
        for (at, custom), ready in zip(plan.customs, self.customs, strict=True):
            features[:, at : at + len(custom.names)] = ready.out[these]
        return features

    def folded(self) -> Folded:
        """Return what was said about all rows, but for silences."""
        said = self.results
        features = self.features(slice(0, len(said.late)))
        return Folded(said.accepted, said.late, said.duplicate_of, features)


def _values(plan: StagePlan, columns: EventColumns) -> NDArray[np.int64]:
    """Return the values that entries keep, (n, v) int64."""
    names = plan.layout.values
    values = np.empty((len(columns), len(names)), np.int64)
    for v, name in enumerate(names):
        values[:, v] = columns.values[name]
    return values


def mix(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times with their bits spread, no two alike: filters read single bits.

    Source  the finaliser of MurmurHash3, which is a bijection of 64-bit numbers
    """
    h = times.view(np.uint64)
    h = (h ^ (h >> _SHIFT)) * _MIX_1
    h = (h ^ (h >> _SHIFT)) * _MIX_2
    return (h ^ (h >> _SHIFT)).view(np.int64)


def _column(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return the array in the one form that the kernels are compiled for, copied if need be.

    Without this a strided or read-only array would make numba compile a kernel again, for
    many seconds, in the middle of a stream.
    """
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned and flags.writeable:
        return array  # `np.require` finds the same, in 4 us: noticeable for a batch of two rows.
    return np.require(array, dtype, ("C", "A", "W"))
