"""What a stage wrote for another is handed on exactly as a fetch would bring it, or fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.dataplane import handing_on
from stream_infer.dataplane.batch import ALONE_ROWS, Partition
from stream_infer.dataplane.beat import Fed
from stream_infer.dataplane.fetching import Fetches
from stream_infer.dataplane.handing_on import MUCH_SECONDS, HandingOn
from stream_infer.records.run import RecordRun

READ = TopicPartition("by-terminal", 0)
LOG = Partition(*READ)
ELSEWHERE = Partition("scored", 0)


class Fetched:
    """What aiokafka makes of an answer, as far as its fetcher looks at it."""

    def __init__(self, start: int, run: RecordRun) -> None:
        self.next_fetch_offset = start
        self._runs = iter([run])
        self._end = start + len(run)

    def __iter__(self) -> Iterator[RecordRun]:
        return self

    def __next__(self) -> RecordRun:
        run = next(self._runs)
        self.next_fetch_offset = self._end
        return run


class Client:
    """A log, and a client that reads it by aiokafka's own code; answers come when a test says.

    taken  (offset, value) of each record that it handed out
    """

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.taken: list[tuple[int, bytes | None]] = []
        self.fed = Fed()
        self.fed.topics = frozenset({READ.topic})
        self.now_s = 0.0
        self.handing_on = HandingOn(self.fed, lambda: self.now_s)
        self._subscriptions = SubscriptionState()
        self._subscriptions.assign_from_user({READ})
        self.assignment = self._subscriptions.subscription.assignment
        self._subscriptions.seek(READ, 0)
        self._records = Fetches(
            lambda _topic: False, cast("Any", None), lambda _tp, *, is_full: None
        )
        self._fetch_waiters: set[Any] = set()
        self._wait_consume_future = asyncio.get_running_loop().create_future()
        self._closed = False
        self._asked_at: int | None = None
        self.handing_on.attach(self, self._records)

    def _notify(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    @property
    def position(self) -> int:
        position: int = self.assignment.state_value(READ).position
        return position

    def seek(self, offset: int) -> None:
        self._subscriptions.seek(READ, offset)

    def write(self, *values: bytes) -> RecordRun:
        """Write to the log; return what was written as it stands there."""
        first = len(self.log)
        self.log += values
        return RecordRun.written(first, 7, [b"m1"] * len(values), list(values), [()] * len(values))

    def ask(self) -> None:
        """Ask for what follows, unless something is untaken."""
        self.handing_on.look_again()
        if READ not in self._records:
            self._asked_at = self.position

    def answer(self) -> None:
        """Have the last fetch answered with all that there is by now."""
        start, self._asked_at = self._asked_at, None
        # As aiokafka has it: what does not begin where it has come to is dropped.
        if start is None or start != self.position or start == len(self.log):
            return
        values: list[bytes | None] = list(self.log[start:])
        run = RecordRun.written(start, 7, [b"m1"] * len(values), values, [()] * len(values))
        fetched = FetchResult(
            READ, assignment=self.assignment, partition_records=Fetched(start, run), backoff=0.0
        )
        self._records[READ] = fetched

    def fetch(self) -> None:
        self.ask()
        self.answer()

    async def take(self) -> list[RecordRun]:
        """Take what was fetched or handed on."""
        found = await Fetcher.fetched_records(cast("Any", self), [READ])
        runs: list[RecordRun] = found.get(READ, [])
        for run in runs:
            self.taken += zip(run.offsets.tolist(), run.values, strict=True)
        return runs

    def is_to_be_fetched(self) -> bool:
        """Say whether the fetcher is told to ask at once."""
        self.fed.tell_readable()
        return self.fed.is_readable


def hand_on(client: Client, *runs: RecordRun) -> None:
    """Have writes of one wave answered."""
    with client.handing_on.wave({LOG: 1}):
        for run in runs:
            client.handing_on.wrote(LOG, run)


async def test_what_was_written_is_taken_as_if_it_was_fetched() -> None:
    client = Client()
    hand_on(client, client.write(b"a", b"b"))
    [run] = await client.take()
    assert [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in run] == [
        (0, 7, 0, b"m1", b"a", ()),
        (1, 7, 0, b"m1", b"b", ()),
    ]
    assert client.position == 2
    assert not client.is_to_be_fetched()


async def test_who_waits_for_records_is_woken() -> None:
    client = Client()
    waiter = asyncio.get_running_loop().create_future()
    client._fetch_waiters.add(waiter)
    hand_on(client, client.write(b"a"))
    assert waiter.done()


async def test_a_stage_reads_what_two_others_wrote_in_one_cycle_together_and_in_order() -> None:
    client = Client()
    with client.handing_on.wave({LOG: 1}):
        payments = client.write(b"p0", b"p1")
        with client.handing_on.wave({LOG: 1, ELSEWHERE: 1}):
            client.handing_on.wrote(LOG, client.write(b"l2"))
        assert await client.take() == [], "the payments before it are not answered yet"
        client.handing_on.wrote(LOG, payments)
    [run] = await client.take()
    assert list(run.values) == [b"p0", b"p1", b"l2"]
    assert not client.is_to_be_fetched()


async def test_behind_what_another_worker_wrote_it_is_fetched_at_once() -> None:
    client = Client()
    client.write(b"another's")
    hand_on(client, client.write(b"ours"))
    assert client.is_to_be_fetched()
    assert await client.take() == []
    client.fetch()
    await client.take()
    assert client.taken == [(0, b"another's"), (1, b"ours")]


async def test_behind_what_was_fetched_and_not_taken_it_is_handed_on_later() -> None:
    client = Client()
    client.write(b"another's")
    client.fetch()
    hand_on(client, client.write(b"ours"))
    await client.take()
    assert client.taken == [(0, b"another's")]
    client.ask()
    await client.take()
    assert client.taken == [(0, b"another's"), (1, b"ours")]


async def test_what_a_fetch_brings_too_is_taken_once() -> None:
    client = Client()
    client.ask()
    hand_on(client, client.write(b"a"))
    client.answer()
    await client.take()
    assert client.taken == [(0, b"a")]

    client.ask()
    hand_on(client, client.write(b"b"))
    await client.take()
    client.answer()
    assert await client.take() == []
    assert client.taken == [(0, b"a"), (1, b"b")]


async def test_a_client_that_was_sought_elsewhere_does_not_take_it() -> None:
    client = Client()
    hand_on(client, client.write(b"a"))
    await client.take()
    hand_on(client, client.write(b"b"))
    client.seek(0)
    assert await client.take() == []
    client.fetch()
    await client.take()
    assert client.taken == [(0, b"a"), (0, b"a"), (1, b"b")]


async def test_where_there_is_much_to_write_even_little_is_fetched() -> None:
    client = Client()
    with client.handing_on.wave({ELSEWHERE: ALONE_ROWS}) as is_handed_on:
        assert not is_handed_on
    with client.handing_on.wave({LOG: 1}) as is_handed_on:
        assert not is_handed_on
    assert client.is_to_be_fetched()
    client.now_s += MUCH_SECONDS
    with client.handing_on.wave({LOG: 1}) as is_handed_on:
        assert is_handed_on


async def test_what_is_more_than_a_fetch_may_bring_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handing_on, "FETCH_PARTITION_BYTES", 5)
    client = Client()
    hand_on(client, client.write(b"aaa"), client.write(b"bbb"))
    assert client.is_to_be_fetched()
    [run] = await client.take()
    assert list(run.values) == [b"aaa"]


@pytest.mark.parametrize("cause", ["not known", "detached", "not assigned", "no position"])
async def test_where_it_cannot_be_handed_on_it_is_fetched(cause: str) -> None:
    client = Client()
    run: RecordRun | None = client.write(b"a")
    log = LOG
    if cause == "not known":
        run = None
    elif cause == "detached":
        client.handing_on.detach()
    elif cause == "not assigned":
        log = Partition(READ.topic, 5)
    else:
        client.assignment.state_value(READ).await_reset(-1)
    with client.handing_on.wave({log: 1}):
        client.handing_on.wrote(log, run)
    assert client.is_to_be_fetched()
    assert READ not in client._records


def test_only_what_a_stage_here_reads_is_wanted() -> None:
    fed = Fed()
    fed.topics = frozenset({READ.topic})
    assert [HandingOn(fed).wants(topic) for topic in (READ.topic, ELSEWHERE.topic)] == [True, False]


STEPS = ("write", "write", "answer", "answer", "others", "ask", "fetched", "take", "take", "back")


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=60))
@settings(deadline=None)
def test_whatever_comes_when_each_record_is_taken_in_its_turn(steps: list[tuple[str, int]]) -> None:
    asyncio.run(_each_in_its_turn(steps))


async def _each_in_its_turn(steps: list[tuple[str, int]]) -> None:
    """Take steps: writes of ours and of others, their answers in any order, fetches, seeks."""
    client = Client()
    unanswered: list[tuple[RecordRun, Any]] = []
    number = 0
    for step, which in steps:
        if step in ("write", "others"):
            values = [b"%d" % (number + i) for i in range(which + 1)]
            number += len(values)
            run = client.write(*values)
            if step == "write":
                wave = client.handing_on.wave({LOG: 1})
                wave.__enter__()
                unanswered.append((run, wave))
        elif step == "answer" and unanswered:
            run, wave = unanswered.pop(which % len(unanswered))
            client.handing_on.wrote(LOG, run)
            wave.__exit__(None, None, None)
        elif step == "ask":
            client.ask()
        elif step == "fetched":
            client.answer()
        elif step == "take":
            await client.take()
        elif step == "back" and client.taken:
            # A fetch after a rebalance begins anew where something was not folded.
            client.seek(max(0, client.position - which))
            client.taken = client.taken[: client.position]
    for _ in range(3):
        client.fetch()
        await client.take()
    assert client.taken == list(enumerate(client.log))
    assert not client.handing_on._written or unanswered, "nothing is kept that was taken"
