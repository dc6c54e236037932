"""The transactional sender and a real Kafka: fenced, refused, cut off, taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka_errors

from stream_infer.dataplane import transaction_commit
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs, Refused
from stream_infer.dataplane.sender import BATCH_BYTES_MAX
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.dataplane.transactions import TransactionSender
from stream_infer.kafka.stable_offsets import fetch_stable_offsets
from stream_infer.kafka.transactions import GroupMember, GroupTransactionalProducer
from support.kafka import acreate_topics, unique
from support.transactions import aread_settled
from support.worker import PATIENCE_S, until

pytestmark = pytest.mark.kafka

LARGE = b"x" * 3000
"""More than the output topic takes."""


@dataclass
class Member:
    """A member of the group with a sender, both input partitions, and what it writes.

    lost  set: the answer to the next commit is lost, though Kafka takes it
    """

    consumer: AIOKafkaConsumer
    outputs: str
    inputs: list[Partition]
    transactional_id: str
    lost: bool = False
    told: dict[Partition, int] = field(default_factory=dict)
    producers: list[GroupTransactionalProducer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sender = TransactionSender(
            "customer",
            self.make_producer,
            member=self.member,
            metadata=lambda partition: f"of {partition}",
            committed=self.told.update,
            read_committed_offsets=self.read,
            interval_s=0.02,
        )
        for partition in self.inputs:
            self.sender.own(partition, 0)

    def make_producer(self) -> GroupTransactionalProducer:
        member = self

        class Producer(GroupTransactionalProducer):
            async def commit_transaction(self) -> None:
                await super().commit_transaction()
                if member.lost:
                    member.lost = False
                    raise kafka_errors.RequestTimedOutError

        producer = Producer(
            bootstrap_servers=self.consumer._client._bootstrap_servers,
            transactional_id=self.transactional_id,
            max_batch_size=BATCH_BYTES_MAX,
            transaction_timeout_ms=6000,
        )
        self.producers.append(producer)
        return producer

    def member(self) -> GroupMember:
        coordinator = self.consumer._coordinator
        return GroupMember(coordinator.group_id, coordinator.generation, coordinator.member_id)

    async def read(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        found = await fetch_stable_offsets(
            self.consumer._coordinator,
            [TopicPartition(*partition) for partition in partitions],
            seconds_max=PATIENCE_S,
        )
        return {Partition(*tp): entry.offset for tp, entry in found.items() if entry is not None}

    async def work(self, number: int, offsets: range) -> None:
        """Deliver the outputs of some input offsets, three at a time."""
        for first in range(offsets.start, offsets.stop, 3):
            end = min(first + 3, offsets.stop)
            outputs = Outputs()
            for row, offset in enumerate(range(first, end)):
                destination = Partition(self.outputs, offset % 2)
                outputs.add(destination, b"k", b"%d:%03d" % (number, offset), NO_HEADERS, row)
            await self.sender.deliver(outputs, (self.inputs[number], end), no_replacement)


def no_replacement(refused: Sequence[Refused]) -> Outputs:
    raise AssertionError(refused)


@asynccontextmanager
async def joined(kafka: str) -> AsyncIterator[tuple[Member, Callable[[], AIOKafkaConsumer]]]:
    """Yield a member that owns both input partitions, and what makes another consumer."""
    group, inputs, outputs = unique("group"), unique("in"), unique("out")
    await acreate_topics(kafka, {inputs: 2})
    await acreate_topics(kafka, {outputs: 2}, {"max.message.bytes": "2000"})

    def consumer() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            inputs,
            bootstrap_servers=kafka,
            group_id=group,
            enable_auto_commit=False,
            heartbeat_interval_ms=100,
            session_timeout_ms=6000,
        )

    async with AsyncExitStack() as stack:
        first = consumer()
        await first.start()
        stack.push_async_callback(first.stop)
        member = Member(first, outputs, [Partition(inputs, n) for n in range(2)], unique("id"))
        stack.push_async_callback(member.sender.stop)
        yield member, consumer


async def visible(kafka: str, topic: str) -> dict[tuple[int, str], list[int]]:
    """Return the input offsets that are visible, by output partition and input partition."""
    found: dict[tuple[int, str], list[int]] = {}
    for record in await aread_settled(kafka, topic, 2):
        assert record.value is not None
        number, offset = record.value.split(b":")
        found.setdefault((record.partition, number.decode()), []).append(int(offset))
    return found


def every_second(end: int) -> dict[tuple[int, str], list[int]]:
    return {(p, n): list(range(p, end, 2)) for p in (0, 1) for n in ("0", "1")}


async def test_lost_answers_fencing_and_broken_connections_leave_each_record_once_in_order(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joined(kafka) as (member, _):
        await asyncio.gather(*(member.work(n, range(60)) for n in (0, 1)))
        # The answer to a commit is lost.
        member.lost = True
        await asyncio.gather(*(member.work(n, range(60, 90)) for n in (0, 1)))
        await member.sender.commit()
        assert not member.lost
        # Another producer of the id fences this one, in the middle of a transaction.
        await member.work(0, range(90, 93))
        rival = member.make_producer()
        await rival.start()
        await asyncio.gather(member.work(0, range(93, 120)), member.work(1, range(90, 120)))
        await member.sender.commit()
        await rival.drop()
        # The connections break while a transaction is open.
        await member.work(0, range(120, 123))
        await member.producers[-1].client.close()
        monkeypatch.setattr(transaction_commit, "COMMIT_SECONDS_MAX", 1.0)
        await asyncio.gather(member.work(0, range(123, 150)), member.work(1, range(120, 150)))
        await member.sender.commit()

        committed = await member.read(member.inputs)
        assert committed == dict.fromkeys(member.inputs, 150) == member.told
        assert member.sender.aborts >= 1
        assert await visible(kafka, member.outputs) == every_second(150)


async def test_a_refused_record_is_replaced_within_its_transaction(kafka: str) -> None:
    async with joined(kafka) as (member, _):
        replaced: list[bytes | None] = []

        def replace(refused: Sequence[Refused]) -> Outputs:
            outputs = Outputs()
            for destination, writes, _ in refused:
                replaced.extend(writes.values)
                outputs.add(destination, b"k", b"0:999", NO_HEADERS, 0)
            return outputs

        await member.work(0, range(10))
        outputs = Outputs()
        destination = Partition(member.outputs, 0)
        for row, value in enumerate((b"0:010", LARGE, *(b"0:%03d" % n for n in range(12, 200)))):
            outputs.add(destination, b"k", value, NO_HEADERS, row)
        await member.sender.deliver(outputs, (member.inputs[0], 200), replace)
        await member.sender.commit()
        assert replaced == [LARGE]
        seen = await visible(kafka, member.outputs)
        assert seen[0, "0"] == [*range(0, 10, 2), 10, *range(12, 200), 999]
        assert await member.read(member.inputs) == {member.inputs[0]: 200}


async def test_a_member_whose_group_moved_on_publishes_nothing_more(kafka: str) -> None:
    async with joined(kafka) as (member, other):
        await asyncio.gather(*(member.work(n, range(30)) for n in (0, 1)))
        await member.sender.commit()
        before = member.member()
        async with other() as second:
            await until(lambda: bool(second.assignment()))
            assert member.member() != before
            # It has not noticed yet: as far as it knows, it is still in the generation before.
            member.sender._commits._member = lambda: before
            await member.work(0, range(30, 33))
            with pytest.raises(AssignmentMovedOnError):
                await member.sender.commit()
            with pytest.raises(AssignmentMovedOnError):
                await member.work(1, range(30, 33))
            assert await member.read(member.inputs) == dict.fromkeys(member.inputs, 30)
            await member.sender.stop()
        # A later transaction on both partitions is visible, and what was aborted is not.
        member.sender = None  # type: ignore[assignment]
        await until(lambda: len(member.consumer.assignment()) == 2)
        member.__post_init__()
        await asyncio.gather(*(member.work(n, range(30, 36)) for n in (0, 1)))
        await member.sender.commit()
        assert await visible(kafka, member.outputs) == every_second(36)
        await member.sender.stop()
