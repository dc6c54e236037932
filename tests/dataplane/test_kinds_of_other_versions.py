"""Candidates of a kind that is not declared here: of a later declaration, or of an earlier one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stream_infer.alerts.candidate import encode_candidates, kind_of, tick
from stream_infer.dataplane.alerting import AlertStage
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.settings.worker import WorkerSettings
from support.alerts import START, Log
from support.dataplane import PIPELINE
from support.kafka import acreate_topics, aproduce, unique

BEGAN_MS = START
assert PIPELINE.alerts is not None
DECLARED = PIPELINE.alerts.kinds[0].name


def stage(earlier: EarlierVersions | None) -> AlertStage:
    partitions = {spec.name: 1 for spec in pipeline_topics(PIPELINE)}
    settings = WorkerSettings(partitioning="trusted")
    [found] = [
        each
        for each in build_stages(
            Parts(compile_plan(PIPELINE), None, partitions, settings, earlier=earlier)
        )
        if isinstance(each, AlertStage)
    ]
    return found


def began() -> EarlierVersions:
    return EarlierVersions(BEGAN_MS)


def wire(offset: int, kind: str | None, written_ms: int = BEGAN_MS) -> Any:
    [value] = encode_candidates([tick(START) if kind is None else Log().at(0, 0.9, kind=kind)])
    return SimpleNamespace(
        offset=offset, timestamp=written_ms, timestamp_type=0, key=b"", value=value, headers=()
    )


def batch(*records: Any) -> RecordBatch:
    return RecordBatch(Partition("fraud.candidates", 0), records)


def test_a_kind_that_comes_up_afterwards_is_waited_for() -> None:
    with pytest.raises(StandstillError) as caught:
        stage(began()).read([batch(wire(6, DECLARED), wire(7, "new"))])
    assert (caught.value.code, caught.value.offset) == ("kind_later", 7)
    assert not caught.value.passes
    assert "'new'" in caught.value.message
    assert "Restart this worker" in caught.value.fix


def test_a_kind_that_was_there_before_the_process_began_is_a_dead_letter() -> None:
    of = stage(began())
    [read] = of.read([batch(wire(1, "old", BEGAN_MS - 1), wire(2, DECLARED))])
    assert [(bad.row, bad.code) for bad in read.bad] == [(0, "unknown_kind")]
    # And so is what workers that still run write of it.
    [read] = of.read([batch(wire(3, "old", BEGAN_MS + 9))])
    assert [bad.code for bad in read.bad] == ["unknown_kind"]


def test_what_the_log_holds_when_the_process_begins_is_earlier_whatever_its_clock_says() -> None:
    earlier = began()
    earlier.note_kinds([(wire(1, "old").value, -1), (None, -1), (b"{", -1), (b"[1,2]", -1)])
    assert earlier.kinds == {"old"}
    [read] = stage(earlier).read([batch(wire(1, "old", BEGAN_MS + 9))])
    assert [bad.code for bad in read.bad] == ["unknown_kind"]


def test_a_replay_passes_over_what_was_decided_before() -> None:
    [read] = stage(began()).read_silently([batch(wire(1, "new"), wire(2, DECLARED))])
    assert len(read.rows) == 1


def test_where_nobody_says_what_came_before_none_is_waited_for() -> None:
    [read] = stage(None).read([batch(wire(1, "new"))])
    assert [bad.code for bad in read.bad] == ["unknown_kind"]


def test_ticks_and_what_is_no_candidate_have_no_kind() -> None:
    values = [wire(0, None).value, None, b"", b"[]", b'[1,{"a":1},3]', b"\xff"]
    assert [kind_of(value) for value in values] == [None] * 6


@pytest.mark.kafka
async def test_the_last_records_of_the_log_are_looked_at_when_the_process_begins(
    kafka: str,
) -> None:
    log, between = unique("candidates"), unique("between")
    await acreate_topics(kafka, {log: 2, between: 1})
    later = Log().at(0, 0.9, kind="old")
    messages = [(b"k", value, 1, ()) for value in encode_candidates([later, tick(START)])]
    await aproduce(kafka, log, messages)
    await aproduce(kafka, between, [(b"k", b"no candidate", 0, ())])
    earlier = began()
    await earlier.look(Connection(bootstrap=kafka), [between], log)
    assert (earlier.kinds, earlier.known) == ({"old"}, set())
