"""A partition that is given up and comes back: its state is kept only where it is surely right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka.errors import CommitFailedError

from stream_infer.dataplane import ledger as ledgers
from stream_infer.dataplane import plane as planes
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.lifecycle import Phase
from stream_infer.dataplane.offsets import StartPoint
from support.dataplane import SOURCE, FakeLog, PlaneOnFakes, record
from support.fake_kafka import FakeSender
from support.worker import until


@asynccontextmanager
async def assigned(position: int = 0) -> AsyncIterator[PlaneOnFakes]:
    fakes = PlaneOnFakes(FakeLog(100))
    fakes.committed = position
    await assign(fakes)
    try:
        yield fakes
    finally:
        fakes.sender.answers.set()
        await fakes.plane.revoke()
        assert fakes.failures == []


async def assign(fakes: PlaneOnFakes, declared: int = 0) -> None:
    """Assign the partition where it was committed."""
    at = fakes.committed
    await fakes.plane.assign(
        {SOURCE: StartPoint(declared, declared, at, must_commit=False, end=at)}
    )


def deliver(fakes: PlaneOnFakes, first: int, count: int) -> RecordBatch:
    """Let the consumer fetch and the agent hand over a batch."""
    [batch] = fakes.plane.open(SOURCE, [record(first + at) for at in range(count)])
    fakes.plane.accept([batch])
    return batch


async def done(fakes: PlaneOnFakes, count: int) -> None:
    task = fakes.plane.tasks[SOURCE]
    await until(
        lambda: task.counters.events == count and fakes.plane.ledger.budget.held == 0, patience_s=20
    )


async def test_what_was_done_is_committed_and_its_state_kept() -> None:
    async with assigned() as fakes:
        deliver(fakes, 0, 6)
        await done(fakes, 6)
        await fakes.plane.revoke()
        assert fakes.committed == 6
        await assign(fakes)
        deliver(fakes, 6, 2)
        await done(fakes, 2)
        assert fakes.log.replayed == []
        state = fakes.plane.tasks[SOURCE].state
        assert state is not None
        assert state.entries == 8


async def test_what_another_worker_has_done_meanwhile_is_replayed_and_no_more() -> None:
    async with assigned() as fakes:
        deliver(fakes, 0, 6)
        await done(fakes, 6)
        await fakes.plane.revoke()
        fakes.committed = 10
        await assign(fakes)
        deliver(fakes, 10, 1)
        await done(fakes, 1)
        assert fakes.log.replayed == [(6, 10)]
        state = fakes.plane.tasks[SOURCE].state
        assert state is not None
        assert state.entries == 11


async def test_a_state_beyond_what_is_committed_is_dropped() -> None:
    """The commit was refused: another owner may have begun at the old offset."""
    async with assigned() as fakes:
        deliver(fakes, 0, 6)
        await done(fakes, 6)
        fakes.refuse_commits = CommitFailedError()
        await fakes.plane.revoke()
        fakes.refuse_commits = None
        await assign(fakes)
        deliver(fakes, 0, 6)
        await done(fakes, 6)
        state = fakes.plane.tasks[SOURCE].state
        assert state is not None
        assert state.entries == 6


async def test_a_state_ahead_of_where_the_partition_comes_back_is_dropped() -> None:
    """Somebody reset the group's offset."""
    async with assigned() as fakes:
        deliver(fakes, 0, 6)
        await done(fakes, 6)
        await fakes.plane.revoke()
        fakes.committed = 4
        await assign(fakes)
        deliver(fakes, 4, 2)
        await done(fakes, 2)
        assert fakes.log.replayed == [(0, 4)]
        state = fakes.plane.tasks[SOURCE].state
        assert state is not None
        assert state.entries == 6


async def test_outputs_that_are_not_acknowledged_in_time_are_given_up_with_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planes, "revoke_seconds", lambda: 0.1)
    async with assigned() as fakes:
        deliver(fakes, 0, 3)
        await done(fakes, 3)
        await fakes.plane.ledger.commit()
        fakes.sender.answers.clear()
        deliver(fakes, 3, 3)
        await until(lambda: fakes.sender.under_way == 1)
        await fakes.plane.revoke()
        assert fakes.committed == 3
        fakes.sender.answers.set()
        await assign(fakes)
        deliver(fakes, 3, 3)
        await done(fakes, 3)
        assert fakes.log.replayed == [(0, 3)]


async def test_outputs_that_are_acknowledged_in_time_are_committed() -> None:
    async with assigned() as fakes:
        fakes.sender.answers.clear()
        deliver(fakes, 0, 3)
        await until(lambda: fakes.sender.under_way == 1)
        revoking = asyncio.create_task(fakes.plane.revoke())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not revoking.done()
        fakes.sender.answers.set()
        await revoking
        assert fakes.committed == 3


async def test_a_batch_that_was_fetched_before_the_partition_was_given_up_is_not_worked_on() -> (
    None
):
    """It comes again: the consumer seeks to the position of the new assignment."""
    async with assigned() as fakes:
        [stale] = fakes.plane.open(SOURCE, [record(offset) for offset in range(3)])
        await fakes.plane.revoke()
        fakes.plane.accept([stale])
        await assign(fakes)
        fakes.plane.accept([stale])
        deliver(fakes, 0, 3)
        await done(fakes, 3)
        assert len(fakes.sender.delivered) == 3


async def test_a_fetch_that_goes_on_after_the_partition_was_given_up_yields_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledgers, "BATCH_ROWS_MAX", 2)
    async with assigned() as fakes:
        fetched = iter(fakes.plane.open(SOURCE, [record(offset) for offset in range(6)]))
        fakes.plane.accept([next(fetched)])
        await fakes.plane.revoke()
        await assign(fakes)
        assert list(fetched) == []
        assert fakes.plane.ledger.budget.held == 0
        assert fakes.plane.ledger.positions() == {SOURCE: 0}


async def test_a_task_that_is_held_ends_even_if_others_move_on_at_that_very_moment() -> None:
    """`asyncio.wait_for` of Python 3.11 takes no cancellation when what it waits for is done."""
    async with assigned() as fakes:
        await fakes.plane.revoke()
        unread = StartPoint(0, 0, 0, must_commit=False, end=5)
        other = Partition(SOURCE.topic, 1)
        await fakes.plane.assign({SOURCE: unread, other: unread})
        deliver(fakes, 0, 3)
        held = fakes.plane.tasks[SOURCE]
        await until(lambda: held.counters.align_waits > 0)
        async with asyncio.timeout(20):
            fakes.plane._progress.set()
            await fakes.plane.revoke()
        assert held.phase is Phase.CLOSED
        assert fakes.committed == 0


async def test_a_task_whose_end_a_client_swallows_is_ended_again() -> None:
    """A cancellation that comes while a Kafka client starts may get lost inside the client."""
    starting = asyncio.Event()

    class Swallowing(FakeSender):
        async def start(self) -> None:
            starting.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with assigned() as fakes:
        await fakes.plane.revoke()
        fakes.sender = Swallowing()
        await assign(fakes)
        await starting.wait()
        async with asyncio.timeout(20):
            await fakes.plane.revoke()
        assert fakes.plane.tasks == {}


async def test_a_partition_without_a_task_has_no_room() -> None:
    async with assigned() as fakes:
        assert fakes.plane.has_room(SOURCE)
        await fakes.plane.revoke()
        assert not fakes.plane.has_room(SOURCE)
        assert fakes.plane.has_room(("somebody-elses", 0))
