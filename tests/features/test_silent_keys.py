"""Keys that stop talking are told by the fold: by the log alone, and not for ever again."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.features.fold import StageFold
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.silence import REPEAT_MS
from stream_infer.features.spec import Count
from stream_infer.pipeline import Silence
from support.columns import Row, columns_of, tick_row
from support.logs import pipeline

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000


def stage(silence: Silence | None = None) -> StagePlan:
    own = dataclasses.replace(
        pipeline(),
        features=(Count(by="card", over=("1h",), name="count"),),
        labels=None,
        lateness="1h",
        silence=silence or Silence(intervals=3.0, forget_after="1d"),
    )
    return compile_plan(own).stages[0]


def talk(names: str, minutes: range) -> list[Row]:
    """Return one event a minute of each key, one behind the other within the minute."""
    return [
        Row(
            START_MS + minute * MINUTE_MS + at * 100, f"{name}{minute}", {"card": name, "shop": "x"}
        )
        for minute in minutes
        for at, name in enumerate(names)
    ]


def told(rows: list[Row], plan: StagePlan | None = None) -> list[tuple[float, str, float]]:
    """Return (minute, key, level) of each silence."""
    internal = rows[0].upstream is not None
    columns = columns_of(rows, ("card", "shop"), internal=internal)
    silences = StageFold(plan or stage()).fold(columns).silences
    assert silences is not None
    return [
        ((rows[row].time - START_MS) / MINUTE_MS, key, round(level, 1))
        for row, key, level in zip(silences.rows, silences.keys, silences.levels, strict=True)
    ]


def test_a_key_that_falls_silent_among_others_is_told_after_three_intervals() -> None:
    rows = talk("ab", range(20)) + talk("b", range(20, 26))
    # `a` spoke last at 19; three of its minutes are over at 22.
    assert told(rows)[0] == (22.0, "a", 3.0)


def test_a_silence_is_told_again_only_now_and_then() -> None:
    rows = talk("ab", range(20)) + talk("b", range(20, 60))
    minutes = [minute for minute, _, _ in told(rows)]
    assert minutes == [22.0, 27.0, 32.0, 37.0, 42.0, 47.0, 52.0, 57.0]
    assert REPEAT_MS == 5 * MINUTE_MS


def test_ticks_tell_of_keys_when_all_are_silent() -> None:
    quiet = [tick_row(START_MS + 19 * MINUTE_MS + second * 1_000) for second in range(1, 240)]
    rows = talk("abc", range(20)) + quiet
    found = told(rows)
    assert {key for _, key, _ in found} == {"a", "b", "c"}
    assert len(found) == 3
    assert all(22.0 <= minute <= 22.6 for minute, _, _ in found)


def test_a_key_that_speaks_again_is_no_longer_told() -> None:
    rows = talk("ab", range(20)) + talk("b", range(20, 24)) + talk("ab", range(24, 40))
    assert [key for _, key, _ in told(rows)] == ["a"]


def test_a_feed_that_was_stopped_for_an_hour_comes_back_without_an_alarm() -> None:
    assert told(talk("abc", range(20)) + talk("abc", range(80, 100))) == []


def test_a_key_with_a_wrong_clock_is_not_silent() -> None:
    slow = [
        dataclasses.replace(row, time=row.time - (30 * MINUTE_MS if row.keys["card"] == "a" else 0))
        for row in talk("ab", range(40))
    ]
    assert told(slow) == []


def test_a_key_that_was_heard_a_few_times_only_is_not_told() -> None:
    assert told(talk("ab", range(5)) + talk("b", range(5, 30))) == []


def test_a_silence_longer_than_what_is_remembered_is_told_no_more() -> None:
    plan = stage(Silence(intervals=3.0, forget_after="30m"))
    rows = talk("ab", range(20)) + talk("b", range(20, 90))
    minutes = [minute for minute, _, _ in told(rows, plan)]
    assert minutes[0] == 22.0
    assert minutes[-1] <= 49.0


@settings(deadline=None, max_examples=30)
@given(
    gaps=st.lists(
        st.tuples(st.integers(0, 90_000), st.sampled_from("abct")), min_size=1, max_size=120
    ),
    cuts=st.lists(st.integers(1, 119), max_size=4),
)
def test_what_is_told_depends_on_no_batch_sweep_or_snapshot(
    gaps: list[tuple[int, str]], cuts: list[int]
) -> None:
    times = (START_MS + np.cumsum([gap for gap, _ in gaps])).tolist()
    rows = talk("abc", range(-10, 0)) + [
        tick_row(time) if name == "t" else Row(time, str(at), {"card": name, "shop": "x"})
        for at, (time, (_, name)) in enumerate(zip(times, gaps, strict=True))
    ]
    # `a` comes of a partition of its own, so that it is measured by itself and by ticks alone.
    rows = [
        row
        if row.keys == {}
        else dataclasses.replace(row, upstream=(f"input-{int(row.keys['card'] != 'a')}", at))
        for at, row in enumerate(rows)
    ]
    columns = columns_of(rows, ("card", "shop"), internal=True)
    plan = stage(Silence(intervals=1.5))
    whole = StageFold(plan).fold(columns).silences
    assert whole is not None
    fold, found = StageFold(plan), []
    inside = sorted({cut for cut in cuts if cut < len(rows)})
    for start, end in pairwise([0, *inside, len(rows)]):
        part = fold.fold(columns.slice(start, end)).silences
        assert part is not None
        found += [(row + start, key, level, ms) for row, key, level, ms in zip(*part, strict=True)]
        fold.sweep()
        fresh = StageFold(plan)
        fresh.restore(fold.snapshot())
        fold = fresh
    assert found == list(zip(*whole, strict=True))


def test_keys_that_speak_at_once_every_five_minutes_are_told_when_one_does_not() -> None:
    rows = talk("ab", range(0, 100, 5)) + talk("b", range(100, 140, 5))
    assert told(rows)[0] == (110.0, "a", 3.0)


def test_a_lone_key_is_told_by_ticks_after_its_own_interval_and_no_sooner() -> None:
    fold, plan = StageFold(stage()), stage()
    assert plan.silence is not None
    fold.fold(columns_of(talk("a", range(0, 100, 5)), ("card", "shop")))
    last = START_MS + 95 * MINUTE_MS
    useful = [m for m in range(1, 31) if fold.tells_silence(last + m * MINUTE_MS)]
    assert useful == list(range(15, 31))
    silences = fold.fold(columns_of([tick_row(last + 16 * MINUTE_MS)], ("card", "shop"))).silences
    assert silences is not None
    assert (silences.keys, silences.levels) == (["a"], [3.2])
    # What was told is not due again for a while.
    assert not fold.tells_silence(last + 18 * MINUTE_MS)
    assert fold.tells_silence(last + 21 * MINUTE_MS)


def read_from(rows: list[Row], partition: int, first: int) -> list[Row]:
    """Return the rows as made from records of a partition of the input."""
    return [
        dataclasses.replace(row, upstream=(f"input-{partition}", first + at))
        for at, row in enumerate(rows)
    ]


def test_a_partition_that_is_read_an_hour_behind_another_is_not_silent() -> None:
    log: list[Row] = []
    for hour in range(4):
        minutes = range(60 * hour, 60 * hour + 60)
        log += read_from(talk("ab", minutes), 0, 120 * hour)
        log += read_from(talk("cd", minutes), 1, 120 * hour)
    assert told(log) == []


def test_who_falls_silent_within_such_a_partition_is_told() -> None:
    log: list[Row] = []
    for hour in range(4):
        minutes = range(60 * hour, 60 * hour + 60)
        log += read_from(talk("ab", minutes), 0, 120 * hour)
        log += read_from(talk("cd" if hour < 2 else "d", minutes), 1, 120 * hour)
    assert {key for _, key, _ in told(log)} == {"c"}


def test_a_partition_that_is_silent_as_a_whole_is_told_after_two_hours() -> None:
    log = read_from(talk("ab", range(20)), 0, 0) + read_from(talk("cd", range(20)), 1, 0)
    log += read_from(talk("ab", range(20, 200)), 0, 40)
    found = told(log)
    assert {key for _, key, _ in found} == {"c", "d"}
    assert 140 <= found[0][0] < 145
