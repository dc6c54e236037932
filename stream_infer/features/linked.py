"""Custom steps that read the records of linked keys: a sensor's neighbours on its road.

The keys' links are those of `KnownKeys`; which row of the records a linked key has is
learnt from the rows of the log as they come, since slots are given out and back by the
store. A linked record counts as nothing when its key is forgotten by the step's own
rule, judged at the row that reads it: so what a step sees depends on the log alone,
not on when memory was given back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import one_form
from stream_infer.events.known_keys import UNKNOWN, KnownKeys
from stream_infer.features.spec import Custom
from stream_infer.windows.compiled import host, part
from stream_infer.windows.state import NONE, Results, Rows

_FOLD = 1
_GROWTH = 2


class Places(NamedTuple):
    """Where the known keys' records lie, and what may be read of them.

    slot_of   (known,) int64, slot of each known key, -1 before it was seen
    key_of    (slots,) int64, which known key has the slot: a slot may be given to another
    links     (known, k) int64
    facts     (known + 1,) structured; the last row is zeros, for a key that is unknown
    """

    slot_of: NDArray[np.int64]
    key_of: NDArray[np.int64]
    links: NDArray[np.int64]
    facts: NDArray[Any]


class CustomRows(NamedTuple):
    """What one custom step reads and writes of ``n`` rows of some partitions.

    values  (n, len(of)) float64, NaN where one is absent
    keys    (n,) int64, index of each row's key among the known ones; None for a step that reads
            no linked keys
    out     (n, len(names)) float64, its features; NaN where the row is no event
    """

    values: NDArray[np.float64]
    keys: NDArray[np.int64] | None
    out: NDArray[np.float64]


class Links:
    """Which slots the linked keys of one stage and partition have."""

    def __init__(self, known: KnownKeys) -> None:
        self._known = known
        self.places = Places(
            slot_of=np.full(len(known), -1, np.int64),
            key_of=np.full(64, UNKNOWN, np.int64),
            links=np.ascontiguousarray(known.links, np.int64),
            facts=np.concatenate([known.facts, np.zeros(1, known.facts.dtype)]),
        )
        self._linked = np.empty(self.places.links.shape[1], np.int64)

    def place(self, names: Sequence[str], slots: NDArray[np.int64]) -> None:
        """Note which slots these keys have."""
        self._make_room(int(slots.max(initial=-1)) + 1)
        keys = self._known.indices(names)
        self.places.key_of[slots] = keys
        known = keys != UNKNOWN
        self.places.slot_of[keys[known]] = slots[known]

    def _make_room(self, slots: int) -> None:
        held = self.places.key_of
        if slots > len(held):
            grown = np.full(max(slots, _GROWTH * len(held)), UNKNOWN, np.int64)
            grown[: len(held)] = held
            self.places = self.places._replace(key_of=grown)

    def run(
        self,
        custom: Custom,
        records: NDArray[Any],
        scratch: NDArray[Any],
        rows: Rows,
        results: Results,
        ready: CustomRows,
        forget_after: int,
        start: int,
        end: int,
    ) -> None:
        """Run a linked step over rows ``start..end-1``, noting which slots their keys have."""
        self._make_room(len(records))
        _runner(custom.step, custom.state, self.places.facts.dtype)(
            records,
            scratch,
            self.places,
            rows.slot,
            ready.keys,
            rows.time,
            ready.values,
            results.stepped,
            results.clock,
            results.before,
            forget_after,
            self._linked,
            ready.out,
            start,
            end,
        )


@part
def _note_slots(places: Any, slots: Any, keys: Any, start: Any, end: Any) -> None:
    """Note which slots the keys of some rows have."""
    for i in range(start, end):
        places.key_of[slots[i]] = keys[i]
        if keys[i] >= 0:
            places.slot_of[keys[i]] = slots[i]


@lru_cache(maxsize=64)
def _runner(
    step: Callable[..., None], _state: np.dtype[Any], _facts: np.dtype[Any]
) -> Callable[..., None]:
    """Return a kernel that runs one linked step over a batch.

    Compiled once per process, step and form of its records; `scratch` is a record to try on, and
    one that is zero.
    """

    def run(
        records: np.ndarray,
        scratch: np.ndarray,
        places: Places,
        slots: NDArray[np.int64],
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        stepped: NDArray[np.int8],
        clock: NDArray[np.int64],
        before: NDArray[np.int64],
        forget_after: int,
        linked: NDArray[np.int64],
        out: NDArray[np.float64],
        start: int,
        end: int,
    ) -> None:
        _note_slots(places, slots, keys, start, end)
        for i in range(start, end):
            if stepped[i] == 0:
                continue
            s, key = slots[i], keys[i]
            for j in range(linked.shape[0]):
                linked[j] = -1
                other = places.links[key, j] if key >= 0 else -1
                at = places.slot_of[other] if other >= 0 else -1
                if at >= 0 and places.key_of[at] == other:
                    newest = records[at]["stepped"]
                    if newest > 0 and newest + NONE + forget_after >= clock[i]:
                        linked[j] = at
            if before[i] == NONE or before[i] + forget_after < clock[i]:
                records[s] = scratch[1]
            if stepped[i] == _FOLD:
                step(records[s], records, linked, places.facts[key], times[i], values[i], out[i])
                # From NONE on, so that 0 is before every time: a zeroed record holds nothing.
                records[s]["stepped"] = max(records[s]["stepped"], times[i] - NONE)
            else:
                scratch[0] = records[s]
                step(scratch[0], records, linked, places.facts[key], times[i], values[i], out[i])

    return one_form(host(run))
