"""A condemned record has one dead letter and one skip; readers find it until it is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from stream_infer.dataplane.at_work import Span
from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.events.skip import Skip, decode_skip, encode_skip
from stream_infer.events.topic_names import skips_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.skips import read_skips, skipped_offsets
from stream_infer.pipeline import Pipeline
from stream_infer.supervisor.verdict import condemn
from support.kafka import Message, Record, aproduce, aread_all
from support.pipelines import own_pipeline
from support.worker import make_topics

pytestmark = pytest.mark.kafka


@pytest.fixture
def pipeline() -> Pipeline:
    return own_pipeline()


def record(offset: int) -> Message:
    return b"c-1", f"value {offset}".encode(), 0, [("traceparent", b"00-1")]


async def letters_of(kafka: str, topic: str) -> list[Record]:
    """Return the dead letters made of a topic's records."""
    found = await aread_all(kafka, "dead-letters")
    return [each for each in found if read_dead_letter(each.headers).topic == topic]


def positions(skips: Sequence[Skip]) -> list[str]:
    return [skip.position for skip in skips]


async def test_a_record_is_condemned_once_however_often_it_is_asked_for(
    kafka: str, pipeline: Pipeline
) -> None:
    connection, topic = Connection(bootstrap=kafka), pipeline.events.topic
    await make_topics(kafka, pipeline, 2)
    assert await read_skips(connection, pipeline) == []
    await aproduce(kafka, topic, [record(offset) for offset in range(4)])
    asked = [Span("customer", topic, 0, offset, offset) for offset in (2, 2, 1)]
    done = [await condemn(connection, pipeline, span, "SIGBUS") for span in asked]
    assert done == [True, False, True]
    skips = await read_skips(connection, pipeline)
    assert positions(skips) == [f"{topic}-0-1", f"{topic}-0-2"]
    assert skipped_offsets(skips) == {(topic, 0): frozenset({1, 2})}
    letters = await letters_of(kafka, topic)
    assert [letter.value for letter in letters] == [b"value 2", b"value 1"]
    facts = read_dead_letter(letters[0].headers)
    assert (facts.offset, facts.error_code, facts.stage) == (2, "poison", "customer")
    assert facts.consumer_group == pipeline.name
    assert facts.message == "It ends the process that works on it, by SIGBUS."
    assert ("traceparent", b"00-1") in list(letters[0].headers)


async def test_two_that_condemn_the_same_record_at_once_write_it_once(
    kafka: str, pipeline: Pipeline
) -> None:
    connection, topic = Connection(bootstrap=kafka), pipeline.events.topic
    await make_topics(kafka, pipeline, 1)
    await aproduce(kafka, topic, [record(0)])
    span = Span("customer", topic, 0, 0, 0)
    await asyncio.gather(
        *(condemn(connection, pipeline, span, "SIGSEGV") for _ in range(2)),
        return_exceptions=True,
    )
    assert len(await letters_of(kafka, topic)) == 1
    assert len(await aread_all(kafka, skips_topic(pipeline))) == 1


async def test_a_record_that_the_dead_letters_refuse_whole_leaves_a_stub(
    kafka: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, topic = Connection(bootstrap=kafka), pipeline.events.topic
    await make_topics(kafka, pipeline, 1)
    large = b"x" * 100_000
    await aproduce(kafka, topic, [(b"c-1", large, 0, [])])
    send = AIOKafkaProducer.send

    async def refuse_large(self: Any, to: str, value: Any, **options: Any) -> Any:
        if to == "dead-letters" and len(value) > 70_000:
            raise MessageSizeTooLargeError
        return await send(self, to, value, **options)

    monkeypatch.setattr(AIOKafkaProducer, "send", refuse_large)
    assert await condemn(connection, pipeline, Span("customer", topic, 0, 0, 0), "SIGSEGV")
    [letter] = await letters_of(kafka, topic)
    facts = read_dead_letter(letter.headers)
    assert (facts.stub, facts.original_bytes, facts.error_code) == (True, 100_000, "poison")
    assert len(await read_skips(connection, pipeline)) == 1


async def test_a_record_that_retention_removed_cannot_be_condemned(
    kafka: str, pipeline: Pipeline
) -> None:
    await make_topics(kafka, pipeline, 1)
    span = Span("customer", pipeline.events.topic, 0, 7, 7)
    with pytest.raises(NotFoundError) as raised:
        await asyncio.wait_for(condemn(Connection(bootstrap=kafka), pipeline, span, "SIGILL"), 60)
    assert raised.value.code == "offset_gone"


async def test_a_tombstone_takes_a_skip_back_and_rubbish_is_refused(
    kafka: str, pipeline: Pipeline
) -> None:
    connection, topic = Connection(bootstrap=kafka), skips_topic(pipeline)
    await make_topics(kafka, pipeline, 1)
    skip = Skip(
        topic="t", partition=1, offset=5, code="poison", signal="SIGSEGV", stage="s", time=1
    )
    key, value = encode_skip(skip)
    assert decode_skip(value) == skip
    await aproduce(kafka, topic, [(key, value, 0, [])])
    assert await read_skips(connection, pipeline) == [skip]
    await aproduce(kafka, topic, [(key, None, 0, [])])
    assert await read_skips(connection, pipeline) == []
    await aproduce(kafka, topic, [(b"x", b"{}", 0, [])])
    with pytest.raises(InvalidDataError) as raised:
        await read_skips(connection, pipeline)
    assert raised.value.code == "skip_unreadable"


async def test_a_pipeline_whose_topic_was_never_made_skips_nothing(kafka: str) -> None:
    assert await read_skips(Connection(bootstrap=kafka), own_pipeline()) == []
