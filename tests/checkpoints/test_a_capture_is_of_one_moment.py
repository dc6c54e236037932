"""What a capture reads while folds go on is the state at the moment when it was taken."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.lists import ListChange
from stream_infer.alerts.spec import EntityList, Storm
from stream_infer.dataplane.listing import list_columns
from stream_infer.dataplane.state import StageState
from stream_infer.errors import InvalidDataError
from stream_infer.events.columns import EventColumns
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.spec import Count, Custom
from stream_infer.pipeline import Silence
from stream_infer.windows import capture as capture_module
from support.alerts import Log, kind, plan_of
from support.columns import Row, columns_of
from support.logs import ENTITIES, VALUES, cuts, logs, pipeline

PLANS: dict[str, StagePlan] = {
    "first entity": compile_plan(pipeline()).stages[0],
    "second entity, with labels": compile_plan(pipeline()).stages[1],
    "first entity, with labels": compile_plan(pipeline(labels_by="card")).stages[0],
}


def small_pieces() -> Any:
    """Cut pieces and slices so small that a short log falls into many."""
    return patch.multiple(capture_module, GROUP_KEYS=1, SLICE_KEYS=2)


def read_between(
    frames: Iterator[dict[str, Any] | None], work: Sequence[Callable[[], object]], turns: list[int]
) -> list[dict[str, Any]]:
    """Read frames, `turns[i]` steps before each piece of work, and the rest at the end."""
    read: list[dict[str, Any] | None] = []
    for each, steps in zip(work, turns, strict=True):
        read += [next(frames, None) for _ in range(steps)]
        each()
    read += list(frames)
    return [copy.deepcopy(frame) for frame in read if frame is not None]


def restored(state: Any, frames: list[dict[str, Any]]) -> Any:
    for frame in frames:
        state.restore_frame(frame)
    return state


@pytest.mark.parametrize("name", PLANS)
@settings(deadline=None, max_examples=30)  # the first example may compile the kernels
@given(data=st.data())
def test_folds_between_the_reading_change_nothing_of_what_is_read(
    name: str, data: st.DataObject
) -> None:
    plan = PLANS[name]
    internal = not plan.first
    rows = data.draw(logs())
    at = data.draw(st.integers(0, len(rows)))
    bounds = [at + cut for cut in data.draw(cuts(len(rows) - at))]
    parts = [
        columns_of(rows[a:b], ENTITIES, VALUES, a, internal=internal) for a, b in pairwise(bounds)
    ]
    turns = data.draw(st.lists(st.integers(0, 4), min_size=len(parts), max_size=len(parts)))

    state = StageState(plan)
    state.fold_only(columns_of(rows[:at], ENTITIES, VALUES, 0, internal=internal))
    expected = state.snapshot()
    with small_pieces():
        work = [lambda part=part: state.fold_only(part) for part in parts]
        frames = read_between(state.capture(), work, turns)
        again = restored(StageState(plan), frames)
        assert again.snapshot() == expected
        # Equal states give equal frames, whatever brought them there.
        assert [frame for frame in again.capture() if frame is not None] == frames
    for part in parts:
        again.fold_only(part)
    assert again.snapshot() == state.snapshot()


def test_a_key_that_is_forgotten_and_comes_again_meanwhile_is_read_as_it_was() -> None:
    plan = PLANS["first entity"]
    state = StageState(plan)
    names = [f"c-{number}" for number in range(40)]
    first = [Row(number, f"p-{number}", {"card": card}) for number, card in enumerate(names)]
    state.fold_only(columns_of(first, ENTITIES, VALUES))
    expected = state.snapshot()
    with small_pieces():
        frames = state.capture()
        read = [next(frames) for _ in range(4)]
        for number in range(200):
            # Far later, so that sweeps would drop and give away every slot.
            late = [Row(10_000 * (number + 1), f"q-{number}", {"card": f"d-{number}"})]
            state.fold_only(columns_of(late, ENTITIES, VALUES, 100 + number))
            state.windows.sweep()
        read += list(frames)
    again = restored(StageState(plan), [frame for frame in read if frame is not None])
    assert again.snapshot() == expected
    del frames
    state.windows.sweep()
    assert state.keys == 1


def test_two_captures_of_two_moments_do_not_disturb_each_other() -> None:
    state = StageState(PLANS["first entity"])
    at = []
    captures = []
    for number in range(3):
        rows = [Row(number, f"p-{number}-{card}", {"card": card}) for card in "abcdef"]
        state.fold_only(columns_of(rows, ENTITIES, VALUES, 10 * number))
        captures.append(state.capture())
        at.append(state.snapshot())
    for frames, expected in zip(captures, at, strict=True):
        read = [frame for frame in frames if frame is not None]
        assert restored(StageState(PLANS["first entity"]), read).snapshot() == expected


def test_sweeps_go_on_when_a_capture_was_given_up() -> None:
    state = StageState(PLANS["first entity"])
    state.fold_only(columns_of([Row(0, "p", {"card": "c"})], ENTITIES, VALUES))
    frames = state.capture()
    next(frames)
    del frames
    state.fold_only(columns_of([Row(10_000, "q", {"card": "d"})], ENTITIES, VALUES, 1))
    state.windows.sweep()
    assert state.keys == 1


TALLY = np.dtype([("count", np.int64)])


@numba.njit
def tally(state: Any, time: Any, values: Any, out: Any) -> None:
    state["count"] += 1
    out[0] = state["count"]


def test_records_of_custom_steps_are_read_as_they_were() -> None:
    declared = pipeline()
    step = Custom(
        names=("seen",),
        by="card",
        of=("amount",),
        state=TALLY,
        step=tally,
        version=1,
        forget_after="1h",
    )
    plan = compile_plan(dataclasses.replace(declared, features=(step,), labels=None)).stages[0]
    rows = [Row(number, f"p-{number}", {"card": f"c-{number % 7}"}) for number in range(60)]
    state = StageState(plan)
    state.fold_only(columns_of(rows[:30], ENTITIES, VALUES))
    expected = state.snapshot()
    with small_pieces():
        rest = columns_of(rows[30:], ENTITIES, VALUES, 30)
        frames = read_between(state.capture(), [lambda: state.fold_only(rest)], [5])
    again = restored(StageState(plan), frames)
    assert again.snapshot() == expected
    again.fold_only(rest)
    assert again.snapshot() == state.snapshot() != expected


MINUTE_MS = 60_000


def test_the_watch_over_silent_keys_is_read_as_it_was_though_it_writes_every_key() -> None:
    declared = dataclasses.replace(
        pipeline(),
        features=(Count(by="card", over=("1h",), name="count"),),
        labels=None,
        lateness="1h",
        silence=Silence(intervals=3.0, forget_after="1d"),
    )
    plan = compile_plan(declared).stages[0]
    spoken = [
        Row(minute * MINUTE_MS, f"{card}{minute}", {"card": card})
        for minute in range(20)
        for card in "abcdefgh"
    ]
    later = [Row(minute * MINUTE_MS, f"a{minute}", {"card": "a"}) for minute in range(20, 40)]
    state = StageState(plan)
    state.fold_only(columns_of(spoken, ENTITIES, VALUES))
    expected = state.snapshot()
    with small_pieces():
        rest = columns_of(later, ENTITIES, VALUES, len(spoken))
        frames = read_between(state.capture(), [lambda: state.fold_only(rest)], [5])
    assert restored(StageState(plan), frames).snapshot() == expected != state.snapshot()


def test_lists_are_captured_with_the_windows() -> None:
    plan, lists = (
        PLANS["second entity, with labels"],
        (EntityList(name="blocked", entity="shop", kind="block"),),
    )
    state = StageState(plan, lists)
    state.fold_only(_listing("s-1"))
    expected = state.snapshot()
    frames = read_between(state.capture(), [lambda: state.fold_only(_listing("s-2"))], [1])
    again = restored(StageState(plan, lists), frames)
    assert again.snapshot() == expected != state.snapshot()


def _listing(entity: str) -> EventColumns:
    change = ListChange(
        upstream_topic="payments-lists",
        upstream_partition=0,
        upstream_offset=int(entity[2:]),
        list="blocked",
        entity=entity,
        listed=True,
    )
    columns = list_columns([change], pipeline().events)
    columns.upstream = np.zeros(1, np.int64)
    columns.upstream_offset = np.array([change.upstream_offset])
    columns.upstreams = ["payments-lists-0"]
    return columns


@settings(deadline=None, max_examples=50)
@given(
    levels=st.lists(st.tuples(st.integers(0, 90), st.floats(0, 1), st.sampled_from("abc"))),
    cut=st.integers(0, 60),
)
def test_alerts_that_change_meanwhile_are_read_as_they_were(
    levels: list[tuple[int, float, str]], cut: int
) -> None:
    plan = plan_of(kind(count_min=2, within="1h", storm=Storm(single_max=2, within="1h")))
    log = Log()
    candidates = [
        log.at(minutes, level, name, group="g") for minutes, level, name in sorted(levels)
    ]
    fold = AlertFold(plan)
    fold.fold(candidates[:cut])
    expected = fold.snapshot()
    frames = read_between(fold.capture(), [lambda: fold.fold(candidates[cut:])], [2])
    again = restored(AlertFold(plan), frames)
    assert again.snapshot() == expected
    assert (again.bytes, again.keys, again.open) == _size_of(AlertFold(plan), expected)
    first, whole = AlertFold(plan), AlertFold(plan)
    told = [change.alert for change in first.fold(candidates[:cut]) + again.fold(candidates[cut:])]
    assert told == [change.alert for change in whole.fold(candidates)]
    assert again.snapshot() == fold.snapshot()


def _size_of(fold: AlertFold, snapshot: dict[str, Any]) -> tuple[int, int, int]:
    fold.restore(snapshot)
    return fold.bytes, fold.keys, fold.open


@pytest.mark.parametrize("column", ["newest", "times", "hashes", "values", "positions", "lengths"])
def test_a_piece_that_contradicts_itself_is_refused_before_any_kernel_sees_it(column: str) -> None:
    plan = PLANS["first entity"]
    state = StageState(plan)
    state.fold_only(columns_of([Row(1, "p", {"card": "c"})], ENTITIES, VALUES))
    frames = [frame for frame in state.capture() if frame is not None]
    frames[-1][column] = frames[-1][column] + bytes(8)
    with pytest.raises(InvalidDataError) as caught:
        restored(StageState(plan), frames)
    assert caught.value.code == "state_malformed"
