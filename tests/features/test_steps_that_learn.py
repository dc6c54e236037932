"""Custom steps that learn from labels, and that read features of an earlier stage."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.errors import ConfigError
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.features.spec import Count, Custom
from stream_infer.features.table import compute_features
from stream_infer.pipeline import Pipeline
from support.columns import Row, columns_of, label_row
from support.folds import assert_pieces_fold_alike
from support.logs import ENTITIES, VALUES, cuts, logs, pipeline

HELD = 4
RECORD = np.dtype([("n", np.int64), ("ids", np.int64, (HELD,)), ("bad", np.int64)])


@numba.njit
def held_step(record: Any, identity: int, event_time: int, values: Any, out: Any) -> None:
    """Say what the earlier stage counted, and how many of the last payments are known as bad."""
    out[0] = values[0]
    out[1] = record["bad"]
    record["ids"][record["n"] % HELD] = identity
    record["n"] += 1


@numba.njit
def learn_bad(record: Any, identity: int, event_time: int, label: int, label_time: int) -> None:
    for i in range(min(record["n"], HELD)):
        if record["ids"][i] == identity:
            record["bad"] += label


def learning(**changed: Any) -> Custom:
    declared: dict[str, Any] = {
        "by": "shop",
        "names": ("counted", "bad"),
        "state": RECORD,
        "step": held_step,
        "learn": learn_bad,
        "of": ("card_9ms",),
        "version": 1,
        "forget_after": "40ms",
    }
    return Custom(**(declared | changed))


def both_stages(custom: Custom | None = None) -> Pipeline:
    count = Count(by="card", over=("9ms",), name="card_{window}")
    return replace(pipeline(), features=(count, custom or learning()))


def payment(time: int, identity: str, card: str = "a") -> Row:
    return Row(time, identity, {"card": card, "shop": "x"}, {"amount": 100, "tip": 0})


def test_a_step_finds_the_payment_that_a_label_is_about() -> None:
    rows = [
        payment(1, "p1"),
        payment(2, "p2"),
        label_row(2, "p2", {"card": "a", "shop": "x"}, 1, 3),
        label_row(1, "p1", {"card": "a", "shop": "x"}, 0, 3),
        label_row(9, "never seen", {"card": "a", "shop": "x"}, 1, 3),
        payment(4, "p3"),
    ]
    stage = compile_plan(both_stages(learning(of=("amount",)))).stages[1]
    said = StageFold(stage).fold(columns_of(rows, ENTITIES, VALUES)).features
    assert said[[0, 1, 5], 1].tolist() == [0.0, 0.0, 1.0]
    assert said[5, 0] == 1.0
    assert np.isnan(said[2:5]).all()


def test_a_step_reads_what_the_stage_before_it_said() -> None:
    rows = [payment(1, "p1"), payment(2, "p2", "b"), payment(3, "p3"), payment(4, "p4")]
    matrix = compute_features(both_stages(), columns_of(rows, ENTITIES, VALUES))
    assert matrix[:, 1].tolist() == matrix[:, 0].tolist() == [1.0, 1.0, 2.0, 3.0]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_is_learnt_does_not_depend_on_batches_snapshots_or_sweeps(
    data: st.DataObject,
) -> None:
    plan = compile_plan(both_stages(learning(of=("amount",)))).stages[1]
    rows = data.draw(logs())
    pieces = pairwise(data.draw(cuts(len(rows))))
    columns = columns_of(rows, ENTITIES, VALUES)
    assert_pieces_fold_alike(plan, columns, pieces)


def test_a_stage_is_another_when_the_feature_that_its_step_reads_is() -> None:
    longer = Count(by="card", over=("9ms",), name="card_{window}", current=False)
    other = replace(both_stages(), features=(longer, learning()))
    versions = [compile_plan(each).stages[1].features_version for each in (both_stages(), other)]
    assert versions[0] != versions[1]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"by": "card", "of": ("amount",)}, "learning_without_labels"),
        ({"learn": print}, "step_not_compiled"),
        ({"of": ("bad",)}, "unknown_value"),  # its own stage's: they are not there yet
        ({"of": ("card_10ms",)}, "unknown_value"),
    ],
)
def test_a_step_that_cannot_learn_or_read_is_refused(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as raised:
        compile_plan(both_stages(learning(**changed)))
    assert raised.value.code == code
