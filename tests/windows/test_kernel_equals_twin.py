from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import NO_POSITION
from stream_infer.features.fold import Folded, StageFold
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.windows.hashing import hash_ids
from stream_infer.windows.twins import TwinFold, TwinRow, hash_id
from support.columns import Row, columns_of
from support.logs import ENTITIES, VALUES, cuts, logs, pipeline

PLANS = {
    "customer-like": compile_plan(pipeline()).stages[0],
    "terminal-like": compile_plan(pipeline()).stages[1],
    "one stage with labels": compile_plan(pipeline(labels_by="card")).stages[0],
    "without duplicates": compile_plan(pipeline(duplicates=False)).stages[0],
    "without lateness": compile_plan(pipeline("0s")).stages[0],
    "generous lateness": compile_plan(pipeline("100ms", labels_by="card")).stages[0],
}


def assert_same(plan: StagePlan, folded: Folded, rows: list[TwinRow]) -> None:
    for i, row in enumerate(rows):
        assert folded.accepted[i] == row.accepted
        assert folded.late[i] == row.late, i
        assert folded.duplicate_of[i] == row.duplicate_of, i
        expected = np.full(len(plan.names), np.nan) if row.features is None else row.features
        np.testing.assert_array_equal(folded.features[i], expected, str((i, plan.names)))


def assert_same_state(fold: StageFold, twin: TwinFold) -> None:
    """Compare what the fold would save with what the twin knows and still can matter."""
    saved = fold.snapshot()
    horizon, plan_values = twin.layout.horizon_ms, twin.layout.values
    keys = {
        name: [e for e in key.entries if e.time > key.newest - horizon]
        for name, key in sorted(twin.keys.items())
        if key.touched + horizon >= twin.clock and key.touched > -np.inf
    }
    entries = [entry for kept in keys.values() for entry in kept]
    assert saved["keys"] == list(keys)
    assert np.frombuffer(saved["times"], np.int64).tolist() == [e.time for e in entries]
    assert np.frombuffer(saved["hashes"], np.int64).tolist() == [e.identity for e in entries]
    values = np.frombuffer(saved["values"], np.int64).reshape(len(entries), len(plan_values))
    assert values.tolist() == [list(e.values) for e in entries]
    if twin.layout.folds_labels:
        labels = [(-1 if e.label is None else e.label) + 2 * e.ghost for e in entries]
        assert np.frombuffer(saved["labels"], np.int8).tolist() == labels
        times = np.frombuffer(saved["label_times"], np.int64).tolist()
        assert times == [e.label_time for e in entries]


def run(fold: StageFold, rows: list[Row], at: list[int], *, internal: bool) -> Folded:
    """Fold the rows in batches that end at `at`."""
    parts = [
        fold.fold(columns_of(rows[a:b], ENTITIES, VALUES, a, internal=internal))
        for a, b in pairwise(at)
    ]
    return Folded(
        accepted=np.concatenate([part.accepted for part in parts]),
        late=np.concatenate([part.late for part in parts]),
        duplicate_of=np.concatenate([part.duplicate_of for part in parts]),
        features=np.concatenate([part.features for part in parts]),
    )


@pytest.mark.parametrize("name", PLANS)
@settings(deadline=None)  # the first example may compile the kernels
@given(data=st.data())
def test_kernel_and_twin_agree_bit_for_bit(name: str, data: st.DataObject) -> None:
    plan = PLANS[name]
    rows = data.draw(logs())
    fold, twin = StageFold(plan), TwinFold(plan.layout, plan.entity)
    columns = columns_of(rows, ENTITIES, VALUES, internal=not plan.first)
    assert_same(plan, fold.fold(columns), twin.fold(columns))
    assert_same_state(fold, twin)


@pytest.mark.parametrize("name", ["customer-like", "terminal-like"])
@settings(deadline=None)  # the first example may compile the kernels
@given(data=st.data())
def test_cutting_the_log_otherwise_changes_nothing(name: str, data: st.DataObject) -> None:
    plan = PLANS[name]
    rows = data.draw(logs())
    internal = not plan.first
    whole, pieces = StageFold(plan), StageFold(plan)
    expected = run(whole, rows, [0, len(rows)], internal=internal)
    at = data.draw(cuts(len(rows)))
    found = run(pieces, rows, at if len(at) > 1 else [0, 0], internal=internal)
    for column in ("accepted", "late", "duplicate_of", "features"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
    assert pieces.snapshot() == whole.snapshot()


@pytest.mark.parametrize("name", ["customer-like", "terminal-like"])
@settings(deadline=None)  # the first example may compile the kernels
@given(data=st.data())
def test_a_snapshot_and_a_sweep_at_any_row_change_nothing(name: str, data: st.DataObject) -> None:
    plan = PLANS[name]
    rows = data.draw(logs())
    internal = not plan.first
    at = data.draw(st.integers(0, len(rows)))
    whole, second = StageFold(plan), StageFold(plan)
    expected = run(whole, rows, [0, len(rows)], internal=internal)
    first = StageFold(plan)
    head = run(first, rows[:at], [0, at], internal=internal)
    first.sweep()
    second.restore(first.snapshot())
    columns = columns_of(rows[at:], ENTITIES, VALUES, at, internal=internal)
    tail = second.fold(columns)
    for column in ("accepted", "late", "duplicate_of", "features"):
        both = np.concatenate([getattr(head, column), getattr(tail, column)])
        np.testing.assert_array_equal(both, getattr(expected, column))
    assert second.snapshot() == whole.snapshot()


@settings(deadline=None)  # the first example may compile the kernels
@given(data=st.data())
def test_another_arrival_order_within_the_lateness_gives_the_same_state(
    data: st.DataObject,
) -> None:
    #  event time  1000 ...... 1090      lateness 100 ms: no order of these rows makes one late,
    #              |---- any order ----|  too old or forgotten
    plan = compile_plan(pipeline("100ms", labels_by="card")).stages[0]
    times = data.draw(st.lists(st.integers(1000, 1090), max_size=25))
    rows = [
        Row(time, f"p{i}", {"card": "ab"[i % 2], "shop": "x"}, {"amount": i * 7, "tip": -i})
        for i, time in enumerate(times)
    ]
    order = data.draw(st.permutations(range(len(rows))))
    ordered, shuffled = StageFold(plan), StageFold(plan)
    expected = run(ordered, rows, [0, len(rows)], internal=False)
    found = run(shuffled, [rows[i] for i in order], [0, len(rows)], internal=False)
    if plan.layout.duplicates:
        # A position says where in the log an event came: the one thing that order changes.
        first, second = ordered.snapshot(), shuffled.snapshot()
        del first["positions"], second["positions"]
        assert first == second
    for place, i in enumerate(order):
        # Features are equal where the visible set is: all that are before i in one order
        # and not after it in time are so in the other.
        before = {j for j in range(i) if rows[j].time <= rows[i].time}
        before_now = {j for j in order[:place] if rows[j].time <= rows[i].time}
        if before == before_now:
            np.testing.assert_array_equal(found.features[place], expected.features[i])
    assert (found.duplicate_of == NO_POSITION).all()


@settings(deadline=None)  # the first example may compile the kernels
@given(st.lists(st.text(st.characters(), max_size=12)))
def test_id_hashes_equal_the_plain_definition(ids: list[str]) -> None:
    assert hash_ids(ids).tolist() == [hash_id(text) for text in ids]
