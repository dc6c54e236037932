"""Lists decide by the log: a row sees exactly the changes before it, in whatever batch it came."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.alerts.lists import list_key
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.stage import FeatureStage
from stream_infer.dataplane.state import StageState
from stream_infer.errors import StateBudgetError
from stream_infer.observability.meter import StageMeter
from support.dataplane import NEXT, PIPELINE, customer_stage, feature_stages, record
from support.load import START_MS

METER = StageMeter()
LISTS = f"{PIPELINE.name}-lists"
KINDS = {
    "blocked-customers": ("customer_id", "decline"),
    "blocked-terminals": ("terminal_id", "decline"),
    "allowed-customers": ("customer_id", "approve"),
}
Change = tuple[str, str, bool]


def stage_of(topic: str) -> FeatureStage:
    return next(stage for stage in feature_stages() if stage.topic == topic)


def listed(offset: int, name: str, entity: str, on: bool = True, **more: Any) -> Any:  # noqa: FBT001, FBT002
    value = json.dumps({"list": name, "entity": entity, "listed": on, **more}).encode()
    return of_lists(offset, list_key(name, entity), value)


def of_lists(offset: int, key: bytes | None, value: bytes | None) -> Any:
    return SimpleNamespace(
        offset=offset, timestamp=START_MS, timestamp_type=0, key=key, value=value, headers=()
    )


def written(stage: FeatureStage, records: list[Any]) -> dict[Partition, list[bytes | None]]:
    """Return the values that a stage writes for records of partition 0."""
    [read] = stage.read([RecordBatch(Partition(stage.topic, 0), records)])
    [result] = stage.step([(read, stage.open_state(None))], METER)
    return {place: writes.values for place, writes in result.outputs.items()}


def log_of(rows: list[Change | tuple[int, int]]) -> list[Any]:
    """Return the terminal stage's log: (customer, terminal) pays, or a list changes."""
    payments = [(at, row) for at, row in enumerate(rows) if len(row) == 2]
    changes = [(at, row) for at, row in enumerate(rows) if len(row) == 3]
    values: dict[int, bytes | None] = {}
    if payments:
        made = [
            record(n, customer_id=f"c{row[0]}", terminal_id=f"m{row[1]}")
            for n, (_, row) in enumerate(payments)
        ]
        out = written(customer_stage(), made)[Partition(NEXT, 0)]
        values |= {at: value for (at, _), value in zip(payments, out, strict=True)}
    if changes:
        out = written(
            stage_of(LISTS),
            [
                listed(n, str(row[0]), str(row[1]), bool(row[2]))
                for n, (_, row) in enumerate(changes)
            ],
        )[Partition(NEXT, 0)]
        values |= {at: value for (at, _), value in zip(changes, out, strict=True)}
    return [
        SimpleNamespace(
            offset=at, timestamp=START_MS, timestamp_type=0, key=b"", value=values[at], headers=()
        )
        for at in range(len(rows))
    ]


def expected(rows: list[Change | tuple[int, int]]) -> list[tuple[str | None, str | None]]:
    """Return (decision, rule) of each payment, by the rules' own words."""
    on: set[tuple[str, str]] = set()
    said: list[tuple[str | None, str | None]] = []
    for row in rows:
        if len(row) == 3:
            name, entity, is_on = row
            (on.add if is_on else on.discard)((name, entity))
            continue
        entities = {"customer_id": f"c{row[0]}", "terminal_id": f"m{row[1]}"}
        rules = [name for name, (field, _) in KINDS.items() if (name, entities[field]) in on]
        said.append((KINDS[rules[0]][1], rules[0]) if rules else (None, None))
    return said


def decided(log: list[Any], cuts: list[int], *, anew: bool) -> list[tuple[Any, Any]]:
    """Return (decision, rule) of each payment, the log cut into batches.

    anew  after each batch the state is saved and restored into an empty one
    """
    stage = stage_of(NEXT)
    state: StageState = stage.open_state(None)  # type: ignore[assignment]
    said = []
    for start, end in pairwise(sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})):
        [read] = stage.read([RecordBatch(Partition(NEXT, 0), log[start:end])])
        [result] = stage.step([(read, state)], METER)
        for destination, writes in result.outputs.items():
            if destination.topic == PIPELINE.scored:
                events = [json.loads(value or b"") for value in writes.values]
                said += [(event["decision"], event["rule"]) for event in events]
        if anew:
            fresh = stage.open_state(None)
            assert fresh is not None
            fresh.restore(state.snapshot())
            state = fresh
    return said


