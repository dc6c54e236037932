"""Checkpoints in two Kafka topics, so that nothing but Kafka is needed.

    <pipeline>-checkpoint-manifests   compacted, one partition: read whole, a few kB a checkpoint
    <pipeline>-checkpoints            compacted; a partition's chunks lie in the partition of the
                                      same number (modulo how many there are)

A manifest says at which offset each chunk lies, so a restore seeks there and reads nothing else
but what other partitions wrote in between. What is no longer needed becomes a tombstone, which
takes no more rights than writing does; Kafka's own compaction then frees the room.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka_errors

from stream_infer.checkpoints.chunks import Chunk, damaged
from stream_infer.checkpoints.manifest import (
    ChunkPlace,
    Draft,
    Found,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from stream_infer.checkpoints.names import chunks_topic, manifests_topic
from stream_infer.errors import BrokerError
from stream_infer.kafka.coming_up import come_up, go_down
from stream_infer.kafka.connection import Connection, reach, topic_missing, translated
from stream_infer.kafka.ungrouped import ungrouped_consumer

REQUEST_BYTES_MAX = 4 * 1024 * 1024
ANSWER_S_MAX = 60.0
_FETCH_BYTES = 4 * 1024 * 1024
_GAP_CHUNKS_MAX = 16
"""Chunks of others up to here are read over; past more of them the reader seeks."""


class TopicStore:
    """Checkpoints of one pipeline in Kafka. Opened with the first thing that is asked of it."""

    def __init__(self, connection: Connection, pipeline: str) -> None:
        self._connection = connection
        self._chunks, self._manifests = chunks_topic(pipeline), manifests_topic(pipeline)
        self._producer: AIOKafkaProducer | None = None
        self._partitions = 0
        self._opening = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._known: dict[bytes, Found] = {}
        self._manifests_read = -1

    async def put(self, draft: Draft, chunk: Chunk) -> ChunkPlace:
        """Write a chunk and wait until Kafka has it."""
        producer = await self._open()
        partition = draft.partition % self._partitions
        key = _chunk_key(draft.id, chunk.number)
        place = await self._send(producer, self._chunks, key, chunk.data, partition)
        return ChunkPlace(place, len(chunk.data), chunk.sha256)

    async def publish(self, manifest: Manifest) -> None:
        """Write the manifest and wait until Kafka has it."""
        producer = await self._open()
        value = encode_manifest(manifest)
        await self._send(producer, self._manifests, _manifest_key(manifest), value, 0)

    async def discard(self, draft: Draft, chunks: int) -> None:
        """Write tombstones for chunks that no manifest will name."""
        if chunks:
            producer = await self._open()
            await self._bury(producer, draft.id, draft.partition, chunks)

    async def found(self) -> list[Found]:
        """Return the manifests that stand in the topic now; only what is new is read again."""
        tp = TopicPartition(self._manifests, 0)
        async with self._consumer(self._manifests) as (consumer, _):
            consumer.assign([tp])
            start = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
            if not start <= self._manifests_read <= end:
                # Cut, or made anew: what we know may stand there no more.
                self._known, self._manifests_read = {}, start
            position = self._manifests_read
            consumer.seek(tp, position)
            while position < end:
                fetched: dict[Any, list[Any]] = await consumer.getmany(tp, timeout_ms=200)
                for record in fetched.get(tp, []):
                    self._note(record.key or b"", record.value)
                position = await consumer.position(tp)
            self._manifests_read = position
        return list(self._known.values())

    def _note(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._known.pop(key, None)
        else:
            self._known[key] = decode_manifest(key.decode(errors="replace"), value)

    async def chunks(self, manifest: Manifest) -> AsyncIterator[bytes]:
        """Yield the chunks, found by their offsets."""
        if not manifest.chunks:
            return
        async with self._consumer(self._chunks) as (consumer, partitions):
            tp = TopicPartition(self._chunks, manifest.partition % partitions)
            consumer.assign([tp])
            async for data in self._read(consumer, tp, manifest):
                yield data

    async def _read(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, manifest: Manifest
    ) -> AsyncIterator[bytes]:
        start = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        wanted = {chunk.place for chunk in manifest.chunks}
        held: dict[int, bytes] = {}
        position = -1
        for number, chunk in enumerate(manifest.chunks):
            gone = damaged(manifest.id, f"chunk {number} is no longer in topic {tp.topic}")
            if not start <= chunk.place < end:
                raise gone
            is_near = position >= 0 and 0 <= chunk.place - position <= _GAP_CHUNKS_MAX
            if chunk.place not in held and not is_near:
                position = chunk.place
                consumer.seek(tp, position)
            while chunk.place not in held and position <= chunk.place:
                fetched: dict[Any, list[Any]] = await consumer.getmany(tp, timeout_ms=500)
                for record in fetched.get(tp, []):
                    if record.offset in wanted:
                        held[record.offset] = record.value or b""
                # Past what was compacted away, too.
                position = await consumer.position(tp)
            if chunk.place not in held:
                raise gone
            yield held.pop(chunk.place)

    async def remove(self, manifests: Sequence[Manifest]) -> None:
        """Write tombstones: each manifest's first, so that nobody finds it any more."""
        if not manifests:
            return
        producer = await self._open()
        for manifest in manifests:
            await self._send(producer, self._manifests, _manifest_key(manifest), None, 0)
            await self._bury(producer, manifest.id, manifest.partition, len(manifest.chunks))

    async def close(self) -> None:
        """Stop the producer, if there is one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _bury(
        self, producer: AIOKafkaProducer, checkpoint_id: str, partition: int, chunks: int
    ) -> None:
        place = partition % self._partitions
        await asyncio.gather(
            *(
                self._send(producer, self._chunks, _chunk_key(checkpoint_id, number), None, place)
                for number in range(chunks)
            )
        )

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                await reach(self._connection)
                async with translated(self._connection):
                    producer = AIOKafkaProducer(
                        **self._connection.client_options(),
                        enable_idempotence=True,
                        max_batch_size=1024 * 1024,
                        max_request_size=REQUEST_BYTES_MAX,
                    )
                    try:
                        await come_up(producer.start())
                        self._partitions = await self._count(producer)
                    except BaseException:
                        # Not kept half open: who gives a checkpoint up comes here once more.
                        await go_down(producer.stop())
                        raise
                    self._producer = producer
            return self._producer

    async def _count(self, producer: AIOKafkaProducer) -> int:
        # All topics at once: asking for one that is missing would create it.
        metadata = await producer.client.fetch_all_metadata()
        known = metadata.partitions_for_topic(self._chunks)
        for topic in (self._chunks, self._manifests):
            if not metadata.partitions_for_topic(topic):
                raise topic_missing(topic)
        return len(known or ())

    async def _send(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        key: bytes,
        value: bytes | None,
        partition: int,
    ) -> int:
        """Send a record, wait for its acknowledgement and return its offset."""
        async with translated(self._connection):
            try:
                async with asyncio.timeout(ANSWER_S_MAX):
                    # Who waits for room in the client's buffer is not served in order.
                    async with self._sending:
                        sending = await producer.send(topic, value, key=key, partition=partition)
                    sent = await asyncio.shield(sending)
            except kafka_errors.MessageSizeTooLargeError as error:
                raise BrokerError(
                    "checkpoint_refused",
                    f"Topic {topic!r} refuses a record of {len(value or b''):,} bytes.",
                    f"Set max.message.bytes of topic {topic!r} to 2097152.",
                    topic=topic,
                ) from error
        return int(sent.offset)

    @contextlib.asynccontextmanager
    async def _consumer(self, topic: str) -> AsyncIterator[tuple[AIOKafkaConsumer, int]]:
        """Open a consumer of no group; yield it, and how many partitions the topic has."""
        async with ungrouped_consumer(
            self._connection,
            # Nothing here is written in a transaction.
            isolation="read_uncommitted",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
        ) as consumer:
            metadata = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - `_count`
            known = metadata.partitions_for_topic(topic)
            if not known:
                raise topic_missing(topic)
            yield consumer, len(known)


def _chunk_key(checkpoint_id: str, number: int) -> bytes:
    return f"{checkpoint_id}/{number:05d}".encode()


def _manifest_key(manifest: Manifest) -> bytes:
    return f"{manifest.stage}/{manifest.source}/{manifest.offset}/{manifest.id}".encode()
