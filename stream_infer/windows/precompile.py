"""Compiles every kernel once, so that no worker spends its first seconds on it.

    python -m stream_infer.windows.precompile

Machine code is kept beside the sources (or where NUMBA_CACHE_DIR says), for this kind of
processor and these sources; with it at hand the command takes a second.
"""

from __future__ import annotations

import numpy as np

from stream_infer.records.among import TextsAmong
from stream_infer.windows.hashing import hash_ids
from stream_infer.windows.layout import OP_WIDTH, WindowLayout
from stream_infer.windows.snapshot import restore_snapshot, take_snapshot
from stream_infer.windows.state import Results, Rows
from stream_infer.windows.store import EntryStore


def precompile() -> None:
    """Call every kernel with nothing to do; all stages share one form of each."""
    layout = WindowLayout(
        horizon_ms=1,
        lateness_ms=0,
        first=True,
        duplicates=True,
        folds_labels=False,
        boundaries=np.zeros(0, np.int64),
        ops=np.zeros((0, OP_WIDTH), np.int64),
        values=(),
        scales=np.zeros(0, np.float64),
        squares=np.zeros(0, np.int64),
    )
    store = EntryStore(layout)
    store.fold(_no_rows(), _no_results(), 0, 0)
    store.sweep()
    restore_snapshot(EntryStore(layout), take_snapshot(store))
    store.widen("sums")
    hash_ids([""])
    hash_ids(TextsAmong(b"", np.zeros(1, np.int64), np.zeros(1, np.int64)))
    known = store.add_keys(["a", "b"])
    store.keys.drop(known)
    store.keys.look_up([str(key) for key in range(200)])


def _no_rows() -> Rows:
    whole, flags, small = np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.int8)
    return Rows(
        kind=small,
        time=whole,
        slot=whole,
        ids=whole,
        values=np.zeros((0, 0), np.int64),
        position=whole,
        late=flags,
        duplicate_of=whole,
        label=small,
        label_time=whole,
        upstream=whole,
        upstream_offset=whole,
    )


def _no_results() -> Results:
    whole, flags = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return Results(
        accepted=flags,
        late=flags,
        duplicate_of=whole,
        features=np.zeros((0, 0), np.float64),
        stepped=np.zeros(0, np.int8),
        clock=whole,
        before=whole,
    )


if __name__ == "__main__":
    precompile()
