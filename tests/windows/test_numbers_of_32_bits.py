"""Entries hold 32 bits of most numbers, and what they say is told from 64 all the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.features.fold import StageFold
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.spec import Count, Last, Max, Mean, Rate, Since, Std, Sum
from stream_infer.windows.twins import TwinFold
from support.columns import Row, columns_of, label_row
from support.logs import ENTITIES, VALUES, pipeline

DAY_MS = 86_400_000
HALF = 2**32


def plan_of(*windows: str, duplicates: bool = True) -> StagePlan:
    features = (
        Count(by="card", over=windows, name="count_{window}"),
        Sum(of="amount", by="card", over=windows, name="sum_{window}"),
        Mean(of="tip", by="card", over=windows, name="mean_{window}"),
        Std(of="amount", by="card", over=windows, name="std_{window}"),
        Max(of="tip", by="card", over=windows, name="max_{window}"),
        Last(of="amount", by="card", name="last", within=windows[-1]),
        Since(by="card", name="since", within=windows[-1]),
        Rate(by="card", over=windows, name="rate_{window}"),
        Rate(by="card", over=windows, denominator="labelled", name="known_{window}"),
    )
    declared = pipeline(labels_by="card", duplicates=duplicates)
    return compile_plan(dataclasses.replace(declared, features=features, lateness="1d")).stages[0]


PLANS = {
    "days": plan_of("1d", "30d"),
    "longer than 32 bits of ms": plan_of("1d", "60d"),
    "without duplicates": plan_of("1d", "30d", duplicates=False),
}

_steps = st.sampled_from([0, 0, 0, 1, 1, 1_000, DAY_MS, 19 * DAY_MS, 33 * DAY_MS, HALF - 1, HALF])
_lags = st.sampled_from([0, 0, 0, 0, 1, DAY_MS, 25 * DAY_MS, 55 * DAY_MS])
_values = st.sampled_from([0, 1, 7, 500, 2**31, HALF - 1, HALF - 2])
_rarely = st.sampled_from([0, 1, 7, 500, 2**31, HALF - 1, HALF, 2**40, -1, -500])
_known = st.sampled_from([0, 1, 7 * DAY_MS, 48 * DAY_MS, 51 * DAY_MS, -3, -DAY_MS, 2**50])


@st.composite
def wide_logs(draw: st.DrawFn) -> list[Row]:
    """Return a log of few keys, whose numbers are near to what 32 bits tell and beyond it."""
    values = draw(st.sampled_from([_values, _values, _rarely]))
    rows: list[Row] = []
    now = 20_000 * DAY_MS
    for i in range(draw(st.integers(0, 40))):
        now += draw(_steps)
        time = now - draw(_lags)
        keys = {"card": draw(st.sampled_from("ab"))}
        if draw(st.integers(0, 3)) == 0:
            # A label that waits for its event may speak of any time.
            time += draw(st.sampled_from([0, 0, 0, HALF, 2**45]))
            identity = f"p{draw(st.integers(0, 40))}"
            known = time + draw(_known)
            row = label_row(time, identity, keys, draw(st.integers(0, 1)), known)
            of = draw(st.one_of(st.none(), st.sampled_from(rows))) if rows else None
            if of is not None:
                known = of.time + draw(_known)
                row = label_row(of.time, of.id, of.keys, row.label, known)
            rows.append(row)
        else:
            rows.append(Row(time, f"p{i}", keys, {"amount": draw(values), "tip": draw(values)}))
    return rows


def entries_of(twin: TwinFold) -> list[tuple[int, ...]]:
    horizon = twin.layout.horizon_ms
    return [
        (e.time, e.identity, *e.values, -1 if e.label is None else e.label + 2 * e.ghost)
        + (e.label_time,)
        + ((e.position,) if twin.layout.duplicates else ())
        for _, key in sorted(twin.keys.items())
        if key.touched + horizon >= twin.clock and key.touched > -np.inf
        for e in key.entries
        if e.time > key.newest - horizon
    ]


def saved_entries(fold: StageFold) -> list[tuple[int, ...]]:
    saved = fold.snapshot()
    names = ("times", "hashes", "label_times", "positions")
    times, hashes, known, positions = (np.frombuffer(saved[name], np.int64) for name in names)
    values = np.frombuffer(saved["values"], np.int64).reshape(
        len(times), len(fold.plan.layout.values)
    )
    labels = np.frombuffer(saved["labels"], np.int8)
    columns = [times, hashes, *values.T, labels, known]
    columns += [positions] if len(positions) else []
    return [tuple(int(x) for x in row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", PLANS)
@settings(deadline=None)  # the first example may compile the kernels
@given(data=st.data())
def test_numbers_beyond_32_bits_change_nothing_of_what_is_said(
    name: str, data: st.DataObject
) -> None:
    plan = PLANS[name]
    rows = data.draw(wide_logs())
    first = data.draw(st.sampled_from([0, HALF - 20, 2**40]))
    fold, twin = StageFold(plan), TwinFold(plan.layout, plan.entity)
    columns = columns_of(rows, ENTITIES, VALUES, first)
    said = fold.fold(columns)
    for i, row in enumerate(twin.fold(columns)):
        assert said.late[i] == row.late
        assert said.duplicate_of[i] == row.duplicate_of
        if row.features is not None:
            np.testing.assert_array_equal(said.features[i], row.features, str((i, plan.names)))
    assert saved_entries(fold) == entries_of(twin)
    again = StageFold(plan)
    again.restore(fold.snapshot())
    assert again.snapshot() == fold.snapshot()
    more = columns_of([*rows[:10], Row(20_001 * DAY_MS, "z", {"card": "a"})], ENTITIES, VALUES, 99)
    np.testing.assert_array_equal(again.fold(more).features, fold.fold(more).features)
    assert again.snapshot() == fold.snapshot()


def columns_held(fold: StageFold) -> set[str]:
    state = fold._store.state._asdict()
    return {name for name, column in state.items() if name.endswith("_high") and len(column)}


@pytest.mark.parametrize(
    ("rows", "first", "column"),
    [
        pytest.param([Row(1, "p", {"card": "a"}, {"amount": 1})], 0, None, id="small"),
        pytest.param([Row(1, "p", {"card": "a"}, {"amount": HALF})], 0, "sums", id="large value"),
        pytest.param([Row(1, "p", {"card": "a"}, {"tip": -1})], 0, "sums", id="negative value"),
        pytest.param(
            [Row(i, f"p{i}", {"card": "a"}, {"amount": 2**30}) for i in range(1, 6)],
            0,
            "sums",
            id="large sum",
        ),
        pytest.param(
            [Row(i, f"p{i}", {"card": "a"}) for i in range(1, 3)],
            HALF - 1,
            "positions",
            id="offsets that pass 2**32",
        ),
        pytest.param(
            [Row(1, "p", {"card": "a"}), label_row(1, "p", {"card": "a"}, 1, HALF + 1)],
            0,
            "label_times",
            id="label long after its event",
        ),
        pytest.param(
            [Row(1, "p", {"card": "a"}), label_row(HALF * 2, "q", {"card": "a"}, 1, HALF * 2)],
            0,
            "times",
            id="label of an event to come",
        ),
    ],
)
def test_upper_halves_are_held_from_the_first_number_that_needs_them(
    rows: list[Row], first: int, column: str | None
) -> None:
    fold = StageFold(PLANS["days"])
    fold.fold(columns_of(rows, ENTITIES, VALUES, first))
    assert columns_held(fold) == (set() if column is None else {f"{column}_high"})


def test_a_very_late_event_and_a_long_life_need_no_upper_halves_of_times() -> None:
    fold = StageFold(PLANS["days"])
    busy = [Row(day * DAY_MS, f"p{day}", {"card": "a"}) for day in range(1, 400)]
    late = [Row(1, "late", {"card": card}) for card in ("a", "b")]
    fold.fold(columns_of([*busy, *late], ENTITIES, VALUES))
    assert columns_held(fold) == set()


def test_keys_that_pause_for_a_month_again_and_again_need_no_upper_halves() -> None:
    #  seen    day 0   29   58   87 ...   each within the horizon of the one before
    fold = StageFold(PLANS["days"])
    rows = [
        Row(29 * i * DAY_MS + n, f"p{i}-{n}", {"card": "a"}) for i in range(1, 40) for n in range(5)
    ]
    fold.fold(columns_of(rows, ENTITIES, VALUES))
    assert columns_held(fold) == set()
