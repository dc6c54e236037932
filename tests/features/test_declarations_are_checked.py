from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from stream_infer.errors import ConfigError
from stream_infer.features.plan import compile_plan
from stream_infer.features.spec import (
    Count,
    Custom,
    Feature,
    HourOfDay,
    Last,
    Mean,
    Night,
    Rate,
    Since,
    Std,
    Value,
    Weekend,
)
from stream_infer.pipeline import Pipeline
from support.columns import Row, columns_of
from support.logs import pipeline


def with_features(*features: Feature) -> Pipeline:
    return replace(pipeline(labels_by="card"), features=features)


def plain_step(record: object, event_time: int, values: object, out: object) -> None:
    """Never run."""


step = numba.njit()(plain_step)


RECORD = np.dtype([("n", np.int64)])

WRONG = {
    "duplicate_feature": (Value(of="amount", name="a"), Since(by="card", name="a")),
    "unknown_entity": (Count(by="crad", over=("1d",), name="n"),),
    "unknown_value": (Mean(of="amuont", by="card", over=("1d",), name="m"),),
    "value_without_decimals": (Value(of="at", name="at"),),
    "name_without_window": (Count(by="card", over=("1d", "2d"), name="n"),),
    "window_not_in_days": (Count(by="card", over=("36h",), name="n_{days}"),),
    "no_window": (Count(by="card", over=(), name="n"),),
    "bad_window": (Count(by="card", over=("0s",), name="n"),),
    "bad_duration": (Count(by="card", over=("1w",), name="n"),),
    "current_with_delay": (Count(by="card", over=("1d",), delay="1d", current=False, name="n"),),
    "rate_by_other_entity": (Rate(by="shop", over=("1d",), name="r"),),
    "no_names": (
        Custom(by="card", names=(), state=RECORD, step=step, of=(), version=1, forget_after="1d"),
    ),
    "bad_state_record": (
        Custom(
            by="card",
            names=("c",),
            state=np.dtype(np.float64),
            step=step,
            of=(),
            version=1,
            forget_after="1d",
        ),
    ),
    "step_not_compiled": (
        Custom(
            by="card",
            names=("c",),
            state=RECORD,
            step=plain_step,
            of=(),
            version=1,
            forget_after="1d",
        ),
    ),
    "unknown_feature": ("count",),
}


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_declaration_is_refused_with_its_cause_and_a_fix(code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_plan(with_features(*WRONG[code]))  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.code == code
    assert caught.value.fix


def test_a_misspelt_entity_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_plan(with_features(*WRONG["unknown_entity"]))  # type: ignore[arg-type]
    assert "'card'" in caught.value.fix


def test_a_rate_needs_labels() -> None:
    rate = Rate(by="shop", over=("1d",), name="r")
    with pytest.raises(ConfigError) as caught:
        compile_plan(replace(with_features(rate), labels=None))
    assert caught.value.code == "rate_without_labels"


def test_labels_need_a_feature_of_the_entity_that_folds_them() -> None:
    by_card = (Count(by="card", over=("1d",), name="n"),)
    with pytest.raises(ConfigError) as caught:
        compile_plan(replace(pipeline(labels_by="shop"), features=by_card))
    assert caught.value.code == "labels_without_stage"
    assert "'shop'" in caught.value.message
    by_shop = (Count(by="shop", over=("1d",), name="n"),)
    compile_plan(replace(pipeline(labels_by="shop"), features=by_shop))
    # The key has a stage with or without features.
    compile_plan(replace(pipeline(labels_by="card"), features=by_shop))


def test_labels_by_a_misspelt_entity_are_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_plan(pipeline(labels_by="shpo"))
    assert caught.value.code == "unknown_entity"
    assert "'shop'" in caught.value.fix


def test_names_stand_in_declared_order_with_windows_inside_a_declaration() -> None:
    plan = compile_plan(
        with_features(
            Count(by="shop", over=("1d", "7d"), name="shop_{days}"),
            Value(of="amount", name="amount"),
            Mean(of="tip", by="card", over=("1d", "36h"), name="tip_{window}"),
            Last(by="shop", of="tip", name="last"),
        )
    )
    assert plan.feature_names == ("shop_1", "shop_7", "amount", "tip_1d", "tip_36h", "last")
    assert [stage.entity for stage in plan.stages] == ["card", "shop"]
    assert [stage.names for stage in plan.stages] == [
        ("tip_1d", "tip_36h"),
        ("shop_1", "shop_7", "last"),
    ]


def test_the_first_stage_is_the_key_s_even_without_features() -> None:
    plan = compile_plan(with_features(Count(by="shop", over=("1d",), name="n")))
    assert [(stage.entity, stage.first, stage.names) for stage in plan.stages] == [
        ("card", True, ()),
        ("shop", False, ("n",)),
    ]


def test_the_matrix_puts_row_and_stage_features_where_they_were_declared() -> None:
    plan = compile_plan(
        with_features(
            Count(by="shop", over=("1d",), name="shop"),
            Value(of="amount", name="amount"),
            HourOfDay(name="hour", utc_offset_minutes=60),
            Weekend(name="weekend"),
            Night(name="night", until_hour=5),
            Count(by="card", over=("1d",), name="card"),
        )
    )
    # 1969-12-28 23:30 UTC, a Sunday, half an hour before Monday one hour further east.
    row = Row(-3 * 86_400_000 - 1_800_000, "x", {}, {"amount": 1234})
    columns = columns_of([row], ("card", "shop"), ("amount", "tip"))
    found = plan.matrix(columns, np.array([[5.0, 9.0]]))
    assert found.tolist() == [[9.0, 12.34, 0.0, 1.0, 0.0, 5.0]]
    assert found.flags.c_contiguous


BASE = (Count(by="card", over=("1d",), name="n"), Std(of="tip", by="card", over=("2d",), name="s"))

CHANGES: dict[str, Pipeline] = {
    "a window": with_features(replace(BASE[0], over=("2d",)), BASE[1]),
    "a delay": with_features(replace(BASE[0], delay="1d"), BASE[1]),
    "the order": with_features(BASE[1], BASE[0]),
    "a value": with_features(BASE[0], replace(BASE[1], of="amount")),
    "the lateness": replace(with_features(*BASE), lateness="7ms"),
    "duplicates": replace(with_features(*BASE), duplicates=False),
    "decimals": replace(
        with_features(*BASE), events=replace(pipeline().events, decimals={"amount": 2, "tip": 1})
    ),
    "the labels": replace(with_features(*BASE), labels=None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_fingerprint_changes_with_everything_that_changes_values(what: str) -> None:
    first, second = compile_plan(with_features(*BASE)), compile_plan(CHANGES[what])
    assert first.fingerprint != second.fingerprint
    assert first.stages[0].features_version != second.stages[0].features_version


def test_the_fingerprint_is_the_same_in_every_process_and_for_other_topics() -> None:
    plain = compile_plan(with_features(*BASE))
    elsewhere = replace(with_features(*BASE), scored="other", name="other")
    assert compile_plan(elsewhere).fingerprint == plain.fingerprint == "140711845fb92b9e"
