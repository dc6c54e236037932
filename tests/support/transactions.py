"""What readers of committed records see on a real Kafka, once no transaction is open."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from support.kafka import Record, aread_all


async def aread_settled(bootstrap: str, topic: str, partitions: int) -> list[Record]:
    """Return all committed records as soon as no transaction is open on the topic.

    Kafka answers a commit before it has written the markers that make it visible.
    """
    tps = [TopicPartition(topic, partition) for partition in range(partitions)]
    ends = await _ends(bootstrap, "read_uncommitted", tps)
    while await _ends(bootstrap, "read_committed", tps) < ends:
        await asyncio.sleep(0.01)
    return await aread_all(bootstrap, topic)


async def _ends(bootstrap: str, isolation: str, tps: list[TopicPartition]) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation) as reader:
        return sum((await reader.end_offsets(tps)).values())
