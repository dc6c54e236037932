"""State takes at most 32 bytes an entry and 200 a key, counted of the arrays that hold it."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, EventColumns
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline

DAY_MS = 86_400_000
ENTRY_BYTES, KEY_BYTES = 32, 200
STAGES = compile_plan(pipeline).stages


def log(keys: int, per_key: int, *, labels: bool) -> EventColumns:
    """Return events of keys in turn, within thirty days, and a label for every other one."""
    n = keys * per_key
    times = 20_000 * DAY_MS + np.arange(n) * (29 * DAY_MS // n)
    rng = np.random.default_rng(5)
    names = [f"customer-{number % keys:06d}" for number in range(n)]
    ids, amounts = [f"t-{number}" for number in range(n)], rng.integers(1, 50_000, n)
    known = np.arange(0, n, 2) if labels else np.zeros(0, np.int64)
    both = np.concatenate([np.arange(n), known])
    is_label = np.arange(len(both)) >= n
    entities = [names[row] for row in both.tolist()]
    return EventColumns(
        kind=np.where(is_label, LABEL, EVENT).astype(np.int8),
        event_time=times[both],
        ids=[ids[row] for row in both.tolist()],
        entities={"customer_id": entities, "terminal_id": entities},
        values={"amount": amounts[both]},
        features=np.empty((len(both), 0)),
        source_topic="transactions",
        source_partition=np.full(len(both), 7),
        source_offset=10**9 + np.arange(len(both)),
        late=np.zeros(len(both), np.bool_),
        duplicate_of=np.full(len(both), NO_POSITION, np.int64),
        label=np.where(is_label, 1, -1).astype(np.int8),
        label_time=np.where(is_label, times[both] + 7 * DAY_MS, 0),
    )


@pytest.mark.parametrize("per_key", [1, 2, 3, 5, 10, 17, 33, 50])
@pytest.mark.parametrize("stage", STAGES, ids=[stage.entity for stage in STAGES])
def test_entries_and_keys_take_no_more_than_is_promised(stage: object, per_key: int) -> None:
    plan = next(plan for plan in STAGES if plan is stage)
    columns = log(2_000, per_key, labels=plan.layout.folds_labels)
    fold, restored = StageFold(plan), StageFold(plan)
    for first in range(0, len(columns), 500):
        fold.fold(columns.slice(first, min(first + 500, len(columns))))
    restored.restore(fold.snapshot())
    for state in (fold, restored):
        assert (state.keys, state.entries) == (2_000, 2_000 * per_key)
        assert state.bytes <= ENTRY_BYTES * state.entries + KEY_BYTES * state.keys


def test_entries_that_leave_their_window_make_place_for_those_that_come() -> None:
    plan = STAGES[0]
    fold = StageFold(plan)
    rng = np.random.default_rng(1)
    columns = log(500, 100, labels=False)
    columns.event_time[:] = 20_000 * DAY_MS + np.arange(len(columns)) * (60 * DAY_MS // 50_000)
    order = rng.permutation(500)
    names = columns.entities["customer_id"]
    columns.entities = {
        "customer_id": [
            names[order[row % 500] if row % 3 else row % 40] for row in range(len(columns))
        ]
    }
    for first in range(0, len(columns), 500):
        fold.fold(columns.slice(first, first + 500))
    assert fold.bytes <= ENTRY_BYTES * fold.entries + KEY_BYTES * fold.keys
