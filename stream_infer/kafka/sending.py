"""Send records to one topic in record batches, as fast as one process can, losing none.

The producer is idempotent (acks from all in-sync replicas, no doubles by its own
retries) and writes batches that are built here: one call a record batch instead of
one a record. Every batch's answer is awaited and looked at: aiokafka's own flush
waits for batches and does not say that one was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream_infer.errors import InvalidDataError
from stream_infer.kafka.connection import Connection, topic_missing, translated
from stream_infer.kafka.topics import read_topics
from stream_infer.records.partitioner import KeyPartitioner

BATCH_BYTES_MAX = 256 * 1024
"""Large enough that a batch's fixed cost vanishes, a quarter of what a topic takes by default."""
REQUEST_BYTES_MAX = 16 * 1024 * 1024
ANSWER_S_MAX = 30.0
"""The client repeats a batch for ever; after so long without an answer we ask why there is none."""
BATCHES_IN_FLIGHT_MAX = 64
"""Bounds memory to 16 MiB; four partitions keep a local broker busy with far fewer."""

Headers = list[tuple[str, bytes]]
"""A list and nothing else: the client's batch builder takes no other sequence."""


class TopicSender:
    """Sends keyed records to one topic; owns which batches are open and which unanswered.

    A record's batch is open until it is full or `flush` is called; a batch that was
    handed over is unanswered until Kafka acknowledged or refused it. Nothing else
    changes that, and the first refusal ends the sending.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._open: dict[int, Any] = {}
        self._unanswered: deque[asyncio.Future[Any]] = deque()
        self.partitioner = KeyPartitioner(partitions)
        self.sent = [0] * partitions

    async def send(
        self, keys: Sequence[str], values: Sequence[bytes], headers: Headers | None = None
    ) -> None:
        """Append records in order, each to the partition of its key, stamped with the time now."""
        now_ms = time.time_ns() // 1_000_000
        batches, sent, headers = self._open, self.sent, headers or []
        for (key, partition), value in zip(self.partitioner.place(keys), values, strict=True):
            batch = batches.get(partition)
            if batch is None or not batch.append(
                timestamp=now_ms, key=key, value=value, headers=headers
            ):
                if batch is not None:
                    await self._hand_over(partition, batch)
                batch = batches[partition] = self._producer.create_batch()
                batch.append(timestamp=now_ms, key=key, value=value, headers=headers)
            sent[partition] += 1

    async def flush(self) -> None:
        """Return when every record is acknowledged; raise what Kafka said of the first refused."""
        for partition, batch in list(self._open.items()):
            await self._hand_over(partition, batch)
        self._open.clear()
        while self._unanswered:
            await self._settle_one()

    async def _hand_over(self, partition: int, batch: Any) -> None:
        batch.close()
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._unanswered.append(future)
        while len(self._unanswered) > BATCHES_IN_FLIGHT_MAX:
            await self._settle_one()

    async def _settle_one(self) -> None:
        answer = self._unanswered[0]
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                # Shielded: a timeout must leave the batch to the client, which still repeats it.
                await asyncio.shield(answer)
            self._unanswered.popleft()
        except (
            kafka_errors.MessageSizeTooLargeError,
            kafka_errors.RecordListTooLargeError,
        ) as error:
            raise InvalidDataError(
                "record_too_large",
                f"Topic {self._topic!r} refuses a record as too large.",
                f"Raise max.message.bytes of topic {self._topic!r}, or leave such records out.",
                topic=self._topic,
            ) from error

    async def abandon(self) -> None:
        """Give unanswered batches up after a failure: one error is reported, not all that follow.

        An idempotent producer repeats a batch for as long as it lives, and its `stop` waits for
        all of them, so what sends them is stopped first.
        """
        await self._producer._sender.close()  # noqa: SLF001 - nothing public stops without waiting
        for future in self._unanswered:
            future.cancel()
        self._unanswered.clear()


@contextlib.asynccontextmanager
async def topic_sender(
    connection: Connection, topic: str, *, compression: str | None = None
) -> AsyncIterator[TopicSender]:
    """Open a sender to an existing topic; leaving the block flushes it.

    compression  ``gzip``, ``snappy``, ``lz4``, ``zstd`` or None
    Raises       `NotFoundError` when the topic does not exist (it is never created silently)
    """
    facts = (await read_topics(connection, [topic])).get(topic)
    if facts is None:
        raise topic_missing(topic)
    async with translated(connection):
        producer = AIOKafkaProducer(
            **connection.client_options(),
            enable_idempotence=True,
            compression_type=compression,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=REQUEST_BYTES_MAX,
        )
        await producer.start()
        sender = TopicSender(producer, topic, facts.partitions)
        try:
            yield sender
            await sender.flush()
        except BaseException:
            await sender.abandon()
            raise
        finally:
            await producer.stop()
