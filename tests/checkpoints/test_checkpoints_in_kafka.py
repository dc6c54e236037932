"""Checkpoints in a real Kafka: found by their offsets, pruned by tombstones, never half-read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from stream_infer.checkpoints import chunks as chunks_module
from stream_infer.checkpoints import topic as topic_module
from stream_infer.checkpoints.choosing import prunable
from stream_infer.checkpoints.manifest import Manifest, Unreadable
from stream_infer.checkpoints.marks import read_mark
from stream_infer.checkpoints.names import chunks_topic, manifests_topic
from stream_infer.checkpoints.reading import restore_checkpoint
from stream_infer.checkpoints.topic import TopicStore
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.state import StageState
from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.kafka import ungrouped as ungrouped_module
from stream_infer.kafka.connection import Connection
from support.checkpoints import PLAN, draft, keys_read, mark, state_of, written
from support.kafka import acreate_topics, aproduce, aread_all, unique

COMPACTED = {"cleanup.policy": "compact"}


async def a_store(kafka: str, partitions: int = 1) -> tuple[TopicStore, str]:
    """Return a store of a pipeline of its own, and the pipeline's name."""
    name = unique("payments")
    topics = {chunks_topic(name): partitions, manifests_topic(name): 1}
    await acreate_topics(kafka, topics, COMPACTED)
    return TopicStore(Connection(bootstrap=kafka), name), name


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the offsets that consumers fetch from here on."""
    offsets: list[int] = []

    class Noting(AIOKafkaConsumer):  # type: ignore[misc] # the client has no types
        async def getmany(self, *partitions: Any, **options: Any) -> dict[Any, list[Any]]:
            found: dict[Any, list[Any]] = await super().getmany(*partitions, **options)
            offsets.extend(record.offset for records in found.values() for record in records)
            return found

    monkeypatch.setattr(ungrouped_module, "AIOKafkaConsumer", Noting)
    return offsets


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES_MAX", 4_096)


@pytest.mark.usefixtures("small_chunks")
async def test_a_state_comes_back_through_seeks_that_skip_what_others_wrote(
    kafka: str, fetched: list[int]
) -> None:
    store, name = await a_store(kafka)
    other = state_of(4_000, 1_000, salt="other")
    state = state_of(3_000, 500)
    try:
        await written(store, other, 1, partition=1)
        made = await written(store, state, 3_000, pipeline=name, mark=mark(2_999))
        await written(store, other, 2, partition=1)
        reader = TopicStore(Connection(bootstrap=kafka), name)
        assert made in await reader.found()
        again = StageState(PLAN)
        fetched.clear()
        await restore_checkpoint(reader, made, again)
        assert again.snapshot() == state.snapshot()
        total = len(await aread_all(kafka, chunks_topic(name)))
        # It began at its own first chunk, and what others wrote before it was not read.
        assert len(made.chunks) > 5
        assert len(fetched) <= total - made.chunks[0].place
        assert made.chunks[0].place > 5
    finally:
        await store.close()


@pytest.mark.usefixtures("small_chunks")
async def test_a_wide_gap_of_others_is_passed_by_a_seek(
    kafka: str, monkeypatch: pytest.MonkeyPatch, fetched: list[int]
) -> None:
    monkeypatch.setattr(topic_module, "_GAP_CHUNKS_MAX", 2)
    monkeypatch.setattr(topic_module, "_FETCH_BYTES", 8_192)
    store, name = await a_store(kafka)
    try:
        state = state_of(1_000, 100)
        first = await write_checkpoint(store, draft(1), state.capture())
        await written(store, state_of(6_000, 3_000), 2, partition=1)
        rest = await write_checkpoint(store, draft(1, id=first.id), state.capture())
        # Its first chunk lies before, the others behind what another partition wrote.
        parted = draft(1, id=first.id).manifest(
            (first.chunks[0], *rest.chunks[1:]), first.content_sha256
        )
        reader = TopicStore(Connection(bootstrap=kafka), name)
        assert await keys_read(reader, parted) == 100
        assert len(fetched) < parted.chunks[1].place - parted.chunks[0].place
    finally:
        await store.close()


@pytest.mark.usefixtures("small_chunks")
async def test_chunks_that_lie_in_another_order_are_found_all_the_same(kafka: str) -> None:
    store, name = await a_store(kafka)
    try:
        state = state_of(1_000, 300)
        first = await write_checkpoint(store, draft(1), state.capture())
        again = await write_checkpoint(store, draft(1, id=first.id), state.capture())
        # Every second chunk from the first writing, the others from the second.
        mixed = [(first if n % 2 else again).chunks[n] for n in range(len(first.chunks))]
        parted = draft(1, id=first.id).manifest(tuple(mixed), first.content_sha256)
        reader = TopicStore(Connection(bootstrap=kafka), name)
        assert len(mixed) > 3
        assert await keys_read(reader, parted) == 300
    finally:
        await store.close()


async def test_what_is_pruned_is_gone_for_every_reader(kafka: str) -> None:
    store, name = await a_store(kafka)
    late = TopicStore(Connection(bootstrap=kafka), name)
    try:
        made = [await written(store, state_of(20), offset) for offset in (10, 20, 30, 40, 50)]
        assert sorted(_offsets(await late.found())) == [10, 20, 30, 40, 50]
        await store.remove(prunable(await store.found(), made[-1]))
        for reader in (late, TopicStore(Connection(bootstrap=kafka), name)):
            assert sorted(_offsets(await reader.found())) == [30, 40, 50]
        tombstones = [each for each in await aread_all(kafka, chunks_topic(name)) if not each.value]
        assert {each.key for each in tombstones} == {
            f"{each.id}/00000".encode() for each in made[:2]
        }
    finally:
        await store.close()


def _offsets(found: list[Manifest | Unreadable]) -> list[int]:
    return [each.offset for each in found if isinstance(each, Manifest)]


async def test_a_late_writer_that_lost_the_partition_prunes_nothing_newer(kafka: str) -> None:
    store, name = await a_store(kafka)
    zombie = TopicStore(Connection(bootstrap=kafka), name)
    try:
        late = await write_checkpoint(zombie, draft(25), state_of(25).capture())
        for offset in (10, 20, 30, 40):
            await written(store, state_of(offset), offset)
        await zombie.publish(late)
        await zombie.remove(prunable(await zombie.found(), late))
        assert sorted(_offsets(await store.found())) == [10, 20, 25, 30, 40]
        again = StageState(PLAN)
        await restore_checkpoint(store, late, again)
        assert again.snapshot() == state_of(25).snapshot()
    finally:
        await store.close()
        await zombie.close()


async def test_chunks_that_kafka_no_longer_has_or_that_are_others_are_named(kafka: str) -> None:
    store, name = await a_store(kafka)
    try:
        made = await written(store, state_of(50), 50)
        beyond = made.chunks[0]._replace(place=10_000)
        wrong = await written(store, state_of(60), 60)
        for place in (beyond, wrong.chunks[0]):
            with pytest.raises(InvalidDataError) as caught:
                await keys_read(store, _with(made, place))
            assert caught.value.code == "checkpoint_damaged"
        await store.remove([made])
        assert await keys_read(store, made) == 50  # compaction has not come yet
    finally:
        await store.close()
    assert name


def _with(made: Manifest, place: object) -> Manifest:
    return msgspec.structs.replace(made, chunks=(place,))


async def test_what_is_no_manifest_is_found_as_unreadable(kafka: str) -> None:
    store, name = await a_store(kafka)
    await aproduce(kafka, manifests_topic(name), [(b"card/payments-0/7/x", b"{", 0, [])])
    [found] = await store.found()
    assert isinstance(found, Unreadable)
    assert found.name == "card/payments-0/7/x"


async def test_a_producer_that_is_given_up_while_it_opens_is_not_kept_half_open(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked at that moment: what was written is discarded by the same store."""
    store, _ = await a_store(kafka)
    asked = asyncio.Event()

    async def hangs(*_: object) -> int:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    try:
        with monkeypatch.context() as patched:
            patched.setattr(TopicStore, "_count", hangs)
            opening = asyncio.create_task(store.discard(draft(), 1))
            await asked.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        await store.discard(draft(), 1)
    finally:
        await store.close()


async def test_topics_that_are_missing_are_named_and_not_made(kafka: str) -> None:
    store = TopicStore(Connection(bootstrap=kafka), unique("payments"))
    for ask in (store.found(), written(store, state_of(5), 5)):
        with pytest.raises(NotFoundError) as caught:
            await ask
        assert "topics create" in caught.value.fix or caught.value.code == "topic_missing"
    await store.close()


async def test_a_mark_is_read_from_the_log_itself(kafka: str) -> None:
    name = unique("log")
    await acreate_topics(kafka, {name: 1})
    await aproduce(kafka, name, [(b"k", b"first", 0, []), (b"k", b"second", 0, [])])
    connection = Connection(bootstrap=kafka)
    [_, record] = await aread_all(kafka, name)
    found = await read_mark(connection, name, 0, 1)
    assert found is not None
    assert found == type(found).of(1, record.timestamp, b"second")
    assert await read_mark(connection, name, 0, 2) is None
