"""Steps that read the records of linked keys: what they see depends on the log alone."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.errors import ConfigError
from stream_infer.events.columns import EventColumns
from stream_infer.events.known_keys import KnownKeys
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.spec import Custom
from stream_infer.pipeline import Pipeline
from support.columns import Row, columns_of
from support.logs import pipeline

FORGET_MS = 20
NAMES = ("a", "b", "c")
LINKS = {"a": ("b", "c"), "b": ("a",), "c": ()}
RECORD = np.dtype([("stepped", np.int64), ("n", np.int64)])
FACTS = np.dtype([("weight", np.float64)])


@numba.njit
def neighbours_step(
    record: Any, records: Any, links: Any, facts: Any, event_time: int, values: Any, out: Any
) -> None:
    """Count own events; add what the linked keys have counted, times the key's weight."""
    record["n"] += 1
    out[0] = record["n"]
    out[1] = 0.0
    for j in range(links.shape[0]):
        if links[j] >= 0:
            out[1] += records[links[j]]["n"] * facts["weight"]


def known() -> KnownKeys:
    links = np.full((3, 2), -1, np.int64)
    for at, name in enumerate(NAMES):
        for j, other in enumerate(LINKS[name]):
            links[at, j] = NAMES.index(other)
    return KnownKeys(
        names=NAMES,
        place="road",
        places=("r", "r", "r"),
        facts=np.array([(1.0,), (10.0,), (100.0,)], FACTS),
        links=links,
        factors={},
        bounds={},
        digest="d",
    )


def linked_pipeline(**changes: Any) -> Pipeline:
    own = pipeline(labels_by="card")
    step = Custom(
        by="card",
        names=("own", "linked"),
        state=RECORD,
        step=neighbours_step,
        of=(),
        version=1,
        forget_after=f"{FORGET_MS}ms",
        linked=True,
    )
    events = dataclasses.replace(own.events, known=known(), id="card")
    made = dataclasses.replace(
        own, events=events, features=(step,), labels=None, lateness="30ms", name="linked"
    )
    return dataclasses.replace(made, **changes)


def stage() -> StagePlan:
    return compile_plan(linked_pipeline()).stages[0]


def log_of(pairs: list[tuple[int, str]]) -> EventColumns:
    rows = [Row(time, name, {"card": name, "shop": "x"}) for time, name in pairs]
    return columns_of(rows, ("card", "shop"), ("amount",))


def twin(pairs: list[tuple[int, str]]) -> list[list[float]]:
    """Return what the step must say, from the whole log and nothing kept."""
    said: list[list[float]] = []
    counts: dict[str, int] = {}
    clock = -(10**9)
    seen: set[tuple[int, str]] = set()
    newest: dict[str, int] = {}
    for time, name in pairs:
        clock = max(clock, time)
        forgotten = {key for key, last in newest.items() if last + FORGET_MS < clock}
        own = 0 if name in forgotten else counts.get(name, 0)
        linked = sum(counts.get(key, 0) for key in LINKS.get(name, ()) if key not in forgotten)
        weight = {"a": 1.0, "b": 10.0, "c": 100.0}.get(name, 0.0)
        said.append([own + 1.0, linked * weight])
        too_old = time < max(newest.get(name, -(10**9)), time) - 30 + 1 or time < clock - 30
        if (time, name) in seen and not too_old:
            continue
        if too_old:
            continue
        seen.add((time, name))
        counts[name] = own + 1
        newest[name] = max(newest.get(name, time), time)
    return said


def test_a_linked_key_is_seen_until_it_is_forgotten() -> None:
    pairs = [(100, "b"), (101, "a"), (120, "a"), (121, "a")]
    found = StageFold(stage()).fold(log_of(pairs)).features
    assert found[:, 1].tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_slot_that_another_key_was_given_is_not_taken_for_the_forgotten_key_s() -> None:
    fold = StageFold(stage())
    fold.fold(log_of([(100, "b")]))
    fold.fold(log_of([(1_000, "d")]))
    fold.sweep()
    fold.fold(log_of([(1_001, "c")]))
    assert fold.fold(log_of([(1_002, "a")])).features[0, 1] == 1.0


def test_a_key_that_the_table_lacks_has_no_links_and_facts_of_zero() -> None:
    found = StageFold(stage()).fold(log_of([(100, "b"), (101, "other")])).features
    assert found[1].tolist() == [1.0, 0.0]


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcd")), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_what_is_seen_depends_on_no_batch_sweep_or_snapshot(
    steps: list[tuple[int, str]], cuts: list[int]
) -> None:
    times = np.cumsum([gap for gap, _ in steps]).tolist()
    pairs = [(1_000 + time, name) for time, (_, name) in zip(times, steps, strict=True)]
    columns, plan = log_of(pairs), stage()
    fold, found = StageFold(plan), [np.empty((0, 2))]
    inside = sorted({cut for cut in cuts if 0 < cut < len(pairs)})
    for start, end in pairwise([0, *inside, len(pairs)]):
        found.append(fold.fold(columns.slice(start, end)).features)
        fold.sweep()
        fresh = StageFold(plan)
        fresh.restore(fold.snapshot())
        fold = fresh
    np.testing.assert_array_equal(np.concatenate(found), np.array(twin(pairs)).reshape(-1, 2))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"known": None}, "linked_without_table"),
        ({"state": np.dtype([("n", np.int64)])}, "bad_state_record"),
        ({"by": "shop"}, "linked_without_table"),
    ],
)
def test_a_linked_step_that_cannot_work_is_refused(change: dict[str, Any], code: str) -> None:
    made = linked_pipeline()
    if "known" in change:
        made = dataclasses.replace(made, events=dataclasses.replace(made.events, **change))
    else:
        step = dataclasses.replace(made.features[0], **change)
        made = dataclasses.replace(made, features=(step,))
    with pytest.raises(ConfigError) as caught:
        compile_plan(made)
    assert caught.value.code == code
