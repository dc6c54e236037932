"""A store's state at one moment, read piece by piece while folds go on.

Copying the arrays of a large partition at once would stop its stage (1.2 s for 480 MB of fresh
memory on the machine of docs/decisions/0018). So nothing is copied when a capture begins: it
notes the clock and how many slots there are, and from then on every fold first hands over the
keys it is about to change (`Capture.before`). Whoever drives the capture takes a piece at a time
between two folds, from the copy where there is one, else from the store.

Two things wait until a capture ends: sweeps, which change keys that no row names, and with them
the reuse of slots. A capture that nobody holds any more is over.

Pieces come in the order of the keys' hashes, cut by how many keys there are. So stores that know
the same give equal pieces, whatever order, growth or sweeps brought them there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.windows.state import CLOCK, END, NEWEST, NONE, STEPPED, TOUCHED
from stream_infer.windows.whole import entry_columns, read_all

if TYPE_CHECKING:
    from stream_infer.windows.store import EntryStore

Piece = dict[str, Any]

GROUP_KEYS = 512
"""About so many keys make a piece: 5,000 entries take half a millisecond to read."""
SLICE_KEYS = 8_192
"""So many names are hashed at a time, which takes about as long."""


class _Keys(NamedTuple):
    """Keys as the snapshot says them: clocks that are forgotten read NONE. (n,) int64 each.

    rows    (n, width) int64, their rows of `slots`
    copied  (n,) int64, their place among the copies, -1 where they are read from the store
    """

    rows: NDArray[np.int64]
    copied: NDArray[np.int64]
    newest: NDArray[np.int64]
    touched: NDArray[np.int64]
    stepped: NDArray[np.int64]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether anything of a key is remembered."""
        known: NDArray[np.bool_] = (self.touched != NONE) | (self.stepped != NONE)
        return known

    def take(self, at: NDArray[np.int64]) -> _Keys:
        """Return some of the keys."""
        return _Keys(*(column[at] for column in self))


