"""Read stretches of logs without a consumer group: nothing is committed, nobody is disturbed.

A stretch ends where its end was when it was asked for. Markers of transactions and
aborted records have offsets and are no records, so a stretch is read when the
position has come to its end, not when so many records came.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_infer.errors import BrokerError
from stream_infer.kafka.connection import Connection, reach, topic_missing
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.ungrouped import ungrouped_consumer

__all__ = ["LogReader", "TopicPartition", "log_reader"]

FETCH_BYTES_MAX = 4 * 1024 * 1024
"""For one partition in one fetch: a few of them in memory is all that reading needs."""
SILENCE_S_MAX = 30.0
"""A stretch that is there and brings nothing for so long will not come."""


class LogReader:
    """Reads any partitions of a cluster; one reader reads one thing at a time."""

    def __init__(self, consumer: AIOKafkaConsumer, connection: Connection) -> None:
        self._consumer = consumer
        self._connection = connection

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the topic's partitions; raise `NotFoundError` when it does not exist."""
        # All topics at once: asking for one that is missing would create it.
        metadata = await self._consumer._client.fetch_all_metadata()  # noqa: SLF001 - see above
        found = metadata.partitions_for_topic(topic)
        if not found:
            raise topic_missing(topic)
        return [TopicPartition(topic, partition) for partition in sorted(found)]

    async def bounds(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Stretch]:
        """Return where each log starts and ends now; a log ends at its last stable offset."""
        # All topics at once: the client would ask for them one after the other, 100 ms each.
        await self._consumer._client.set_topics({tp.topic for tp in partitions})  # noqa: SLF001
        starts = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return {tp: Stretch(starts[tp], ends[tp]) for tp in partitions}

    async def read(
        self, stretches: Mapping[TopicPartition, Stretch]
    ) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
        """Return runs of records of the stretches, each partition's in offset order."""
        wanted = {tp: stretch for tp, stretch in stretches.items() if len(stretch)}
        self._consumer.assign(list(wanted))
        for tp, stretch in wanted.items():
            self._consumer.seek(tp, stretch.start)
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while wanted:
            fetched = await self._consumer.getmany(*wanted, timeout_ms=200)
            for tp, records in fetched.items():
                if records[-1].offset >= wanted[tp].end:
                    yield tp, [record for record in records if record.offset < wanted[tp].end]
                else:
                    yield tp, records
            heard = loop.time() if fetched else heard
            for tp in list(wanted):
                if await self._consumer.position(tp) >= wanted[tp].end:
                    del wanted[tp]
            if wanted and loop.time() - heard > SILENCE_S_MAX:
                raise BrokerError(
                    "broker_silent",
                    f"Kafka at {self._connection.bootstrap} sends nothing of"
                    f" {next(iter(wanted))} any more.",
                    "Check that the partition has a leader, then try again.",
                    address=self._connection.bootstrap,
                )

    async def follow(
        self, positions: Mapping[TopicPartition, int]
    ) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
        """Return runs of records from the positions on, for ever."""
        self._consumer.assign(list(positions))
        for tp, offset in positions.items():
            self._consumer.seek(tp, offset)
        while True:
            fetched = await self._consumer.getmany(timeout_ms=500)
            for tp, records in fetched.items():
                yield tp, records


@contextlib.asynccontextmanager
async def log_reader(
    connection: Connection, *, isolation: str = "read_committed", wait_ms: int = 500
) -> AsyncIterator[LogReader]:
    """Open a reader; what Kafka refuses inside becomes one of our errors.

    wait_ms  how long Kafka waits with an empty answer. Whatever else is asked of the broker waits
             behind it, so one who goes from stretch to stretch takes little; one who follows a
             log, the default
    """
    await reach(connection)
    async with ungrouped_consumer(
        connection,
        isolation=isolation,
        fetch_max_wait_ms=wait_ms,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_bytes=4 * FETCH_BYTES_MAX,
    ) as consumer:
        yield LogReader(consumer, connection)
