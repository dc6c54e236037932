from __future__ import annotations

from dataclasses import replace

import pytest

from stream_infer.demo.topics import create_demo_topics
from stream_infer.errors import ConflictError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import read_topics
from stream_infer.pipelines.fraud import pipeline as fraud
from support.kafka import aproduce, unique

pytestmark = pytest.mark.kafka


async def test_topics_with_records_are_refused_and_empty_ones_are_taken(kafka: str) -> None:
    name = unique("demo")
    pipeline = replace(
        fraud,
        name=name,
        events=replace(fraud.events, topic=f"{name}-in"),
        labels=None if fraud.labels is None else replace(fraud.labels, topic=f"{name}-labels"),
        scored=f"{name}-scored",
        alerts=None,
    )
    connection = Connection(bootstrap=kafka)
    await create_demo_topics(connection, [pipeline])
    await create_demo_topics(connection, [pipeline])
    facts = await read_topics(connection, [pipeline.scored])
    assert facts[pipeline.scored].config["message.timestamp.type"] == "LogAppendTime"
    await aproduce(kafka, pipeline.events.topic, [(None, b"{}", 0, [])])
    with pytest.raises(ConflictError) as caught:
        await create_demo_topics(connection, [pipeline])
    assert caught.value.code == "demo_topic_used"
    assert pipeline.events.topic in caught.value.message
