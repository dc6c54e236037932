"""A transaction is committed in the name of a group's generation, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.protocol.produce import ProduceRequest

from stream_infer.errors import BrokerError
from stream_infer.kafka.stable_offsets import fetch_stable_offsets
from stream_infer.kafka.transactions import (
    GroupMember,
    GroupMovedOnError,
    GroupTransactionalProducer,
)
from support.kafka import acreate_topics, unique
from support.transactions import aread_settled
from support.worker import until

pytestmark = pytest.mark.kafka

META = '{"start": 3}'
SECONDS = 60.0


class Group:
    """Topics, a consumer group, and one member that owns both input partitions."""

    def __init__(self, bootstrap: str, stack: AsyncExitStack) -> None:
        self.bootstrap = bootstrap
        self.name, self.into, self.out = unique("group"), unique("in"), unique("out")
        self.stack = stack
        self.tps = [TopicPartition(self.into, 0), TopicPartition(self.into, 1)]

    async def join(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            self.into,
            bootstrap_servers=self.bootstrap,
            group_id=self.name,
            enable_auto_commit=False,
            heartbeat_interval_ms=100,
            session_timeout_ms=6000,
        )
        await consumer.start()
        self.stack.push_async_callback(consumer.stop)
        return consumer

    async def producer(self, transactional_id: str, **options: int) -> GroupTransactionalProducer:
        producer = GroupTransactionalProducer(
            bootstrap_servers=self.bootstrap, transactional_id=transactional_id, **options
        )
        await producer.start()
        self.stack.push_async_callback(producer.drop)
        return producer

    async def visible(self) -> list[bytes | None]:
        return [record.value for record in await aread_settled(self.bootstrap, self.out, 1)]


def member_of(consumer: AIOKafkaConsumer) -> GroupMember:
    coordinator = consumer._coordinator
    return GroupMember(coordinator.group_id, coordinator.generation, coordinator.member_id)


@asynccontextmanager
async def opened(bootstrap: str) -> AsyncIterator[tuple[Group, AIOKafkaConsumer]]:
    async with AsyncExitStack() as stack:
        group = Group(bootstrap, stack)
        await acreate_topics(bootstrap, {group.into: 2, group.out: 1})
        yield group, await group.join()


async def write(producer: GroupTransactionalProducer, topic: str, value: bytes) -> None:
    await producer.begin_transaction()
    await (await producer.send(topic, value, partition=0))


async def test_its_own_generation_commits_outputs_offsets_and_their_metadata(kafka: str) -> None:
    async with opened(kafka) as (group, consumer):
        producer = await group.producer(unique("id"))
        await write(producer, group.out, b"1")
        offsets = {group.tps[0]: (5, META), group.tps[1]: (7, "other")}
        await producer.send_offsets(offsets, member_of(consumer))
        await producer.commit_transaction()
        assert await group.visible() == [b"1"]
        found = await fetch_stable_offsets(
            consumer._coordinator, [*group.tps, TopicPartition(group.out, 0)], seconds_max=SECONDS
        )
        assert found == {**offsets, TopicPartition(group.out, 0): None}


async def test_a_generation_that_is_over_publishes_nothing_and_its_producer_goes_on(
    kafka: str,
) -> None:
    async with opened(kafka) as (group, first):
        producer = await group.producer(unique("id"))
        await write(producer, group.out, b"1")
        await producer.send_offsets({group.tps[0]: (5, META)}, member_of(first))
        await producer.commit_transaction()
        stale = member_of(first)
        second = await group.join()
        await until(lambda: bool(second.assignment()) and len(first.assignment()) == 1)

        await write(producer, group.out, b"zombie")
        with pytest.raises(GroupMovedOnError) as refused:
            await producer.send_offsets({group.tps[0]: (9, META)}, stale)
        assert refused.value.details["answer"] == "ILLEGAL_GENERATION"
        with pytest.raises(kafka_errors.IllegalOperation):
            await producer.commit_transaction()
        await producer.abort_transaction()

        await write(producer, group.out, b"2")
        owned = next(iter(first.assignment()))
        await producer.send_offsets({owned: (8, META)}, member_of(first))
        await producer.commit_transaction()
        # Had the abort only been the client's, the zombie's record would be committed by now.
        assert await group.visible() == [b"1", b"2"]
        found = await fetch_stable_offsets(first._coordinator, group.tps, seconds_max=SECONDS)
        expected: dict[TopicPartition, tuple[int, str] | None] = dict.fromkeys(group.tps)
        assert found == expected | {group.tps[0]: (5, META)} | {owned: (8, META)}


@pytest.mark.parametrize("named", [("somebody-else", None), (None, "never-seen")])
async def test_a_member_that_the_group_does_not_know_is_refused(
    kafka: str, named: tuple[str | None, str | None]
) -> None:
    async with opened(kafka) as (group, consumer):
        producer = await group.producer(unique("id"))
        await write(producer, group.out, b"zombie")
        member = member_of(consumer)
        member_id, instance_id = named
        stranger = member._replace(member_id=member_id or member.member_id, instance_id=instance_id)
        with pytest.raises(GroupMovedOnError, match="UNKNOWN_MEMBER_ID"):
            await producer.send_offsets({group.tps[0]: (9, META)}, stranger)
        await producer.abort_transaction()
        assert await group.visible() == []


async def test_one_without_a_generation_is_refused_though_kafka_would_take_it(kafka: str) -> None:
    async with opened(kafka) as (group, _):
        producer = await group.producer(unique("id"))
        await write(producer, group.out, b"zombie")
        with pytest.raises(GroupMovedOnError):
            await producer.send_offsets({group.tps[0]: (9, META)}, GroupMember(group.name, -1, ""))
        await producer.abort_transaction()
        assert await group.visible() == []


async def test_offsets_of_an_open_transaction_are_waited_for(kafka: str) -> None:
    async with opened(kafka) as (group, consumer):
        coordinator = consumer._coordinator
        producer = await group.producer(unique("id"))
        for offset, is_committed in ((5, True), (9, False)):
            await write(producer, group.out, b"x")
            await producer.send_offsets({group.tps[0]: (offset, META)}, member_of(consumer))
            with pytest.raises(BrokerError) as unsettled:
                await fetch_stable_offsets(coordinator, group.tps, seconds_max=0.1)
            assert unsettled.value.code == "offsets_not_stable"
            waiting = asyncio.create_task(
                fetch_stable_offsets(coordinator, group.tps, seconds_max=SECONDS)
            )
            await asyncio.sleep(0)
            await (producer.commit_transaction if is_committed else producer.abort_transaction)()
            assert await waiting == {group.tps[0]: (5, META), group.tps[1]: None}


async def test_a_second_producer_of_an_id_aborts_the_first_ones_transaction_and_fences_it(
    kafka: str,
) -> None:
    async with opened(kafka) as (group, consumer):
        name = unique("id")
        zombie = await group.producer(name)
        await write(zombie, group.out, b"zombie")
        await group.producer(name)
        with pytest.raises(kafka_errors.ProducerFenced):
            await zombie.send_offsets({group.tps[0]: (9, META)}, member_of(consumer))
        assert await group.visible() == []
        found = await fetch_stable_offsets(consumer._coordinator, group.tps, seconds_max=SECONDS)
        assert found == dict.fromkeys(group.tps)


async def test_what_a_dropped_producer_left_open_is_aborted_by_the_next_of_its_id(
    kafka: str,
) -> None:
    async with opened(kafka) as (group, consumer):
        name = unique("id")
        dropped = await group.producer(name)
        await write(dropped, group.out, b"left")
        await dropped.send_offsets({group.tps[0]: (9, META)}, member_of(consumer))
        await dropped.drop()
        producer = await group.producer(name)
        await write(producer, group.out, b"2")
        await producer.send_offsets({group.tps[0]: (5, META)}, member_of(consumer))
        await producer.commit_transaction()
        assert await group.visible() == [b"2"]
        found = await fetch_stable_offsets(consumer._coordinator, group.tps, seconds_max=SECONDS)
        assert found[group.tps[0]] == (5, META)


async def test_a_batch_waits_for_the_one_before_it_in_its_partition_and_for_no_other(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(kafka) as (group, _):
        producer = await group.producer(unique("id"))
        requests: list[list[int]] = []
        answers = asyncio.Event()
        send = producer.client.send

        async def hold_partition_0(node: int, request: Any, **options: Any) -> Any:
            response = await send(node, request, **options)
            if isinstance(request, ProduceRequest):
                partitions = [p for _, batches in request._topics for p, _ in batches]
                requests.append(partitions)
                if partitions == [0]:
                    await answers.wait()
            return response

        monkeypatch.setattr(producer.client, "send", hold_partition_0)
        await producer.begin_transaction()
        first = await producer.send(group.into, b"1", partition=0)
        await until(lambda: requests == [[0]])
        second = await producer.send(group.into, b"2", partition=0)
        async with asyncio.timeout(SECONDS):
            await (await producer.send(group.into, b"3", partition=1))
        assert requests == [[0], [1]]
        answers.set()
        assert (await first).offset < (await second).offset
        assert requests == [[0], [1], [0]]
        await producer.commit_transaction()
