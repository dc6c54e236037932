"""What readers of committed records see on a real Kafka, once no transaction is open."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition

from support.kafka import Record, aread_all
from support.worker import until


async def aread_settled(bootstrap: str, topic: str, partitions: int) -> list[Record]:
    """Return all committed records as soon as no transaction is open on the topic.

    Kafka answers a commit before it has written the markers that make it visible.
    """
    tps = [TopicPartition(topic, partition) for partition in range(partitions)]
    ends = await _ends(bootstrap, "read_uncommitted", tps)

    async def is_settled() -> bool:
        return await _ends(bootstrap, "read_committed", tps) >= ends

    await until(is_settled)
    return await aread_all(bootstrap, topic)


async def _ends(bootstrap: str, isolation: str, tps: list[TopicPartition]) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation) as reader:
        return sum((await reader.end_offsets(tps)).values())
