"""Read, create and check the topics of a pipeline.

What a pipeline needs is decided in `stream_infer.kafka.topic_specs`; here stands
only what talks to Kafka.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream_infer.errors import BrokerError
from stream_infer.kafka.connection import Connection, reach, translated
from stream_infer.kafka.topic_specs import (
    PARTITIONS_DEFAULT,
    TopicFacts,
    TopicFinding,
    TopicSpec,
    judge_topics,
    message_bytes_max_of,
    pipeline_topics,
)
from stream_infer.pipeline import Pipeline

__all__ = [
    "PARTITIONS_DEFAULT",
    "TopicFacts",
    "TopicFinding",
    "TopicSpec",
    "administration",
    "check_topics",
    "committed_offsets",
    "create_specs",
    "create_topics",
    "pipeline_topics",
    "read_topics",
]


@asynccontextmanager
async def administration(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client; whatever Kafka refuses inside becomes one of our errors."""
    await reach(connection)
    async with translated(connection):
        client = AIOKafkaAdminClient(**connection.client_options())
        try:
            await client.start()
            yield client
        finally:
            await client.close()


async def read_topics(
    connection: Connection, names: Sequence[str] | None = None
) -> dict[str, TopicFacts]:
    """Return the facts of the topics that exist among `names`; None asks for all."""
    async with administration(connection) as client:
        described = {item["topic"]: item for item in await client.describe_topics()}
        wanted = set(described) if names is None else set(names) & set(described)
        configs = await _read_configs(client, sorted(wanted))
    return {
        name: TopicFacts(
            name=name,
            partitions=len(described[name]["partitions"]),
            replicas=len(described[name]["partitions"][0]["replicas"]),
            config=configs[name],
        )
        for name in sorted(wanted)
    }


async def _read_configs(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    for response in await client.describe_configs(asked):
        for code, message, _kind, name, entries in response.resources:
            if code:
                raise kafka_errors.for_code(code)(message)
            configs[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return configs


async def create_topics(
    connection: Connection,
    pipeline: Pipeline,
    *,
    partitions: int = PARTITIONS_DEFAULT,
    replication_factor: int = 1,
) -> dict[str, Literal["created", "exists"]]:
    """Create what is missing of the pipeline's topics and say what was done for each.

    Safe to repeat. Nothing that exists is changed.
    Raises  `ConflictError` when an existing input or internal topic has another number of
            partitions; `BrokerError` when Kafka refuses
    """
    names = [spec.name for spec in pipeline_topics(pipeline)]
    existing = await read_topics(connection, names)
    for finding in judge_topics(pipeline, existing, partitions):
        if finding.code == "wrong_partition_count":
            raise finding.error()
    size = message_bytes_max_of(existing.get(pipeline.events.topic))
    specs = pipeline_topics(pipeline, partitions, message_bytes_max=size)
    missing = [spec for spec in specs if spec.name not in existing]
    await create_specs(connection, missing, replication_factor=replication_factor)
    return {spec.name: "exists" if spec.name in existing else "created" for spec in specs}


async def create_specs(
    connection: Connection, specs: Sequence[TopicSpec], *, replication_factor: int = 1
) -> None:
    """Create topics; one that somebody else has created in the meantime is left as it is."""
    if not specs:
        return
    new = [
        NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=spec.config)
        for spec in specs
    ]
    async with administration(connection) as client:
        response = await client.create_topics(new)
    for name, code, *rest in response.topic_errors:
        kind = kafka_errors.for_code(code)
        if kind not in (kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError):
            raise _creation_refused(name, kind, rest, replication_factor)


def _creation_refused(
    topic: str, kind: type[Exception], rest: list[Any], replication_factor: int
) -> BrokerError:
    if kind is kafka_errors.InvalidReplicationFactorError:
        return BrokerError(
            "replication_factor_too_high",
            f"Kafka has fewer brokers than the {replication_factor} replicas asked for.",
            "Give a lower --replication-factor, or add brokers.",
            topic=topic,
            replication_factor=replication_factor,
        )
    reason = str(rest[0]) if rest and rest[0] else kind.__name__
    return BrokerError(
        "topic_not_created",
        f"Kafka refuses to create topic {topic!r}: {reason}",
        "Change what the reason names, or let the cluster's operator create the topic.",
        topic=topic,
    )


async def check_topics(connection: Connection, pipeline: Pipeline) -> list[TopicFinding]:
    """Return the warnings about the pipeline's topics.

    Raises  `NotFoundError` for a missing topic, `ConflictError` for one that cannot be used
    """
    names = [spec.name for spec in pipeline_topics(pipeline)]
    findings = judge_topics(pipeline, await read_topics(connection, names))
    for finding in findings:
        if finding.severity == "error":
            raise finding.error()
    return findings


async def committed_offsets(connection: Connection, group: str) -> dict[TopicPartition, int]:
    """Return the offsets that a consumer group has committed, all its topics."""
    async with administration(connection) as client:
        found = await client.list_consumer_group_offsets(group)
    return {tp: entry.offset for tp, entry in found.items() if entry.offset >= 0}
