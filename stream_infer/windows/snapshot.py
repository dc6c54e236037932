"""A store's state as plain values, and back: whole, or piece by piece.

A snapshot is canonical: keys sorted by name, entries in their order, nothing that is
invisible or forgotten, values instead of cumulative sums. Two stores that know the same
give equal snapshots, whatever order, growth or sweeps brought them there. It holds
text, whole numbers, lists and bytes (little-endian arrays), so that any codec takes it.
A head says

    version, clock              whole numbers; the clock is None before the first event
    upstreams                   name -> highest offset

and a piece says of some keys

    keys                        names
    newest, touched, stepped    int64 a key
    lengths                     int64 a key: its entries, which then follow one another
    times, hashes, positions, label_times   int64 an entry
    labels                      int8 an entry
    values                      (entries, v) int64
    records                     one bytes value a custom step, a record a key

A snapshot is a head and one piece with all keys. What is read while the stage goes on is a
head and many pieces, in the order of the keys' hashes (`stream_infer.windows.capture`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.windows.capture import Capture, Piece
from stream_infer.windows.state import (
    CLOCK,
    NEWEST,
    STEPPED,
    TOUCHED,
    UNLABELLED,
)
from stream_infer.windows.store import EntryStore
from stream_infer.windows.whole import insert_all

SNAPSHOT_VERSION = 1

Snapshot = dict[str, Any]


def take_snapshot(store: EntryStore) -> Snapshot:
    """Return the store's state; see the module for its form. Cost O(entries + keys · log keys)."""
    capture = Capture(store)
    kept = capture.kept()
    names = store.keys.names(kept)
    by_name = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    return {**head_of(capture), **capture.piece(kept[by_name])}


def head_of(capture: Capture) -> Snapshot:
    """Return what is said once of a store."""
    return {
        "version": SNAPSHOT_VERSION,
        "clock": capture.clock_ms,
        "upstreams": capture.upstreams,
    }


def restore_snapshot(store: EntryStore, snapshot: Mapping[str, Any]) -> None:
    """Put a snapshot into a fresh store.

    Raises  ConflictError when the form is of another version, StateBudgetError when it is too
            big, InvalidDataError when it contradicts itself
    """
    restore_head(store, snapshot)
    restore_piece(store, snapshot)


def restore_head(store: EntryStore, head: Mapping[str, Any]) -> None:
    """Put what is said once into a fresh store; see `restore_snapshot`."""
    if head["version"] != SNAPSHOT_VERSION:
        raise ConflictError(
            "state_version",
            f"The saved state has version {head['version']}, this program reads "
            f"{SNAPSHOT_VERSION}.",
            "Rebuild the state from the log, or use the program that saved it.",
        )
    if head["clock"] is not None:
        store.state.registers[CLOCK] = head["clock"]
    names = list(head["upstreams"])
    at = store.upstream_indices(names)
    store.state.seen[at] = [head["upstreams"][name] for name in names]


def restore_piece(store: EntryStore, piece: Piece | Mapping[str, Any]) -> NDArray[np.int64]:
    """Put the keys of a piece, which the store does not know yet, into it; return their slots."""
    _check(store, piece)
    slots = store.add_keys(piece["keys"])
    for name, column in (("newest", NEWEST), ("touched", TOUCHED), ("stepped", STEPPED)):
        store.state.slots[slots, column] = _array(piece[name])
    for records, saved in zip(store.records, piece["records"], strict=True):
        records[slots] = np.frombuffer(saved, records.dtype)
    _insert(store, slots, piece)
    return slots


def _check(store: EntryStore, piece: Mapping[str, Any]) -> None:
    """Raise unless the arrays are as long as they must be: kernels do not look."""
    keys = len(piece["keys"])
    lengths = np.frombuffer(piece["lengths"], np.int64)
    n = int(lengths.sum()) if len(lengths) else 0
    layout = store.layout
    wanted = {
        "newest": keys * 8,
        "touched": keys * 8,
        "stepped": keys * 8,
        "lengths": keys * 8,
        "times": n * 8,
        "hashes": n * 8,
        "values": n * 8 * len(layout.values),
        "positions": n * 8 if layout.duplicates else 0,
        "labels": n if layout.folds_labels else 0,
        "label_times": n * 8 if layout.folds_labels else 0,
    }
    wrong = [name for name, size in wanted.items() if len(piece[name]) != size]
    sizes = [keys * records.dtype.itemsize for records in store.records]
    if [len(saved) for saved in piece["records"]] != sizes:
        wrong.append("records")
    if wrong or (len(lengths) and int(lengths.min()) < 0):
        raise InvalidDataError(
            "state_malformed",
            f"The saved state of {keys:,} keys contradicts itself: {', '.join(wrong)}.",
            "Rebuild the state from the log.",
        )


def _array(saved: bytes, dtype: type[np.generic] = np.int64) -> NDArray[Any]:
    """Return saved numbers in an array of their own."""
    return np.frombuffer(saved, dtype).copy()


def _insert(store: EntryStore, slots: NDArray[np.int64], piece: Mapping[str, Any]) -> None:
    """Insert the saved entries into their keys' blocks."""
    owner = np.repeat(slots, _array(piece["lengths"]))
    n = len(owner)
    has_positions, has_labels = len(piece["positions"]) > 0, len(piece["labels"]) > 0
    columns = (
        owner,
        _array(piece["times"]),
        _array(piece["hashes"]),
        _array(piece["values"]).reshape(n, len(store.layout.values)),
        _array(piece["positions"]) if has_positions else np.zeros(n, np.int64),
        _array(piece["labels"], np.int8) if has_labels else np.full(n, UNLABELLED, np.int8),
        _array(piece["label_times"]) if has_labels else np.zeros(n, np.int64),
    )
    row = insert_all(store.state, store.rules, *columns, 0)
    while row < n:
        store.make_way()
        row = insert_all(store.state, store.rules, *columns, row)
