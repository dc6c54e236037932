"""A partition's work, from its assignment to its end, with a fault at each step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from stream_infer.dataplane.alignment import AlignmentGroup
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.ranges import PartitionRanges
from stream_infer.dataplane.task import LIVE_WITHIN_MS, PartitionTask
from stream_infer.dataplane.together import StageWork
from stream_infer.errors import BrokerError
from support.dataplane import (
    NEXT,
    SOURCE,
    Around,
    FakeLog,
    assigned,
    customer_stage,
    record,
    senders_on,
)
from support.fake_kafka import FakeSender
from support.load import START_MS
from support.worker import until

FROM_ZERO = StartPoint(declared=0, replay_from=0, position=0, must_commit=False, end=0)


class Running:
    """A task that runs, what it sends with, and the ranges of what it was given."""

    def __init__(
        self,
        start: StartPoint = FROM_ZERO,
        log: FakeLog | None = None,
        group: AlignmentGroup | None = None,
    ) -> None:
        self.sender = FakeSender()
        self.around = Around(log)
        self.ranges = PartitionRanges(start.position)
        self.given: list[int] = []
        self.freed: list[int] = []
        senders = senders_on(assigned({SOURCE: start.position}, self._done), self.sender)
        self.task = PartitionTask(
            StageWork(customer_stage()),
            SOURCE,
            start,
            None,
            senders.of(SOURCE),
            group,
            self.around.surroundings,
        )
        self.runner = asyncio.create_task(self.task.run())

    def _done(self, _source: Partition, offset: int) -> None:
        if freed := self.ranges.complete_to(offset):
            self.freed.append(freed)

    def put(self, count: int, *bad: bytes) -> None:
        """Give it so many good records, and behind them some that are as given."""
        first = self.ranges.position
        records = [record(first + at) for at in range(count)]
        records += [record(first + count + at, value) for at, value in enumerate(bad)]
        batch = RecordBatch(SOURCE, records, self.ranges)
        self.ranges.open(batch.first, batch.last, batch.bytes)
        self.given.append(batch.bytes)
        self.task.put(batch)

    async def end(self) -> None:
        """Cancel the runner, as a revocation does."""
        self.runner.cancel()
        with suppress(asyncio.CancelledError, BrokerError):
            await self.runner


@asynccontextmanager
async def running(**options: object) -> AsyncIterator[Running]:
    made = Running(**options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.end()


async def test_a_batch_is_complete_only_when_its_outputs_are_acknowledged() -> None:
    async with running() as work:
        work.sender.answers.clear()
        work.put(5)
        await until(lambda: work.sender.under_way == 1)
        assert work.ranges.committable() is None
        assert work.freed == []
        work.sender.answers.set()
        await until(lambda: work.ranges.committable() == 5)
        assert work.freed == work.given
        assert work.sender.topics() == [NEXT] * 5


async def test_a_batch_of_bad_records_only_is_complete_when_its_dead_letters_are_written() -> None:
    async with running() as work:
        work.put(0, b"x", b"y")
        await until(lambda: work.ranges.committable() == 2)
        assert work.sender.topics() == ["dead-letters"] * 2


async def test_the_next_batch_is_sent_only_after_the_answer_to_the_one_before() -> None:
    """`FakeSender` fails the test when two deliveries overlap."""
    async with running() as work:
        work.sender.answers.clear()
        work.put(2)
        await until(lambda: work.sender.under_way == 1)
        work.put(3)
        work.put(1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert work.sender.calls == 1
        work.sender.answers.set()
        await until(lambda: work.ranges.committable() == 6)


async def test_closing_waits_for_what_is_being_sent_and_the_state_is_settled() -> None:
    async with running() as work:
        work.sender.answers.clear()
        work.put(4)
        await until(lambda: work.sender.under_way == 1)
        await work.end()
        closing = asyncio.create_task(work.task.close())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not closing.done()
        assert work.task.settled() is None
        work.sender.answers.set()
        await closing
        settled = work.task.settled()
        assert settled is not None
        assert settled[0] == 4 == work.ranges.committable()
        assert settled[1].entries == 4


async def test_an_abandoned_task_completes_nothing_and_has_no_state() -> None:
    async with running() as work:
        work.sender.answers.clear()
        work.put(4)
        await until(lambda: work.sender.under_way == 1)
        await work.end()
        await work.task.abandon()
        work.task.drop_queued()
        assert work.ranges.committable() is None
        assert work.task.settled() is None


async def test_what_is_queued_when_a_task_ends_is_let_go_and_not_complete() -> None:
    async with running() as work:
        work.sender.answers.clear()
        work.put(2)
        await until(lambda: work.sender.under_way == 1)
        work.put(3)
        await until(lambda: not work.task._queue)  # read and folded; waits for the answer
        work.put(4)
        await work.end()
        work.sender.answers.set()
        await work.task.close()
        work.task.drop_queued()
        assert work.ranges.committable() == 2
        assert work.freed == work.given[:1]
        # Two steps were folded and one was acknowledged: this state is no fold of 2 records.
        assert work.task.settled() is None


async def test_whenever_a_task_is_cancelled_its_settled_state_is_the_fold_to_its_offset() -> None:
    """Above all while a batch that was read waits for its turn to be folded."""
    seen: set[tuple[bool, bool, int | None]] = set()
    for turns in range(20):
        async with running() as work:
            work.put(3)
            for _ in range(turns):
                await asyncio.sleep(0)
            opened = work.task.state is not None
            await work.end()
            await work.task.close()
            settled = work.task.settled()
            if settled is not None:
                assert settled[0] == settled[1].entries
            seen.add((opened, work.task._reading is not None, settled and settled[0]))
    assert (True, True, 0) in seen, "what was read and not folded leaves the state as it was"
    assert (True, False, 3) in seen
    # Cancelled after the fold, before its result was taken: this state is ahead of its offset.
    assert sum(opened and offset is None for opened, _, offset in seen) <= 1


async def test_a_task_held_in_the_middle_of_a_batch_is_settled_and_done_up_to_there() -> None:
    """Half of the batch is done; the rest waits for another partition of the group."""
    other = Partition(SOURCE.topic, 1)
    group = AlignmentGroup(skew_ms=120_000)
    group.assign([SOURCE, other])
    group.set_head(other, record(0).timestamp)
    async with running(group=group) as work:
        work.put(6)
        await until(lambda: len(work.sender.delivered) == 3)  # up to the skew of two minutes
        await work.end()
        await work.task.close()
        settled = work.task.settled()
        assert settled is not None
        assert (settled[0], settled[1].entries) == (3, 3)
        assert work.ranges.committable() == 3
        assert work.freed == [], "the records behind are still held"


async def test_a_breach_of_the_alignment_is_told_at_most_once_a_minute() -> None:
    """Each batch stands still for 6 s, a second more than the patience, and goes on."""
    other = Partition(SOURCE.topic, 1)
    group = AlignmentGroup(skew_ms=60_000)
    group.assign([SOURCE, other])
    group.set_head(other, 0)
    now = 0.0

    async def stand_still() -> None:
        nonlocal now
        now += 6.0
        await asyncio.sleep(0)

    with structlog.testing.capture_logs() as logs:
        async with running(group=group) as work:
            work.around.surroundings.seconds = lambda: now
            work.around.surroundings.wait_progress = stand_still
            for done in range(1, 12):
                work.put(1)
                await until(lambda: work.ranges.committable() == done)  # noqa: B023 - used at once
            assert work.task.counters.align_breaches == 11  # at 6, 12, ... 66 s
    assert (
        logs
        == [
            {
                "event": "alignment_breached",
                "log_level": "warning",
                "source": str(SOURCE),
                "held_by": str(other),
            }
        ]
        * 2
    )


async def test_what_may_not_be_written_ends_the_task_even_when_nothing_more_comes() -> None:
    async with running() as work:
        work.sender.fails = BrokerError("write_forbidden", "no")
        work.put(1)
        with pytest.raises(BrokerError, match="no"):
            await work.runner
        assert work.ranges.committable() is None
        assert work.task.settled() is None


async def test_a_restore_folds_the_log_silently_up_to_the_committed_offset() -> None:
    start = StartPoint(declared=2, replay_from=2, position=9, must_commit=False, end=12)
    log = FakeLog(12)
    async with running(start=start, log=log) as work:
        work.put(3)
        await until(lambda: work.ranges.committable() == 12)
        assert log.replayed == [(2, 9)]
        assert work.sender.topics() == [NEXT] * 3
        assert work.task.state is not None
        assert work.task.state.entries == 10


async def test_batches_that_come_while_the_state_is_restored_wait_for_it() -> None:
    go_on = asyncio.Event()

    class SlowLog(FakeLog):
        async def replay(self, *args: object) -> None:
            await go_on.wait()
            await super().replay(*args)  # type: ignore[arg-type]

    start = StartPoint(declared=0, replay_from=0, position=5, must_commit=False, end=8)
    async with running(start=start, log=SlowLog(8)) as work:
        work.put(3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert work.sender.calls == 0
        await work.end()
        assert work.task.settled() is None, "a state that is half restored is no state"


async def test_a_restored_task_without_new_records_is_settled_where_it_stands() -> None:
    start = StartPoint(declared=0, replay_from=0, position=5, must_commit=False, end=5)
    async with running(start=start, log=FakeLog(5)) as work:
        await until(lambda: work.task.phase.value == "running")
        settled = work.task.settled()
        assert settled is not None
        assert (settled[0], settled[1].entries) == (5, 5)


async def test_a_refused_output_becomes_a_dead_letter_and_the_batch_is_complete() -> None:
    async with running() as work:
        work.sender.refuses = lambda topic, value: topic == NEXT and b'"t1"' in (value or b"")
        work.put(3)
        await until(lambda: work.ranges.committable() == 3)
        assert work.sender.topics() == [NEXT, NEXT, "dead-letters"]
        assert work.sender.delivered[-1][1] == record(1).value
        assert work.sender.headers[-1]["si-error-code"] == b"output_refused"


async def test_a_refused_dead_letter_becomes_a_stub_with_the_cause_of_the_record() -> None:
    async with running() as work:
        work.sender.refuses = lambda topic, value: len(value or b"") > 100_000
        work.put(1, b"[" * 200_000)
        await until(lambda: work.ranges.committable() == 2)
        assert work.sender.topics() == [NEXT, "dead-letters"]
        headers = work.sender.headers[-1]
        assert (headers["si-stub"], headers["si-original-size"]) == (b"1", b"200000")
        assert headers["si-error-code"] == b"too_deep"
        assert work.task.counters.dead_letters == 1


async def test_a_refused_stub_stops_the_worker_and_commits_nothing() -> None:
    async with running() as work:
        work.sender.refuses = lambda topic, _value: topic == "dead-letters"
        work.put(1, b"not json")
        with pytest.raises(BrokerError) as caught:
            await work.runner
        assert "max.message.bytes" in caught.value.fix
        assert work.ranges.committable() is None


async def test_an_idle_log_tells_its_clock_but_not_behind_old_data() -> None:
    async with running() as work:
        assert work.task.idle_clock() is None
        work.put(3)
        await until(lambda: work.ranges.committable() == 3)
        assert work.task.idle_clock() == (START_MS + 2 * 60_000, 0.0)
        work.around.surroundings.lived = lambda: 5.0
        assert work.task.idle_clock() == (START_MS + 2 * 60_000, 5.0)
        old = record(3)
        old.timestamp += LIVE_WITHIN_MS + 1
        work.ranges.open(3, 3)
        work.task.put(RecordBatch(SOURCE, [old], work.ranges))
        await until(lambda: work.ranges.committable() == 4)
        assert work.task.idle_clock() is None
