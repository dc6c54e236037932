from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import LABEL
from stream_infer.features import table
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.features.spec import Count, Rate
from support.columns import Row, columns_of, label_row
from support.logs import ENTITIES, VALUES, pipeline

KEYS = {"card": "a", "shop": "x"}


def test_a_label_is_folded_before_the_first_event_that_it_precedes() -> None:
    events = [Row(10, "1", KEYS), Row(20, "2", KEYS), Row(15, "3", KEYS), Row(30, "4", KEYS)]
    labels = [
        label_row(20, "c", KEYS, 1, 31),
        label_row(10, "a", KEYS, 1, 15),
        label_row(10, "b", KEYS, 1, 20),
        label_row(0, "z", KEYS, 0, 10),
    ]
    merged = table.merge_labels(
        columns_of(events, ENTITIES, VALUES), columns_of(labels, ENTITIES, VALUES)
    )
    assert merged.ids == ["z", "1", "a", "b", "2", "3", "4", "c"]
    assert np.flatnonzero(merged.kind == LABEL).tolist() == [0, 2, 3, 7]


def rows_of(times: list[int]) -> list[Row]:
    return [
        Row(1_000 + time, f"p{i % 40}", {"card": "ab"[i % 2], "shop": "xyz"[i % 3]}, {"amount": i})
        for i, time in enumerate(times)
    ]


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=50), st.integers(1, 20))
def test_a_file_and_a_chain_of_stages_give_the_same_whatever_the_batch(
    times: list[int], batch: int
) -> None:
    plan = compile_plan(pipeline())
    events = columns_of(rows_of(times), ENTITIES, VALUES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "ROWS_PER_BATCH", batch)
        matrix = table.compute_features(pipeline(), events)
    streamed = columns_of(rows_of(times), ENTITIES, VALUES)
    first = StageFold(plan.stages[0]).fold(streamed)
    streamed.late, streamed.duplicate_of = first.late, first.duplicate_of
    second = StageFold(plan.stages[1]).fold(streamed)
    both = np.concatenate([first.features, second.features], axis=1)
    np.testing.assert_array_equal(matrix, plan.matrix(streamed, both))
    np.testing.assert_array_equal(events.late, first.late)
    np.testing.assert_array_equal(events.duplicate_of, first.duplicate_of)


def test_labels_reach_the_features_of_later_events_only() -> None:
    own = replace(
        pipeline("20ms"),
        features=(
            Rate(by="shop", over=("50ms",), name="rate", current=False),
            Count(by="card", over=("50ms",), name="count"),
        ),
    )
    events = columns_of([Row(10, "1", KEYS), Row(20, "2", KEYS), Row(30, "3", KEYS)], ENTITIES)
    events.values = {name: np.zeros(3, np.int64) for name in VALUES}
    labels = columns_of([label_row(10, "1", KEYS, 1, 25)], ENTITIES, VALUES)
    matrix = table.compute_features(own, events, labels)
    assert matrix.tolist() == [[0.0, 1.0], [0.0, 2.0], [0.5, 3.0]]
