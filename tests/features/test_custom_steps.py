"""A user's numba function over a state record: amounts against a robust running mean."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import EVENT
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.spec import Count, Custom
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.windows.twins import TwinFold
from support.columns import Row, columns_of
from support.folds import assert_pieces_fold_alike
from support.logs import ENTITIES, VALUES, cuts, logs, pipeline

RECORD = np.dtype([("mean", np.float64), ("seen", np.int64), ("outliers", np.int32, (3,))])
OUTLIER_RATIO = 3.0
SHARE = 0.25


@numba.njit
def robust_mean_step(record: Any, event_time: int, values: Any, out: Any) -> None:
    """Compare the amount with a mean that outliers do not move; count outliers in turn."""
    ratio = values[0] / record["mean"] if record["seen"] > 0 and record["mean"] > 0 else 1.0
    if ratio > OUTLIER_RATIO:
        record["outliers"][event_time % 3] += 1
    else:
        record["mean"] += SHARE * (values[0] - record["mean"])
    record["seen"] += 1
    out[0] = ratio
    out[1] = record["outliers"].sum()


@numba.njit
def count_step(record: Any, event_time: int, values: Any, out: Any) -> None:
    record["n"] += 1
    out[0] = record["n"]


def stage(*, windows: bool = True, duplicates: bool = True) -> StagePlan:
    robust = Custom(
        by="card",
        names=("ratio", "outliers"),
        state=RECORD,
        step=robust_mean_step,
        of=("amount",),
        version=1,
        forget_after="1d",
    )
    counted = Custom(
        by="card",
        names=("seen",),
        state=np.dtype([("n", np.int64)]),
        step=count_step,
        of=(),
        version=1,
        forget_after="40ms",
    )
    count = (Count(by="card", over=("9ms",), name="count"),) if windows else ()
    own = replace(
        pipeline(duplicates=duplicates, labels_by="card"), features=(robust, *count, counted)
    )
    return compile_plan(own).stages[0]


def amounts(times_and_amounts: list[tuple[int, int]]) -> list[Row]:
    return [
        Row(time, f"p{i}", {"card": "a", "shop": "x"}, {"amount": amount})
        for i, (time, amount) in enumerate(times_and_amounts)
    ]


def test_a_step_reads_its_record_and_its_values_in_their_own_unit() -> None:
    rows = amounts([(1, 1000), (2, 1000), (3, 9000), (4, 1000)])
    folded = StageFold(stage()).fold(columns_of(rows, ENTITIES, VALUES))
    mean = [10 * SHARE, 10 * SHARE + (10 - 10 * SHARE) * SHARE]
    ratios = folded.features[:, 0]
    assert ratios[0] == 1.0
    assert ratios[1] == 10 / mean[0]
    assert folded.features[:, 1].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert folded.features[:, 2].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_duplicate_is_evaluated_on_a_copy_of_the_record() -> None:
    rows = amounts([(1, 1000), (2, 1000)])
    again = [rows[0], rows[1], rows[1], replace(rows[1], id="other", time=3)]
    folded = StageFold(stage()).fold(columns_of(again, ENTITIES, VALUES))
    assert folded.features[:, 3].tolist() == [1.0, 2.0, 3.0, 3.0]


def test_a_record_starts_anew_when_its_time_to_forget_has_passed() -> None:
    other = {"card": "b", "shop": "x"}
    rows = [
        *amounts([(1000, 100), (1001, 100)]),
        Row(1041, "q1", other),  # the clock is 40 ms past the newest event: not more
        Row(1001, "q2", {"card": "a", "shop": "x"}),
        Row(1042, "q3", other),
        Row(1042, "q4", {"card": "a", "shop": "x"}),
    ]
    folded = StageFold(stage()).fold(columns_of(rows, ENTITIES, VALUES))
    assert folded.features[:, 3].tolist() == [1.0, 2.0, 1.0, 3.0, 2.0, 1.0]


def test_a_stage_of_steps_alone_works_without_windows() -> None:
    fold = StageFold(stage(windows=False, duplicates=False))
    folded = fold.fold(columns_of(amounts([(1, 1000), (2, 9000)]), ENTITIES, VALUES))
    assert folded.features[:, 2].tolist() == [1.0, 2.0]
    assert fold.entries == 0


def twin_of_count(rows: list[Row], kept: list[bool]) -> list[float]:
    """Return what `count_step` must say, in plain Python."""
    clock, said = -math.inf, []
    records: dict[str, tuple[int, float]] = {}
    for row, is_kept in zip(rows, kept, strict=True):
        if row.kind != EVENT:
            clock = max(clock, row.time) if row.id == "" else clock
            said.append(math.nan)
            continue
        clock = max(clock, row.time)
        n, newest = records.get(row.keys["card"], (0, -math.inf))
        if newest + 40 < clock:
            n = 0
        said.append(n + 1.0)
        if is_kept:
            records[row.keys["card"]] = (n + 1, max(newest, row.time))
    return said


@settings(deadline=None)
@given(data=st.data())
def test_steps_do_not_depend_on_batches_snapshots_or_sweeps(data: st.DataObject) -> None:
    plan = stage()
    rows = data.draw(logs())
    pieces = pairwise(data.draw(cuts(len(rows))))
    columns = columns_of(rows, ENTITIES, VALUES)
    expected = assert_pieces_fold_alike(plan, columns, pieces)
    twin = TwinFold(plan.layout, plan.entity).fold(columns)
    said = twin_of_count(rows, [row.kept for row in twin])
    np.testing.assert_array_equal(expected[:, 3], said)


def test_raising_a_step_s_version_changes_the_fingerprint() -> None:
    first = stage()
    steps = [replace(custom, version=2) for _, custom in first.customs]
    second = compile_plan(replace(pipeline(labels_by="card"), features=tuple(steps))).stages[0]
    same = compile_plan(
        replace(pipeline(labels_by="card"), features=tuple(custom for _, custom in first.customs))
    ).stages[0]
    assert second.features_version != same.features_version


def test_a_step_s_fingerprint_does_not_depend_on_the_name_of_its_file(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "custom_step.py"
    renamed = tmp_path / "habits.py"
    renamed.write_text(example.read_text())
    plans = [compile_plan(load_pipeline(str(path))) for path in (example, renamed)]
    assert plans[0].pipeline.features[-1].step.__module__ != (  # type: ignore[union-attr]
        plans[1].pipeline.features[-1].step.__module__  # type: ignore[union-attr]
    )
    assert plans[0].fingerprint == plans[1].fingerprint
