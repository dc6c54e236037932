"""Words are said and heard only where partitions that feed a log have several owners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from types import SimpleNamespace
from typing import Any

import pytest

from stream_infer.dataplane.alignment import NO_LIMIT, AlignmentGroup
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.lifecycle import Phase
from stream_infer.dataplane.progress_sharing import ProgressSharing
from stream_infer.dataplane.sender import SENDER_STOPPED
from stream_infer.errors import BrokerError
from stream_infer.events.progress import Place, Progress, decode_progress
from support.dataplane import assigned, senders_on
from support.fake_kafka import FakeSender
from support.worker import until

OURS, THEIRS = Partition("in", 0), Partition("in", 1)
LOG = "by-terminal"
HOUR = 3_600_000


class Shared:
    """One worker with one partition that feeds a log, and all that is around it."""

    def __init__(self, *, partitions: int = 2) -> None:
        self.sender = FakeSender()
        self.failures: list[BaseException] = []
        self.listeners: list[Callable[[Collection[Progress]], None]] = []
        self.read_fails: Exception | None = None
        self.group = AlignmentGroup(HOUR)
        self.sharing = ProgressSharing(
            "progress",
            {"in": partitions},
            instance="us",
            generation=lambda: 5,
            read=self._read,
            silent_s_max=20.0,
            on_progress=lambda: None,
            on_failure=self._failed,
        )

    def assign(self, *, head: int | None = 3 * HOUR) -> None:
        self.group.assign([OURS])
        if head is not None:
            self.group.set_head(OURS, head)
        task: Any = SimpleNamespace(phase=Phase.RUNNING, refresh_head=lambda: None)
        stage: Any = SimpleNamespace(feeds=LOG)
        about = assigned({OURS: 0}, lambda *_done: pytest.fail("no input is done"))
        senders = senders_on(about, self.sender)
        self.sharing.assigned({LOG: self.group}, {"in": stage}, {OURS: task}, senders)

    async def _read(self, hear: Callable[[Collection[Progress]], None]) -> None:
        if self.read_fails is not None:
            raise self.read_fails
        self.listeners.append(hear)
        try:
            await asyncio.Event().wait()
        finally:
            self.listeners.remove(hear)

    async def _failed(self, error: BaseException) -> None:
        self.failures.append(error)

    def said(self) -> list[Progress]:
        return [decode_progress(value or b"") for _, value in self.sender.delivered]


def word(place: Place, head: int | None = None) -> Progress:
    return Progress(topic="in", partition=1, place=place, head=head, generation=5, instance="they")


async def listening(shared: Shared, work: Callable[[], Awaitable[None]]) -> None:
    """Do something while the worker listens, as it does in the app."""
    reading = asyncio.create_task(shared.sharing.read_forever())
    try:
        await work()
    finally:
        await shared.sharing.revoked()
        reading.cancel()
        await asyncio.wait([reading])


async def test_an_owner_of_everything_says_nothing_and_listens_to_nothing() -> None:
    shared = Shared(partitions=1)

    async def work() -> None:
        shared.assign()
        for _ in range(10):
            await asyncio.sleep(0)
        assert shared.sharing._tellers == []
        assert (shared.said(), shared.listeners) == ([], [])
        assert shared.group.limit(OURS) == NO_LIMIT

    await listening(shared, work)


async def test_where_our_partition_stands_is_said_to_those_who_own_the_others() -> None:
    shared = Shared()

    async def work() -> None:
        shared.assign()
        await until(lambda: bool(shared.said()))
        [said] = shared.said()
        assert (said.position, said.place, said.head) == ("in-0", "head", 3 * HOUR)
        assert (said.generation, said.instance) == (5, "us")
        shared.group.set_read_to_end(OURS)
        await until(lambda: len(shared.said()) == 2)
        assert shared.said()[-1].place == "end"

    await listening(shared, work)


async def test_what_others_say_moves_the_limit_of_ours() -> None:
    shared = Shared()

    async def work() -> None:
        shared.assign()
        assert shared.group.limit(OURS) is None
        await until(lambda: bool(shared.listeners))
        shared.listeners[0]([word("head", HOUR)])
        assert shared.group.limit(OURS) == 2 * HOUR

    await listening(shared, work)


async def test_who_becomes_the_only_owner_stops_listening() -> None:
    shared = Shared()

    async def work() -> None:
        shared.assign()
        await until(lambda: bool(shared.listeners))
        await shared.sharing.revoked()
        shared.sharing.assigned({}, {}, {}, senders_on(assigned({}, print), shared.sender))
        await until(lambda: not shared.listeners)

    await listening(shared, work)


async def test_that_others_may_not_be_heard_stops_the_worker() -> None:
    shared = Shared()
    shared.read_fails = BrokerError("denied_topic", "may not read")

    async def work() -> None:
        shared.assign()
        await until(lambda: bool(shared.failures))

    await listening(shared, work)
    assert shared.failures == [shared.read_fails]


@pytest.mark.parametrize(("code", "stops"), [(SENDER_STOPPED, False), ("write_forbidden", True)])
async def test_a_word_that_cannot_be_said(code: str, *, stops: bool) -> None:
    shared = Shared()
    shared.sender.fails = BrokerError(code, "not said")

    async def work() -> None:
        shared.assign()
        tellers = list(shared.sharing._tellers)
        await until(lambda: all(each.done() for each in tellers))

    await listening(shared, work)
    assert bool(shared.failures) is stops