class _Growing:
    """Rows that are appended; memory is remapped as it grows, not copied."""

    def __init__(self, like: NDArray[Any]) -> None:
        self._held = np.empty((0, *like.shape[1:]), like.dtype)
        self.used = 0

    def append(self, rows: NDArray[Any]) -> None:
        used = self.used + len(rows)
        if used > len(self._held):
            self._held.resize((used + used // 2, *self._held.shape[1:]), refcheck=False)
        self._held[self.used : used] = rows
        self.used = used

    def take(self, at: NDArray[np.int64]) -> NDArray[Any]:
        found: NDArray[Any] = self._held[at]
        return found


class _Copies:
    """Keys as they were before a fold changed them, their entries and records beside them."""

    def __init__(self, store: EntryStore, slots: int) -> None:
        # One more than the place, so that untouched memory means "none" and costs nothing.
        self._place = np.zeros(slots, np.int32)
        self._starts = _Growing(np.empty(0, np.int64))
        self._rows = _Growing(store.state.slots)
        self._columns = [_Growing(column) for column in entry_columns(store.layout, 0)]
        self._records = [_Growing(records) for records in store.records]

    def add(self, store: EntryStore, slots: NDArray[np.int64]) -> None:
        rows = store.state.slots[slots]
        first = np.cumsum(rows[:, END]) - rows[:, END]
        columns = entry_columns(store.layout, int(rows[:, END].sum()))
        read_all(store.state, slots, first, *columns)
        self._place[slots] = np.arange(self._rows.used, self._rows.used + len(slots)) + 1
        self._starts.append(first + self._columns[0].used)
        self._rows.append(rows)
        for at, copies in enumerate(self._columns):
            copies.append(columns[at])
        for records, copied in zip(store.records, self._records, strict=True):
            copied.append(records[slots])

    def places(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each slot's copy, -1 where it has none."""
        return self._place[slots].astype(np.int64) - 1

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._rows.take(places)

    def starts(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._starts.take(places)

    def columns(self, at: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return rows of each column; none of those that the stage lacks."""
        return [copies.take(at if copies.used else at[:0]) for copies in self._columns]

    def records(self, step: int, places: NDArray[np.int64]) -> NDArray[Any]:
        return self._records[step].take(places)


def spans(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers start, start + 1, ... of each span, and where each span begins in them."""
    first = np.cumsum(lengths) - lengths
    at = np.repeat(starts - first, lengths) + np.arange(int(lengths.sum()))
    return at, first


class Capture:
    """A store's state at the moment of its making; see the module.

    store  what is captured; it is asked to call `before` while this lives
    whole  which of the store's records are written for keys that no row names; these are copied
           at once
    """

    def __init__(self, store: EntryStore, whole: Collection[int] = ()) -> None:
        self._store = store
        self._clock = np.int64(store.state.registers[CLOCK])
        self.clock_ms = store.clock_ms
        self.upstreams = _upstreams(store)
        self._slots = store.keys.slots
        self._done = np.zeros(self._slots, np.bool_)
        self._copies = _Copies(store, self._slots)
        self._whole = {step: store.records[step].copy() for step in whole}
        store.hand_over_to(self)

    def before(self, slots: NDArray[np.int64]) -> None:
        """Copy the keys of these slots that were not read yet: a fold is about to change them."""
        known = slots[slots < self._slots]
        wanted = np.unique(known[~self._done[known]])
        if len(wanted):
            self._copies.add(self._store, wanted)
            self._done[wanted] = True

    def pieces(self) -> Iterator[Piece | None]:
        """Yield the state piece by piece; None for a slice of work that brings none.

        Each step takes about a millisecond (a key with a million entries: 0.1 s), and belongs
        between two folds. See `stream_infer.windows.snapshot` for what a piece holds.
        """
        slots, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for start in range(0, self._slots, SLICE_KEYS):
            kept = self._kept(start, min(start + SLICE_KEYS, self._slots))
            slots.append(kept)
            hashes.append(self._store.keys.hashes(kept).view(np.uint64))
            yield None
        yield from self._groups(np.concatenate(slots), np.concatenate(hashes))
        self._done[:] = True

    def piece(self, slots: NDArray[np.int64]) -> Piece:
        """Return the keys of these slots, which all are kept, in the order given."""
        keys = self._keys(slots)
        columns, lengths = self._entries(slots, keys)
        records = [self._records(step, slots, keys) for step in range(len(self._store.records))]
        self._done[slots] = True
        return {
            "keys": self._names(slots),
            "newest": keys.newest.tobytes(),
            "touched": keys.touched.tobytes(),
            "stepped": keys.stepped.tobytes(),
            "lengths": lengths.tobytes(),
            **{name: column.tobytes() for name, column in columns.items()},
            "records": [rows.tobytes() for rows in records],
        }

    def kept(self) -> NDArray[np.int64]:
        """Return the slots of all keys that are not forgotten."""
        return self._kept(0, self._slots)

    # What follows reads a copy where there is one, else the store.

    def _names(self, slots: NDArray[np.int64]) -> list[str]:
        return self._store.keys.names(slots)

    def _kept(self, start: int, end: int) -> NDArray[np.int64]:
        slots = np.arange(start, end)
        return slots[self._keys(slots).kept]

    def _groups(
        self, slots: NDArray[np.int64], hashes: NDArray[np.uint64]
    ) -> Iterator[Piece | None]:
        """Yield a piece for each group of keys whose hashes begin alike."""
        bits = max(0, (len(slots) // GROUP_KEYS).bit_length() - 1)
        # A narrow number is sorted by counting: 1,000,000 in a few milliseconds.
        group = (hashes >> np.uint64(64 - bits) if bits else hashes * np.uint64(0)).astype(
            np.uint16 if bits <= 16 else np.uint32
        )
        yield None
        order = np.argsort(group, kind="stable")
        yield None
        bounds = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=1 << bits))])
        yield None
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if end > start:
                members = order[start:end]
                yield self.piece(self._sorted(slots[members], hashes[members]))

    def _sorted(self, slots: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return slots by hash, and those of equal hashes by name."""
        order = np.argsort(hashes, kind="stable")
        ordered, sorted_hashes = slots[order], hashes[order]
        if (sorted_hashes[1:] == sorted_hashes[:-1]).any():
            pairs = zip(sorted_hashes.tolist(), self._names(ordered), ordered.tolist(), strict=True)
            return np.array([slot for _, _, slot in sorted(pairs)], np.int64)
        return ordered

    def _keys(self, slots: NDArray[np.int64]) -> _Keys:
        store, clock = self._store, self._clock
        copied = self._copies.places(slots)
        rows = store.state.slots[slots]
        if (copied >= 0).any():
            rows[copied >= 0] = self._copies.rows(copied[copied >= 0])
        newest, touched, stepped = (rows[:, column].copy() for column in (NEWEST, TOUCHED, STEPPED))
        no_entries = _passed(touched, store.layout.horizon_ms, clock)
        newest[no_entries] = touched[no_entries] = NONE
        stepped[_passed(stepped, max(store.forget_after_ms, default=0), clock)] = NONE
        if not store.records:
            stepped[:] = NONE
        return _Keys(rows, copied, newest, touched, stepped)

    def _entries(
        self, slots: NDArray[np.int64], keys: _Keys
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """Return the columns of the visible entries, key by key, and how many each key has."""
        held = np.where(keys.touched == NONE, 0, keys.rows[:, END])
        firsts = np.cumsum(held) - held
        found = entry_columns(self._store.layout, int(held.sum()))
        live = (keys.copied < 0) & (held > 0)
        read_all(self._store.state, slots[live], firsts[live], *found)
        copied = keys.copied >= 0
        if copied.any():
            starts = self._copies.starts(keys.copied[copied])
            source, _ = spans(starts, held[copied])
            target, _ = spans(firsts[copied], held[copied])
            for at, rows in enumerate(self._copies.columns(source)):
                if len(rows):
                    found[at][target] = rows
        owner = np.repeat(np.arange(len(held)), held)
        visible = found.times > (keys.newest - self._store.layout.horizon_ms)[owner]
        lengths = np.bincount(owner[visible], minlength=len(held)).astype(np.int64)
        columns = {
            name: column[visible] if len(column) and not visible.all() else column
            for name, column in found._asdict().items()
        }
        # Last, as ever: a checkpoint's bytes follow the order.
        columns["values"] = columns.pop("values")
        return columns, lengths

    def _records(self, step: int, slots: NDArray[np.int64], keys: _Keys) -> NDArray[Any]:
        """Return a custom step's records of the keys, zeroed where they are forgotten."""
        if step in self._whole:
            rows = self._whole[step][slots]
        else:
            rows = self._store.records[step][slots]
            is_copied = keys.copied >= 0
            if is_copied.any():
                rows[is_copied] = self._copies.records(step, keys.copied[is_copied])
        forgotten = _passed(keys.stepped, self._store.forget_after_ms[step], self._clock)
        rows[forgotten] = np.zeros((), rows.dtype)
        return rows


def _upstreams(store: EntryStore) -> dict[str, int]:
    """Return the highest offset of each upstream that a record was accepted of."""
    seen = {name: int(store.state.seen[i]) for name, i in sorted(store.upstreams.items())}
    return {name: offset for name, offset in seen.items() if offset >= 0}


def _passed(times: NDArray[np.int64], after_ms: int, clock: np.int64) -> NDArray[np.bool_]:
    """Tell where the clock is more than `after_ms` past a time, or where there is no time."""
    gone: NDArray[np.bool_] = (times == NONE) | (times + after_ms < clock)
    return gone
