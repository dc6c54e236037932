"""A store's state as plain values, and back.

A snapshot is canonical: keys sorted by name, entries in their order, nothing that is
invisible or forgotten, values instead of cumulative sums. Two stores that know the same
give equal snapshots, whatever order, growth or sweeps brought them there. It holds
text, whole numbers, lists and bytes (little-endian arrays), so that any codec takes it:

    version, clock              whole numbers; the clock is None before the first event
    upstreams                   name -> highest offset
    keys                        names, sorted
    newest, touched, stepped    int64 a key
    lengths                     int64 a key: its entries, which then follow one another
    times, hashes, positions, label_times   int64 an entry
    labels                      int8 an entry
    values                      (entries, v) int64
    records                     one bytes value a custom step, a record a key
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConflictError
from stream_infer.windows.kernels import insert_all
from stream_infer.windows.state import (
    CAPACITY,
    CLOCK,
    END,
    NEWEST,
    NONE,
    START,
    STEPPED,
    TOTALS,
    TOUCHED,
    UNLABELLED,
)
from stream_infer.windows.store import EntryStore

SNAPSHOT_VERSION = 1

Snapshot = dict[str, Any]


class _Keys(NamedTuple):
    """Keys that are worth saving: their slots in the order of their names, and their clocks."""

    names: list[str]
    slots: NDArray[np.int64]
    newest: NDArray[np.int64]
    touched: NDArray[np.int64]
    stepped: NDArray[np.int64]


def take_snapshot(store: EntryStore) -> Snapshot:
    """Return the store's state; see the module for its form. Cost O(entries + keys · log keys)."""
    keys = _keys(store)
    entries, lengths = _entries(store, keys)
    state = store.state
    absent = np.zeros(0, np.int64)
    return {
        "version": SNAPSHOT_VERSION,
        "clock": store.clock_ms,
        "upstreams": _upstreams(store),
        "keys": keys.names,
        "newest": keys.newest.tobytes(),
        "touched": keys.touched.tobytes(),
        "stepped": keys.stepped.tobytes(),
        "lengths": lengths.tobytes(),
        "times": state.times[entries].tobytes(),
        "hashes": state.hashes[entries].tobytes(),
        "values": _values(store, keys, entries, lengths).tobytes(),
        "positions": (state.positions[entries] if len(state.positions) else absent).tobytes(),
        "labels": (state.labels[entries] if len(state.labels) else absent).tobytes(),
        "label_times": (state.label_times[entries] if len(state.labels) else absent).tobytes(),
        "records": [record.tobytes() for record in _records(store, keys)],
    }


def _upstreams(store: EntryStore) -> dict[str, int]:
    """Return the highest offset of each upstream that a record was accepted of."""
    seen = {name: int(store.state.seen[i]) for name, i in sorted(store.upstreams.items())}
    return {name: offset for name, offset in seen.items() if offset >= 0}


def _passed(times: NDArray[np.int64], after_ms: int, clock: np.int64) -> NDArray[np.bool_]:
    """Tell where the clock is more than `after_ms` past a time, or where there is no time."""
    gone: NDArray[np.bool_] = (times == NONE) | (times + after_ms < clock)
    return gone


def _keys(store: EntryStore) -> _Keys:
    """Return the keys that are not forgotten, sorted; what is forgotten of them reads NONE."""
    clock = store.state.registers[CLOCK]
    names = sorted(store.keys)
    slots = np.array([store.keys[name] for name in names], np.int64)
    newest, touched, stepped = (store.state.slots[slots, c] for c in (NEWEST, TOUCHED, STEPPED))
    no_entries = _passed(touched, store.layout.horizon_ms, clock)
    newest[no_entries] = touched[no_entries] = NONE
    stepped[_passed(stepped, max(store.forget_after_ms, default=0), clock)] = NONE
    if not store.records:
        stepped[:] = NONE
    kept = np.flatnonzero((touched != NONE) | (stepped != NONE))
    return _Keys(
        [names[k] for k in kept.tolist()], slots[kept], newest[kept], touched[kept], stepped[kept]
    )


