"""Records between stages that another version wrote: read, waited for, or read without features."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.lifecycle import Phase
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.readers import InternalReader
from stream_infer.dataplane.stage import FeatureStage
from stream_infer.dataplane.standstill import StandstillError, run_or_stand_still
from stream_infer.dataplane.task import PartitionTask
from stream_infer.dataplane.together import StageWork, Together
from stream_infer.errors import ConflictError
from stream_infer.events import internal
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.observability.facts import PartitionFacts
from stream_infer.observability.health import HealthLimits, _hindrances
from stream_infer.observability.meter import StageMeter
from stream_infer.settings.worker import WorkerSettings
from support.dataplane import NEXT, PIPELINE, Around, assigned, record, senders_on
from support.fake_kafka import FakeSender
from support.load import START_MS
from support.plane_facts import busy_facts

TERMINAL = Partition(NEXT, 0)
PLAN = compile_plan(PIPELINE)
EVENTS = PIPELINE.events
VERSION = PLAN.stages[0].features_version
COUNT = len(PLAN.stages[0].names)
BEGAN_MS = START_MS + 1_000
FROZEN = (
    b'[1,0,"transactions",0,7,null,-1,-1,1735689600000,"t7",["c0","m0"],[1234],'
    b'[1.0,2.0,3.0,1234.0,0.5,null,1.0,12.34],false,-1,-1,0,"%s",null]'
)
"""An event as version 1 of the schema wrote it, byte for byte; it stays here when 2 comes."""


def wire(offset: int, version: str = VERSION, written_ms: int = BEGAN_MS, **cells: Any) -> Any:
    """Return a record between the stages, whose features are all 1."""
    [columns] = _first().read([RecordBatch(Partition(EVENTS.topic, 0), [record(offset)])])
    [value] = encode_internal(
        columns.columns,
        EVENTS.topic,
        np.zeros(1, np.int64),
        np.array([offset]),
        np.ones((1, cells.get("count", COUNT))),
        version,
        EVENTS,
    )
    if "schema" in cells:
        value = b"[%d" % cells["schema"] + value[2:]
    return SimpleNamespace(
        offset=offset, timestamp=written_ms, timestamp_type=0, key=b"", value=value, headers=()
    )


def stages(earlier: EarlierVersions | None) -> list[Any]:
    partitions = {spec.name: 1 for spec in pipeline_topics(PIPELINE)}
    settings = WorkerSettings(partitioning="trusted")
    return build_stages(Parts(PLAN, None, partitions, settings, earlier=earlier))


def _first() -> Any:
    return next(each for each in stages(None) if each.topic == EVENTS.topic)


def second(earlier: EarlierVersions | None = None) -> FeatureStage:
    return next(s for s in stages(earlier) if s.topic == NEXT and isinstance(s, FeatureStage))


def began() -> EarlierVersions:
    return EarlierVersions(BEGAN_MS)


def batch(*records: Any) -> RecordBatch:
    return RecordBatch(TERMINAL, records)


def test_version_1_of_the_schema_is_read_as_it_was_written() -> None:
    value = FROZEN % VERSION.encode()
    decoded = InternalDecoder(EVENTS, VERSION, COUNT).decode([value])
    assert decoded.bad == []
    columns = decoded.columns
    assert (columns.ids, columns.source_offset.tolist()) == (["t7"], [7])
    assert columns.features[0, :4].tolist() == [1.0, 2.0, 3.0, 1234.0]
    assert np.isnan(columns.features[0, 5])


def test_the_version_before_is_read_when_there_is_a_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert internal.SCHEMA_VERSIONS_READ[-1] == internal.SCHEMA_VERSION
    assert set(internal.SCHEMA_VERSIONS_READ) <= {1, 2}  # then keep a record of version 2 as well
    decode = InternalDecoder(EVENTS, VERSION, COUNT).decode
    later = FROZEN.replace(b"[1,", b"[%d," % (internal.SCHEMA_VERSION + 1)) % VERSION.encode()
    assert [bad.code for bad in decode([later]).bad] == ["schema_version_later"]
    monkeypatch.setattr(internal, "SCHEMA_VERSION", internal.SCHEMA_VERSION + 1)
    assert [bad.code for bad in decode([b"[0]"]).bad] == ["schema_version_unknown"]


def test_a_record_of_a_later_schema_is_no_dead_letter_but_waited_for() -> None:
    with pytest.raises(StandstillError) as caught:
        second(began()).read([batch(wire(4), wire(5, schema=2))])
    assert (caught.value.code, caught.value.offset) == ("schema_version_later", 5)
    assert not caught.value.passes
    with pytest.raises(StandstillError):
        second(began()).read_silently([batch(wire(5, schema=2))])
    alerts = stages(None)[-1]
    later = SimpleNamespace(offset=3, timestamp=0, value=b'[2,"x"]', headers=())
    with pytest.raises(StandstillError) as caught:
        alerts.read([RecordBatch(Partition(alerts.topic, 0), [later])])
    assert (caught.value.code, caught.value.offset) == ("schema_version_later", 3)


def test_what_stood_in_the_log_when_the_process_began_is_scored_without_those_features() -> None:
    stage, state = second(began()), None
    with capture_logs() as logs:
        [read] = stage.read([batch(wire(1), wire(2, "before", BEGAN_MS - 1, count=3))])
    assert read.bad == []
    assert np.isnan(read.columns.features[1]).all()
    assert (read.columns.features[0] == 1).all()
    assert [line["event"] for line in logs] == ["features_versions_before"]
    # Also what its workers still write: the version is known by now.
    [read] = stage.read([batch(wire(3, "before", BEGAN_MS + 9_999))])
    assert np.isnan(read.columns.features[0]).all()
    state = stage.open_state(None)
    [result] = stage.step([(read, state)], StageMeter())
    assert result.emitted.scored == 1
    assert state is not None
    assert state.entries == 1


def test_what_appears_afterwards_is_waited_for_and_folded_all_the_same() -> None:
    stage = second(began())
    with pytest.raises(StandstillError) as caught:
        stage.read([batch(wire(1), wire(2, "after"))])
    assert (caught.value.code, caught.value.offset) == ("features_version_mismatch", 2)
    [read] = stage.read_silently([batch(wire(1), wire(2, "after"))])
    assert len(read.rows) == 2
    same = [batch(wire(1), wire(2))]
    one, two = stage.open_state(None), stage.open_state(None)
    stage.fold_only(read, one)
    stage.fold_only(stage.read(same)[0], two)
    assert one is not None
    assert two is not None
    assert one.snapshot() == two.snapshot()


def test_events_of_other_fields_are_never_taken_for_bad_ones() -> None:
    other = wire(2, "before", BEGAN_MS - 1)
    other.value = other.value.replace(b'["c0",', b'["c0","x",')
    assert b'"x"' in other.value
    for read in (second(began()).read, second(began()).read_silently):
        with pytest.raises(StandstillError) as caught:
            read([batch(wire(1), other)])
        assert caught.value.code == "features_version_mismatch"


def test_a_stage_that_folds_features_takes_none_of_another_version() -> None:
    decoder = InternalDecoder(EVENTS, VERSION, COUNT)
    reader = InternalReader(decoder, began(), folds_features=True)
    for read in (reader.read, reader.read_silently):
        with pytest.raises(StandstillError):
            read([batch(wire(2, "before", BEGAN_MS - 1))])


def test_where_nobody_says_what_came_before_every_other_version_is_refused() -> None:
    with pytest.raises(ConflictError):
        second(None).read([batch(wire(2, "before", BEGAN_MS - 1))])


class Rig:
    """A task of the second stage."""

    def __init__(self, work: StageWork, position: int = 0) -> None:
        start = StartPoint(0, position, position, must_commit=False, end=position)
        about = assigned({TERMINAL: position}, lambda _partition, _offset: None)
        sender = senders_on(about, FakeSender()).of(TERMINAL)
        self.task = PartitionTask(work, TERMINAL, start, None, sender, None, Around().surroundings)


async def test_a_partition_does_what_it_can_and_stands_still_there_until_it_is_revoked() -> None:
    rig = Rig(StageWork(second(began())))
    rig.task.put(batch(wire(1), wire(2), wire(3, "after"), wire(4)))
    with capture_logs() as logs:
        running = asyncio.create_task(run_or_stand_still(rig.task))
        async with asyncio.timeout(30):
            while rig.task.waits_for is None:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0)
    assert rig.task.position == 3
    assert rig.task.phase is Phase.RUNNING
    settled = rig.task.settled()
    assert settled is not None
    assert settled[0] == 3
    [said] = [line for line in logs if line["event"] == "partition_stands_still"]
    assert said["code"] == "features_version_mismatch"
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    await rig.task.close()
    assert str(rig.task.phase) == str(Phase.CLOSED)


async def test_what_passes_is_tried_again() -> None:
    tries = []

    class Passing:
        source, waits_for = TERMINAL, None

        async def run(self) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise StandstillError("base_missing", "gone", "build it", passes=True)

    task: Any = Passing()
    with capture_logs() as logs:
        await run_or_stand_still(task, again_s=0)
    assert len(tries) == 3
    assert len(logs) == 1


async def test_other_partitions_that_are_read_in_the_same_call_go_on() -> None:
    def do(jobs: Any) -> list[int]:
        if -1 in jobs:
            raise StandstillError("x", "y", "z")
        return [job * 2 for job in jobs]

    together = Together[int, int](do, lambda _job: 1, repeats=True)
    answers = await asyncio.gather(*map(together.ask, (1, -1, 3)), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], StandstillError)


def test_a_worker_that_stands_still_is_not_ready_and_says_why() -> None:
    standing = PartitionFacts(
        stage="terminal", topic=NEXT, partition=0, phase="running", waits_for="base_missing"
    )
    reasons = list(
        _hindrances(dataclasses.replace(busy_facts(), partitions=(standing,)), 0.0, HealthLimits())
    )
    assert [reason.code for reason in reasons] == ["base_missing"]
    assert standing.name in reasons[0].message
