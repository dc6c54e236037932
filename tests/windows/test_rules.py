"""The rules of late, kept, visible, forgotten, duplicate and labelled rows, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stream_infer.events.columns import NO_POSITION, EventColumns, pack_position
from stream_infer.features.fold import Folded, StageFold
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.spec import Count, Feature, Rate
from support.columns import Row, columns_of, label_row, tick_row
from support.logs import ENTITIES, VALUES, pipeline

A = {"card": "a", "shop": "x"}
B = {"card": "b", "shop": "x"}


def plan_of(*features: Feature, lateness: str = "5ms", stage: int = 0) -> StagePlan:
    own = replace(pipeline(lateness, labels_by="shop" if stage else "card"), features=features)
    return compile_plan(own).stages[stage]


COUNT = Count(by="card", over=("10ms",), name="n")  # horizon 10 + 5 = 15 ms
RATE = Rate(by="card", over=("10ms",), name="r", current=False)


def folded(plan: StagePlan, *rows: Row) -> Folded:
    return StageFold(plan).fold(columns_of(rows, ENTITIES, VALUES))


def test_a_window_excludes_its_start_and_includes_its_end() -> None:
    #  time    100      101 ...... 110
    #  window       (100 ........ 110]   the event at 100 is outside, the one at 110 inside
    found = folded(plan_of(COUNT), Row(100, "1", A), Row(101, "2", A), Row(110, "3", A))
    assert found.features[:, 0].tolist() == [1.0, 2.0, 2.0]


def test_an_event_of_the_same_time_is_seen_by_those_behind_it_in_the_log() -> None:
    found = folded(plan_of(COUNT), *(Row(100, f"id-{i}", A) for i in range(6)))
    assert found.features[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_late_is_more_than_the_lateness_behind_the_key_s_own_newest_event() -> None:
    rows = (Row(100, "1", A), Row(108, "2", B), Row(95, "3", A), Row(94, "4", A), Row(102, "5", B))
    assert folded(plan_of(COUNT), *rows).late.tolist() == [False, False, False, True, True]


def test_a_late_event_that_still_fits_is_kept_and_one_that_does_not_is_only_scored() -> None:
    rows = (Row(100, "1", A), Row(86, "2", A), Row(85, "3", A), Row(86, "4", A), Row(85, "5", A))
    found = folded(plan_of(COUNT), *rows)
    #  newest 100, horizon 15: what is at 85 or before is neither kept nor seen
    assert found.features[:, 0].tolist() == [1.0, 1.0, 1.0, 2.0, 1.0]
    assert found.late.tolist() == [False, True, True, True, True]


def test_an_unknown_key_is_late_when_it_is_behind_all_that_the_partition_keeps() -> None:
    found = folded(plan_of(COUNT), Row(200, "1", A), Row(185, "2", B), Row(184, "3", B))
    assert found.late.tolist() == [False, False, True]


def test_a_key_is_forgotten_when_the_clock_is_past_all_it_could_affect() -> None:
    #  key a: newest 100, horizon 15. At clock 115 its id "1" is still known, at 116 no more.
    still = folded(plan_of(COUNT), Row(100, "1", A), Row(115, "2", B), Row(101, "1", A))
    gone = folded(plan_of(COUNT), Row(100, "1", A), Row(116, "2", B), Row(101, "1", A))
    assert still.duplicate_of.tolist() == [NO_POSITION, NO_POSITION, pack_position(0, 0)]
    assert gone.duplicate_of.tolist() == [NO_POSITION] * 3


def test_ticks_move_the_clock_and_labels_do_not() -> None:
    label = label_row(500, "9", B, 1, 600)
    after_tick = folded(plan_of(COUNT), Row(100, "1", A), tick_row(116), Row(101, "1", A))
    after_label = folded(plan_of(COUNT, RATE), Row(100, "1", A), label, Row(101, "1", A))
    assert after_tick.duplicate_of[2] == NO_POSITION
    assert after_label.duplicate_of[2] == pack_position(0, 0)
    assert np.isnan(after_tick.features[1]).all()
    assert np.isnan(after_label.features[1]).all()


def test_a_repeated_id_names_its_first_record_and_is_not_counted_again() -> None:
    rows = (
        Row(100, "1", A),
        Row(101, "2", A),
        Row(103, "1", A),
        Row(104, "1", A),
        Row(105, "3", A),
    )
    found = folded(plan_of(COUNT), *rows)
    first = pack_position(0, 0)
    assert found.duplicate_of.tolist() == [NO_POSITION, NO_POSITION, first, first, NO_POSITION]
    assert found.features[:, 0].tolist() == [1.0, 2.0, 2.0, 2.0, 3.0]


def test_the_same_id_of_another_key_is_no_duplicate() -> None:
    found = folded(plan_of(COUNT), Row(100, "1", A), Row(101, "1", B))
    assert (found.duplicate_of == NO_POSITION).all()


def test_a_later_stage_takes_late_and_duplicate_as_they_are_given() -> None:
    plan = plan_of(COUNT, Count(by="shop", over=("10ms",), name="s"), stage=1)
    first = pack_position(2, 7)
    rows = (
        Row(100, "1", A),
        Row(100, "1", A),
        Row(101, "2", A, late=True),
        Row(102, "3", A, duplicate_of=first),
        Row(103, "4", A),
    )
    found = folded(plan, *rows)
    assert found.late.tolist() == [False, False, True, False, False]
    assert found.duplicate_of.tolist() == [NO_POSITION] * 3 + [first, NO_POSITION]
    assert found.features[:, 0].tolist() == [1.0, 2.0, 3.0, 3.0, 4.0]


def internal(*rows: Row) -> EventColumns:
    return columns_of(rows, ENTITIES, VALUES, internal=True)


def test_a_record_whose_origin_is_not_above_the_highest_seen_changes_nothing() -> None:
    plan = plan_of(COUNT, Count(by="shop", over=("10ms",), name="s"), stage=1)
    fold = StageFold(plan)
    first = internal(Row(100, "1", A, upstream=("t-0", 5)), Row(100, "2", A, upstream=("t-1", 3)))
    assert fold.fold(first).accepted.tolist() == [True, True]
    state = fold.snapshot()
    again = fold.fold(first)
    assert again.accepted.tolist() == [False, False]
    assert np.isnan(again.features).all()
    assert fold.snapshot() == state
    further = internal(Row(101, "3", A, upstream=("t-0", 6)), Row(101, "4", A, upstream=("t-1", 3)))
    assert fold.fold(further).accepted.tolist() == [True, False]


def test_a_tick_of_our_own_has_no_origin_and_is_always_folded() -> None:
    fold = StageFold(plan_of(COUNT, Count(by="shop", over=("10ms",), name="s"), stage=1))
    fold.fold(internal(Row(100, "1", A, upstream=("t-0", 5))))
    assert fold.fold(internal(tick_row(130), tick_row(140))).accepted.all()
    assert fold.clock_ms == 140


def test_the_label_that_became_known_last_wins_and_the_later_of_equals() -> None:
    event, probe = Row(100, "1", A), Row(101, "p", A)
    cases = [
        ([(1, 200), (0, 300)], 0.0),
        ([(0, 300), (1, 200)], 0.0),
        ([(1, 200), (0, 200)], 0.0),
        ([(0, 200), (1, 200)], 1.0),
        ([(1, 200), (1, 200)], 1.0),
    ]
    for labels, expected in cases:
        rows = [label_row(100, "1", A, label, known) for label, known in labels]
        assert folded(plan_of(RATE), event, *rows, probe).features[-1, 0] == expected
        # Those that come before their event wait for it.
        assert folded(plan_of(RATE), *rows, event, probe).features[-1, 0] == expected


def test_a_label_with_another_time_finds_its_event_by_id() -> None:
    event, label, probe = Row(100, "1", A), label_row(97, "1", A, 1, 200), Row(101, "p", A)
    assert folded(plan_of(RATE), event, label, probe).features[-1, 0] == 1.0
    assert folded(plan_of(RATE), label, event, probe).features[-1, 0] == 1.0


def test_a_waiting_label_counts_for_nothing_and_is_gone_after_the_horizon() -> None:
    fold = StageFold(plan_of(COUNT, RATE))
    waiting = columns_of([label_row(100, "1", A, 1, 200), Row(101, "p", A)], ENTITIES, VALUES)
    assert fold.fold(waiting).features[1].tolist() == [1.0, 0.0]
    assert len(np.frombuffer(fold.snapshot()["times"], np.int64)) == 2
    fold.fold(columns_of([Row(115, "q", A)], ENTITIES, VALUES, 2))
    assert np.frombuffer(fold.snapshot()["times"], np.int64).tolist() == [101, 115]
