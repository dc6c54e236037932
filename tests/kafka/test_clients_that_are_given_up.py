"""A client that nobody wants any more comes up, and is closed, however often it is cancelled."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from aiokafka import TopicPartition

from stream_infer.kafka import coming_up
from stream_infer.kafka.coming_up import come_up, go_down, opened
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topics import administration
from stream_infer.kafka.ungrouped import ungrouped_consumer
from support.kafka import acreate_topics


class Client:
    """Comes up when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.told: list[str] = []

    async def start(self) -> None:
        self.told.append("starts")
        await self.let.wait()
        self.told.append("is up")

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[Client]:
        await self.start()
        try:
            yield self
        finally:
            self.told.append("is closed")

    async def given_up(self, using: asyncio.Task[None], times: int) -> None:
        """Cancel who opens it so many times, then let it come up."""
        while not self.told:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0)
        for _ in range(times):
            using.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not using.done()
        self.let.set()
        await asyncio.wait([using])
        assert using.cancelled()


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_its_start_is_finished_first(times: int) -> None:
    client = Client()
    await client.given_up(asyncio.create_task(come_up(client.start())), times)
    assert client.told == ["starts", "is up"]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_one_that_is_opened_is_closed_again(times: int) -> None:
    client = Client()

    async def use() -> None:
        async with opened(client.opening()):
            client.told.append("is used")

    await client.given_up(asyncio.create_task(use()), times)
    assert client.told == ["starts", "is up", "is closed"]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_its_end_is_finished_too(times: int) -> None:
    client = Client()
    await client.given_up(asyncio.create_task(go_down(client.start())), times)
    assert client.told == ["starts", "is up"]


async def test_one_that_never_comes_up_is_waited_for_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coming_up, "COME_UP_S_MAX", 0.05)
    client = Client()
    using = asyncio.create_task(come_up(client.start()))
    await asyncio.sleep(0)
    using.cancel()
    await asyncio.wait([using])
    assert using.cancelled()
    assert client.told == ["starts"]


@pytest.mark.kafka
@pytest.mark.parametrize("open_client", [log_reader, administration])
async def test_one_that_is_cancelled_again_and_again_leaves_no_connection(
    kafka: str, open_client: Any
) -> None:
    """As a revocation does, since a cancellation may get lost inside of a client."""
    connection, port = Connection(bootstrap=kafka), int(kafka.rpartition(":")[2])

    async def use() -> None:
        async with open_client(connection):
            await asyncio.Event().wait()

    def connections() -> int:
        found = psutil.Process().net_connections("tcp")
        return sum(bool(each.raddr) and each.raddr.port == port for each in found)

    before, tasks = connections(), asyncio.all_tasks()
    for turns in range(0, 120, 4):
        using = asyncio.create_task(use())
        for _ in range(turns):
            await asyncio.sleep(0)
        while not using.done():
            using.cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):  # a transport closes in one of the next turns
            while connections() > before or asyncio.all_tasks() - tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.mark.kafka
async def test_a_consumer_whose_partitions_have_just_changed_ends(kafka: str) -> None:
    """How far its fetcher has come with the change decides what a cancellation of it ends."""
    connection = Connection(bootstrap=kafka)
    topic = f"just-changed-{uuid.uuid4().hex[:8]}"
    await acreate_topics(kafka, {topic: 1})
    partition = TopicPartition(topic, 0)
    async with asyncio.timeout(60):
        for turns in range(5):
            async with ungrouped_consumer(connection) as consumer:
                consumer.assign([partition])
                consumer.seek(partition, 0)
                await consumer.getmany(partition, timeout_ms=50)
                consumer.assign([])
                for _ in range(turns):
                    await asyncio.sleep(0)
