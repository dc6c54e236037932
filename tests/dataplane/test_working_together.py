"""Batches of several partitions that come at once are read and emitted in one call each."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence

from stream_infer.dataplane.batch import ALONE_ROWS, Partition, RecordBatch
from stream_infer.dataplane.stage import Emitted, Parts, StepResult
from stream_infer.dataplane.together import StageWork, Together
from stream_infer.observability.meter import StageMeter
from support.dataplane import PIPELINE, SOURCE, customer_stage, feature_stages, record

METER = StageMeter()


def batch(partition: int, first: int, *bad_at: int, count: int = 5) -> RecordBatch:
    """Return records of a partition; each partition has customers of its own."""
    records = [
        record(first + at, b"{" if at in bad_at else None, customer_id=f"c{partition}-{at % 3}")
        for at in range(count)
    ]
    return RecordBatch(Partition(SOURCE.topic, partition), records)


def written(result: StepResult) -> dict[Partition, list[tuple[object, ...]]]:
    return {
        destination: list(zip(writes.keys, writes.values, writes.rows, strict=True))
        for destination, writes in result.outputs.items()
    }


def test_what_is_read_and_emitted_together_is_what_each_partition_alone_gives() -> None:
    stage = customer_stage()
    rounds = [
        [batch(0, 0), batch(1, 70, 1, 3), batch(2, 40, 0)],
        [batch(1, 75), batch(0, 5, 4), batch(2, 45, *range(5))],
    ]
    alone = {partition: stage.open_state(None) for partition in range(3)}
    together = {partition: stage.open_state(None) for partition in range(3)}
    for batches in rounds:
        expected = []
        for each in batches:
            [read] = stage.reader.read([each])
            [result] = stage.step([(read, alone[each.source.partition])], METER)
            expected.append(result)
        reads = stage.reader.read(batches)
        results = stage.step(
            [(read, together[read.batch.source.partition]) for read in reads], METER
        )
        for found, wanted in zip(results, expected, strict=True):
            assert written(found) == written(wanted)
            assert dataclasses.replace(found, outputs=wanted.outputs) == wanted
    for partition, state in together.items():
        other = alone[partition]
        assert state is not None
        assert other is not None
        assert state.snapshot() == other.snapshot()


def test_repeats_in_one_partition_leave_the_outputs_of_the_others_as_they_are() -> None:
    """The second stage ignores origins it has folded; rows of its neighbours do not shift."""
    first, second = customer_stage(), feature_stages()[1]
    internal: list[bytes] = []
    [read] = first.reader.read([batch(0, 0, count=6)])
    for destination, writes in first.step([(read, first.open_state(None))], METER)[
        0
    ].outputs.items():
        assert destination.topic == second.topic
        internal += [value for value in writes.values if value is not None]

    def part(partition: int, first_offset: int, values: Sequence[bytes]) -> RecordBatch:
        records = [record(first_offset + at, value) for at, value in enumerate(values)]
        return RecordBatch(Partition(second.topic, partition), records)

    states = {0: second.open_state(None), 1: second.open_state(None)}
    [read] = second.reader.read([part(0, 0, internal[:3])])
    second.step([(read, states[0])], METER)
    reads = second.reader.read([part(0, 3, internal[1:4]), part(1, 0, internal[4:])])
    repeated, fresh = second.step([(read, states[at]) for at, read in enumerate(reads)], METER)
    assert repeated.ignored == 2
    assert ids(repeated) == ["t3"]
    assert ids(fresh) == ["t4", "t5"]


def ids(result: StepResult) -> list[str]:
    return [
        json.loads(value)["transaction_id"]
        for destination, writes in result.outputs.items()
        if destination.topic == PIPELINE.scored
        for value in writes.values
        if value is not None
    ]


class Calls:
    """Jobs are numbers of rows; remembers what was done in one call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.fails = False
        self.together = Together[int, int](self._do, lambda job: job)

    def _do(self, jobs: Sequence[int]) -> list[int]:
        self.calls.append(list(jobs))
        if self.fails:
            raise ValueError("cannot")
        return [10 * job for job in jobs]


async def test_jobs_of_one_turn_are_one_call_and_each_gets_its_own_answer() -> None:
    work = Calls()
    assert await asyncio.gather(*(work.together.ask(job) for job in (3, 1, 2))) == [30, 10, 20]
    assert work.calls == [[3, 1, 2]]


async def test_a_call_holds_no_more_rows_than_one_batch() -> None:
    work = Calls()
    jobs = [ALONE_ROWS - 1] * 6
    await asyncio.gather(*(work.together.ask(job) for job in jobs))
    assert [len(call) for call in work.calls] == [4, 2]


async def test_a_large_job_waits_for_nobody() -> None:
    work = Calls()
    small = asyncio.create_task(work.together.ask(1))
    await asyncio.sleep(0)
    assert await work.together.ask(ALONE_ROWS) == 10 * ALONE_ROWS
    assert work.calls == [[ALONE_ROWS]]
    await small


async def test_a_job_whose_caller_was_cancelled_is_not_done() -> None:
    work = Calls()
    gone, stays = (asyncio.create_task(work.together.ask(job)) for job in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 20
    assert work.calls == [[2]]


async def test_an_error_reaches_everyone_who_asked() -> None:
    work = Calls()
    work.fails = True
    answers = await asyncio.gather(
        work.together.ask(1), work.together.ask(2), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [ValueError, ValueError]
    work.fails = False
    assert await work.together.ask(1) == 10


async def test_tasks_that_step_at_the_same_time_emit_once() -> None:
    stage = customer_stage()
    emitted: list[int] = []

    class Counting:
        def emit(self, parts: Parts, meter: StageMeter) -> list[Emitted]:
            emitted.append(len(parts))
            return stage.emitter.emit(parts, meter)

    work = StageWork(dataclasses.replace(stage, emitter=Counting()))

    async def one(partition: int) -> StepResult:
        read = await work.read(batch(partition, 0))
        return await work.step(read, stage.open_state(None), lambda: None)

    results = await asyncio.gather(*(one(partition) for partition in range(4)))
    assert emitted == [4]
    assert [result.events for result in results] == [5] * 4
