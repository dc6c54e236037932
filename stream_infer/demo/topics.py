"""The topics of a demo: those of both pipelines, and of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stream_infer.demo.plan import PARTITIONS
from stream_infer.errors import ConflictError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topic_specs import TopicSpec
from stream_infer.kafka.topics import create_specs, create_topics, pipeline_topics
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.records import FRAUD_TRUTH, TRAFFIC_TRUTH


async def create_demo_topics(connection: Connection, pipelines: Sequence[Pipeline]) -> None:
    """Create what is missing.

    Raises  ConflictError when a topic that the demo writes or counts has records already
    """
    for pipeline in pipelines:
        specs = [_timed(spec, pipeline) for spec in pipeline_topics(pipeline, PARTITIONS)]
        created = await create_specs(connection, specs)
        kept = {pipeline.events.topic, pipeline.scored} - created
        await _refuse_used(connection, sorted(kept))
        await create_topics(connection, pipeline, partitions=PARTITIONS)
    truths = (FRAUD_TRUTH, TRAFFIC_TRUTH)
    await create_specs(
        connection, [TopicSpec(name=name, role="truth", partitions=1) for name in truths]
    )


def _timed(spec: TopicSpec, pipeline: Pipeline) -> TopicSpec:
    """Let Kafka's own clock say when a score stood there."""
    if spec.name != pipeline.scored:
        return spec
    return replace(spec, config=spec.config | {"message.timestamp.type": "LogAppendTime"})


async def _refuse_used(connection: Connection, topics: Sequence[str]) -> None:
    """Refuse topics with records: the demo's are of a time and of ids that would be mixed in."""
    if not topics:
        return
    async with log_reader(connection) as reader:
        for name in topics:
            bounds = await reader.bounds(await reader.partitions(name))
            if any(stretch.end > 0 for stretch in bounds.values()):
                raise ConflictError(
                    "demo_topic_used",
                    f"Topic {name!r} at {connection.bootstrap} holds or held records.",
                    "Give the demo a Kafka without them; without --bootstrap it starts its own.",
                    topic=name,
                )