def _entries(store: EntryStore, keys: _Keys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the arena rows of the visible entries, key by key, and how many each key has."""
    held = np.where(keys.touched == NONE, 0, store.state.slots[keys.slots, END])
    floors = keys.newest - store.layout.horizon_ms
    owner = np.repeat(np.arange(len(held)), held)
    first = np.cumsum(held) - held
    rows = store.state.slots[keys.slots, START][owner] + np.arange(len(owner)) - first[owner]
    if len(rows) == 0:
        return rows, np.zeros(len(held), np.int64)
    visible = store.state.times[rows] > floors[owner]
    lengths = np.bincount(owner[visible], minlength=len(held)).astype(np.int64)
    return rows[visible], lengths


def _values(
    store: EntryStore, keys: _Keys, entries: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the entries' own values, (entries, v): what lies before the next, less what before."""
    sums = store.state.sums
    if len(entries) == 0 or sums.shape[1] == 0:
        return np.zeros((len(entries), sums.shape[1]), np.int64)
    # The last arena row has no next one; it is a key's last entry then, and replaced below.
    after = sums[np.minimum(entries + 1, len(sums) - 1)]
    last = np.cumsum(lengths) - 1
    has_any = lengths > 0
    totals = store.state.slots[keys.slots, TOTALS : TOTALS + sums.shape[1]]
    after[last[has_any]] = totals[has_any]
    # Ghosts counted for nothing, so that the difference is their value too: 0.
    values: NDArray[np.int64] = after - sums[entries]
    return values


def _records(store: EntryStore, keys: _Keys) -> list[NDArray[Any]]:
    """Return the custom records of the keys, zeroed where they are forgotten."""
    clock = store.state.registers[CLOCK]
    saved = []
    for records, forget_after in zip(store.records, store.forget_after_ms, strict=True):
        rows = records[keys.slots]
        rows[_passed(keys.stepped, forget_after, clock)] = np.zeros((), records.dtype)
        saved.append(rows)
    return saved


def restore_snapshot(store: EntryStore, snapshot: Snapshot) -> None:
    """Put a snapshot into a fresh store.

    Raises  ConflictError when the form is of another version, StateBudgetError when it is too big
    """
    if snapshot["version"] != SNAPSHOT_VERSION:
        raise ConflictError(
            "state_version",
            f"The saved state has version {snapshot['version']}, this program reads "
            f"{SNAPSHOT_VERSION}.",
            "Rebuild the state from the log, or use the program that saved it.",
        )
    if snapshot["clock"] is not None:
        store.state.registers[CLOCK] = snapshot["clock"]
    names = list(snapshot["upstreams"])
    at = store.upstream_indices(names)
    store.state.seen[at] = [snapshot["upstreams"][name] for name in names]
    slots = store.add_keys(snapshot["keys"])
    for name, column in (("newest", NEWEST), ("touched", TOUCHED), ("stepped", STEPPED)):
        store.state.slots[slots, column] = _array(snapshot[name])
    for records, saved in zip(store.records, snapshot["records"], strict=True):
        records[slots] = np.frombuffer(saved, records.dtype)
    _insert(store, slots, snapshot)


def _array(saved: bytes, dtype: type[np.generic] = np.int64) -> NDArray[Any]:
    """Return saved numbers in an array of their own."""
    return np.frombuffer(saved, dtype).copy()


def _insert(store: EntryStore, slots: NDArray[np.int64], snapshot: Snapshot) -> None:
    """Insert the saved entries into their keys' blocks."""
    owner = np.repeat(slots, _array(snapshot["lengths"]))
    n = len(owner)
    has_positions, has_labels = len(snapshot["positions"]) > 0, len(snapshot["labels"]) > 0
    columns = (
        owner,
        _array(snapshot["times"]),
        _array(snapshot["hashes"]),
        _array(snapshot["values"]).reshape(n, len(store.layout.values)),
        _array(snapshot["positions"]) if has_positions else np.zeros(n, np.int64),
        _array(snapshot["labels"], np.int8) if has_labels else np.full(n, UNLABELLED, np.int8),
        _array(snapshot["label_times"]) if has_labels else np.zeros(n, np.int64),
    )
    row = insert_all(store.state, store.rules, *columns, 0)
    while row < n:
        store.grow_arena(int(store.state.slots[owner[row], CAPACITY]))
        row = insert_all(store.state, store.rules, *columns, row)
