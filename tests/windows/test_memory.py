from __future__ import annotations

import numpy as np
import pytest

from stream_infer.errors import ConflictError, StateBudgetError
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.windows.state import BUMP, CAPACITY, HEADS, START
from stream_infer.windows.twins import TwinFold
from support.columns import Row, columns_of
from support.logs import ENTITIES, VALUES, pipeline

PLAN = compile_plan(pipeline("6ms", labels_by="card")).stages[0]
HORIZON = PLAN.horizon_ms


def log(rows: int, keys: int, per_ms: int, seed: int = 3, lag: int = 20) -> list[Row]:
    """Return rows of keys that are very differently busy, some of them behind."""
    rng = np.random.default_rng(seed)
    which = np.minimum(rng.geometric(3 / keys, rows) - 1, keys - 1)
    behind = np.where(rng.random(rows) < 0.2, rng.integers(0, lag, rows), 0)
    return [
        Row(
            10_000 + i // per_ms - int(behind[i]),
            f"p{i}",
            {"card": f"c{which[i]}", "shop": "x"},
            {"amount": int(rng.integers(0, 10**6)), "tip": int(rng.integers(0, 99))},
        )
        for i in range(rows)
    ]


def fold_in_batches(fold: StageFold, rows: list[Row], size: int = 500) -> np.ndarray:
    return np.concatenate([
        fold.fold(columns_of(rows[i : i + size], ENTITIES, VALUES, i)).features
        for i in range(0, len(rows), size)
    ])  # fmt: skip


def test_a_busy_log_that_grows_moves_and_frees_blocks_still_equals_the_twin() -> None:
    rows = log(4_000, keys=40, per_ms=20)
    fold, twin = StageFold(PLAN), TwinFold(PLAN.layout, PLAN.entity)
    features = fold_in_batches(fold, rows)
    for i, said in enumerate(twin.fold(columns_of(rows, ENTITIES, VALUES))):
        assert said.features is not None
        np.testing.assert_array_equal(features[i], said.features)


def test_every_arena_row_belongs_to_one_key_or_to_one_free_block() -> None:
    rows = log(20_000, keys=300, per_ms=20)
    fold = StageFold(PLAN)
    for first in range(0, len(rows), 1_000):
        fold.fold(columns_of(rows[first : first + 1_000], ENTITIES, VALUES, first))
        state = fold._store.state
        owned = np.zeros(int(state.registers[BUMP]), np.int64)
        for start, capacity in state.slots[:, [START, CAPACITY]].tolist():
            owned[start : start + capacity] += 1
        for head in state.registers[HEADS:].tolist():
            free = head
            while free != -1:
                following, _, size = state.hashes[free : free + 3].tolist()
                owned[free : free + size] += 1
                free = following
        assert (owned == 1).all()


def test_memory_stays_bounded_while_keys_come_and_go() -> None:
    fold, most = StageFold(PLAN), 0
    for generation in range(40):
        start = 10_000 + generation * 2 * HORIZON
        rows = [
            Row(start + i // 10, f"{generation}-{i}", {"card": f"{generation:02}-{i % 100}"})
            for i in range(1_000)
        ]
        fold.fold(columns_of(rows, ENTITIES, VALUES))
        if generation == 3:
            most = fold.bytes
    assert fold.bytes <= most
    assert fold.keys < 500


def test_forgetting_a_key_by_hand_or_never_gives_the_same_features() -> None:
    rows = log(3_000, keys=60, per_ms=2)
    swept, left = StageFold(PLAN), StageFold(PLAN)
    for i in range(0, len(rows), 100):
        columns = columns_of(rows[i : i + 100], ENTITIES, VALUES, i)
        expected = left.fold(columns).features
        swept.sweep()
        np.testing.assert_array_equal(swept.fold(columns).features, expected)
    assert swept.snapshot() == left.snapshot()


def test_state_beyond_its_budget_is_an_error_that_says_what_to_do() -> None:
    fold = StageFold(PLAN, memory_bytes_max=200_000)
    rows = [Row(10_000 + i // 500, f"p{i}", {"card": f"c{i % 50}"}) for i in range(20_000)]
    with pytest.raises(StateBudgetError) as caught:
        fold_in_batches(fold, rows)
    assert caught.value.code == "state_budget"
    assert "more partitions" in caught.value.fix
    assert caught.value.details["bytes_max"] == 200_000
    assert fold.bytes <= 200_000


def test_many_keys_count_against_the_budget_too() -> None:
    fold = StageFold(PLAN, memory_bytes_max=300_000)
    rows = [Row(10_000, f"p{i}", {"card": f"customer-{i}"}) for i in range(5_000)]
    with pytest.raises(StateBudgetError):
        fold.fold(columns_of(rows, ENTITIES, VALUES))


def test_a_budget_that_suffices_changes_nothing() -> None:
    rows = log(3_000, keys=30, per_ms=10)
    free, bound = StageFold(PLAN), StageFold(PLAN, memory_bytes_max=2_000_000)
    np.testing.assert_array_equal(fold_in_batches(bound, rows), fold_in_batches(free, rows))
    assert bound.bytes <= 2_000_000


def test_state_of_other_declarations_is_refused() -> None:
    other = compile_plan(pipeline("7ms", labels_by="card")).stages[0]
    with pytest.raises(ConflictError) as caught:
        StageFold(PLAN).restore(StageFold(other).snapshot())
    assert caught.value.code == "state_of_other_features"


def test_a_snapshot_holds_only_what_any_codec_takes() -> None:
    fold = StageFold(PLAN)
    fold_in_batches(fold, log(200, keys=5, per_ms=5))
    for value in fold.snapshot().values():
        items = value if isinstance(value, list) else [value]
        assert all(isinstance(item, str | int | bytes | dict) for item in items)


def test_a_snapshot_says_things_in_the_order_that_checkpoints_were_always_written_in() -> None:
    fold = StageFold(PLAN)
    fold_in_batches(fold, log(20, keys=3, per_ms=5))
    assert list(fold.snapshot()) == [
        *("version", "clock", "upstreams"),
        *("keys", "newest", "touched", "stepped", "lengths"),
        *("times", "hashes", "positions", "labels", "label_times", "values"),
        *("records", "features_version"),
    ]
