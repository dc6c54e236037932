"""Rows of a history: one order, served answers where there are any, nothing unknowable."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stream_infer.features.plan import compile_plan
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import Thresholds
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.records import label_columns, transaction_columns
from stream_infer.training.history import (
    SCORE,
    SERVED,
    Log,
    Served,
    agreement,
    as_served,
    computed,
    in_one_order,
    places_of,
)
from support.load import make_load

DAY_MS = 86_400_000
LOAD = make_load(days=60, customers=20, terminals=10)
PLAN = compile_plan(pipeline)


def events_of(partitions: int = 2) -> Log:
    """Return the load's events as they stand in so many partitions, one behind the other."""
    columns = transaction_columns(LOAD.transactions)
    place = np.array([int(name[1:]) % partitions for name in columns.entities["customer_id"]])
    columns.source_partition = place
    for partition in range(partitions):
        rows = np.flatnonzero(place == partition)
        columns.source_offset[rows] = np.arange(len(rows))
    order = np.lexsort((columns.source_offset, place))
    return Log(columns.take(order), 0, None)


def labels_of() -> Log:
    return Log(label_columns(LOAD.labels), 0, None)


def served_of(events: Log, own: slice = slice(0, 0), score: float = 0.25) -> Served:
    """Return the events as scored; the chosen ones by the version itself."""
    columns = events.columns
    place = places_of(columns)
    order = np.argsort(place)
    is_own = np.zeros(len(place), np.bool_)
    is_own[own] = True
    return Served(
        [columns.ids[at] for at in order.tolist()],
        [columns.entities["customer_id"][at] for at in order.tolist()],
        place[order],
        columns.event_time[order],
        np.where(is_own, np.float32(score), np.float32(np.nan)),
        is_own,
        None,
    )


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(ready_model_dir("fraud"), PLAN.feature_names, PLAN.fingerprint)


def test_rows_of_partitions_come_in_one_order_and_keep_their_own() -> None:
    rows = in_one_order(events_of(3).columns)
    assert rows.event_time.tolist() == sorted(rows.event_time.tolist())
    for partition in range(3):
        offsets = rows.source_offset[rows.source_partition == partition]
        assert (np.diff(offsets) > 0).all()


def test_a_row_that_is_late_in_its_partition_stays_behind_its_neighbour() -> None:
    columns = transaction_columns(LOAD.transactions.take(slice(0, 4)))
    columns.source_partition = np.array([0, 0, 1, 1])
    columns.source_offset = np.array([0, 1, 0, 1])
    columns.event_time = np.array([50, 10, 20, 60])
    rows = in_one_order(columns)
    assert rows.event_time.tolist() == [20, 50, 10, 60]


def test_answers_that_were_served_stand_in_place_of_computed_ones(scorer: Scorer) -> None:
    events, labels = events_of(), labels_of()
    whole = computed(PLAN, scorer, events, labels, served_of(events), 7 * DAY_MS)
    some = computed(PLAN, scorer, events, labels, served_of(events, slice(0, 5)), 7 * DAY_MS)
    own = some.samples.matrix[:, SERVED] > 0
    assert int(own.sum()) == 5
    assert (some.samples.matrix[own, SCORE] == np.float32(0.25)).all()
    assert (some.samples.matrix[~own] == whole.samples.matrix[~own]).all()
    assert some.facts["same"]["rows"] == 5
    assert some.facts["same"]["difference_max"] > 0


def test_rows_whose_windows_look_back_on_a_cut_log_are_left_out(scorer: Scorer) -> None:
    events, labels = events_of(), labels_of()
    first_ms = int(events.columns.event_time.min())
    cut = dataclasses.replace(events, cut_ms=first_ms)
    said = computed(PLAN, scorer, cut, labels, served_of(events), 7 * DAY_MS)
    look_back_ms = max(stage.look_back_ms for stage in PLAN.stages)
    assert (said.samples.time >= first_ms + look_back_ms).all()
    gone = said.facts["without_history"]
    assert 0 < gone < len(LOAD)
    assert len(said.samples) + gone + said.facts["pending"] == len(LOAD)
    # What was served needs no history.
    kept = computed(PLAN, scorer, cut, labels, served_of(events, slice(0, 3)), 7 * DAY_MS)
    assert kept.facts["without_history"] == gone - 3


def test_a_served_event_that_is_gone_from_its_log_still_counts(scorer: Scorer) -> None:
    events, labels = events_of(), labels_of()
    served = served_of(events, slice(None))
    fewer = dataclasses.replace(events, columns=events.columns.slice(4, len(LOAD)))
    said = computed(PLAN, scorer, fewer, labels, served, 7 * DAY_MS)
    assert len(said.samples) == len(LOAD) - said.facts["pending"]
    assert said.samples.matrix[:, SERVED].all()
    assert (np.diff(said.samples.time) >= 0).all()
    by_served = as_served(served, labels.columns, 7 * DAY_MS)
    # The same customers are one in both, whatever they are numbered.
    assert len(np.unique(said.samples.customer)) == len(np.unique(by_served.samples.customer))
    assert said.samples.truth.sum() == by_served.samples.truth.sum()


def test_agreement_counts_flips_and_takes_two_missing_numbers_for_the_same() -> None:
    limits = Thresholds(review=0.5, decline=0.9)
    own = np.array([0.1, 0.49, 0.95, np.nan], np.float32)
    made = np.array([0.1, 0.51, 0.95, np.nan], np.float32)
    said = agreement(own, made, limits)
    assert (said["rows"], said["flips"]) == (4, 1)
    assert said["difference_max"] == pytest.approx(0.02)