rows = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2), st.integers(0, 2)),
        st.tuples(
            st.sampled_from([*KINDS, "unknown"]), st.sampled_from(["c0", "c1", "m0"]), st.booleans()
        ),
    ),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=40)
@given(rows, st.lists(st.integers(1, 24), max_size=5), st.booleans())
def test_a_row_sees_exactly_the_changes_before_it(
    changes: list[Any],
    cuts: list[int],
    anew: bool,  # noqa: FBT001
) -> None:
    log = log_of(changes)
    assert decided(log, cuts, anew=anew) == expected(changes)


def test_parts_of_several_partitions_keep_their_own_lists() -> None:
    """What is decided together is still each partition's own: only one has seen the change."""
    stage = stage_of(NEXT)
    log = log_of([("blocked-customers", "c1", True), (1, 0), (0, 0)])
    parts = [
        stage.read([RecordBatch(Partition(NEXT, 0), log)])[0],
        stage.read([RecordBatch(Partition(NEXT, 1), log[1:])])[0],
    ]
    results = stage.step([(part, stage.open_state(None)) for part in parts], METER)
    rules = [
        [
            json.loads(value or b"")["rule"]
            for place, writes in result.outputs.items()
            if place.topic == PIPELINE.scored
            for value in writes.values
        ]
        for result in results
    ]
    assert rules == [["blocked-customers", None], [None, None]]


def test_a_silent_replay_gives_the_same_state() -> None:
    stage = stage_of(NEXT)
    log = log_of([("blocked-customers", "c1", True), (1, 0), ("blocked-customers", "c1", False)])
    [read] = stage.read([RecordBatch(Partition(NEXT, 0), log)])
    stepped, replayed = stage.open_state(None), stage.open_state(None)
    assert stepped is not None
    assert replayed is not None
    stage.step([(read, stepped)], METER)
    stage.fold_only(read, replayed)
    assert stepped.snapshot()["lists"] == replayed.snapshot()["lists"]
    assert replayed.entries > stage.open_state(None).entries  # type: ignore[union-attr]


def test_lists_count_as_memory() -> None:
    stage = stage_of(NEXT)
    log = log_of([("blocked-customers", f"c{n}", True) for n in range(300)])
    [read] = stage.read([RecordBatch(Partition(NEXT, 0), log)])
    small = stage.open_state(None)
    assert small is not None
    bound = small.bytes + 100_000
    with pytest.raises(StateBudgetError, match="300 entities"):
        stage.fold_only(read, stage.open_state(bound))


def test_a_change_goes_into_every_partition_with_its_origin() -> None:
    stage = stage_of(LISTS)
    assert stage.reads_all
    [read] = stage.read(
        [RecordBatch(Partition(LISTS, 0), [listed(7, "blocked-customers", "c1", event_time=5)])]
    )
    # One that is dated ahead is not held back for longer than since it was written.
    assert read.progress.tolist() == [5]
    [result] = stage.step([(read, None)], METER)
    [(destination, writes)] = result.outputs.items()
    assert destination == Partition(NEXT, 0)
    assert writes.keys == [b"blocked-customers:c1"]
    cells = json.loads(writes.values[0] or b"")
    assert cells[1:5] == [3, LISTS, 0, 7]
    assert cells[18] == {
        "list": "blocked-customers",
        "entity": "c1",
        "listed": True,
        "reason": "",
        "event_time": 5,
    }


def test_what_is_no_change_is_a_dead_letter_and_stops_nothing() -> None:
    stage = stage_of(LISTS)
    records = [
        of_lists(0, b"blocked-customers:c1", b"{"),
        of_lists(1, b"blocked-customers:c1", None),
        listed(2, "blocked-customers", "c2", event_time=10**18),
    ]
    [read] = stage.read([RecordBatch(Partition(LISTS, 0), records)])
    assert [(bad.row, bad.code) for bad in read.bad] == [
        (0, "list_record_invalid"),
        (2, "list_record_invalid"),
    ]
    assert read.rows.tolist() == [1]


def test_a_change_that_holds_none_in_our_own_log_is_a_dead_letter_among_good_ones() -> None:
    stage = stage_of(NEXT)
    log = log_of([(0, 0), ("blocked-customers", "c1", True), (1, 0)])
    cells = json.loads(log[1].value)
    cells[18]["entity"] = 4
    log[1].value = json.dumps(cells).encode()
    [read] = stage.read([RecordBatch(Partition(NEXT, 0), log)])
    assert [(bad.row, bad.code) for bad in read.bad] == [(1, "list_record_invalid")]
    assert read.rows.tolist() == [0, 2]
