"""Read, create and check the topics of a pipeline.

What a pipeline needs is decided in `stream_infer.kafka.topic_specs`; here stands
only what talks to Kafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.metadata import MetadataRequest

from stream_infer.errors import BrokerError
from stream_infer.kafka.coming_up import come_up, go_down
from stream_infer.kafka.connection import Connection, reach, translated
from stream_infer.kafka.topic_findings import (
    TopicFacts,
    TopicFinding,
    judge_topics,
    message_bytes_max_of,
    usable,
)
from stream_infer.kafka.topic_specs import PARTITIONS_DEFAULT, TopicSpec, pipeline_topics
from stream_infer.pipeline import Pipeline

__all__ = [
    "PARTITIONS_DEFAULT",
    "TopicFacts",
    "TopicFinding",
    "TopicSpec",
    "administration",
    "check_topics",
    "committed_offsets",
    "count_partitions",
    "create_specs",
    "create_topics",
    "group_state",
    "pipeline_topics",
    "read_pipeline_topics",
    "read_topics",
]

VISIBLE_S_MAX = 30.0
"""A created topic shows within milliseconds; so long only a cluster in trouble takes."""


COORDINATOR_TRIES = 40
COORDINATOR_RETRY_SECONDS = 0.25


@asynccontextmanager
async def administration(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client; whatever Kafka refuses inside becomes one of our errors."""
    await reach(connection)
    async with translated(connection):
        client = AIOKafkaAdminClient(**connection.client_options())
        try:
            await come_up(client.start())
            yield client
        finally:
            await go_down(client.close())


async def read_topics(
    connection: Connection, names: Sequence[str] | None = None
) -> dict[str, TopicFacts]:
    """Return the facts of the topics that exist among `names`; None asks for all.

    Raises  `BrokerError` ``denied_topic`` for one that this user may not see: Kafka leaves it out
            of the list as if it did not exist
    """
    async with administration(connection) as client:
        described = {item["topic"]: item for item in await client.describe_topics()}
        wanted = set(described) if names is None else set(names) & set(described)
        await _refuse_hidden(client, sorted(set(names or ()) - wanted))
        configs = await _read_known_configs(client, sorted(wanted))
    return {
        name: TopicFacts(
            name=name,
            partitions=len(described[name]["partitions"]),
            replicas=len(described[name]["partitions"][0]["replicas"]),
            config=configs[name],
        )
        for name in sorted(wanted)
    }


async def count_partitions(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Return the number of partitions of the topics that exist among `names`.

    Raises  as `read_topics`, which asks for settings too
    """
    async with administration(connection) as client:
        counts = {item["topic"]: len(item["partitions"]) for item in await client.describe_topics()}
        await _refuse_hidden(client, sorted(set(names) - set(counts)))
    return {name: counts[name] for name in names if name in counts}


async def _refuse_hidden(client: AIOKafkaAdminClient, names: list[str]) -> None:
    if not names:
        return
    # Asked for by name, a broker would otherwise create what it does not have.
    request = MetadataRequest(names, allow_auto_topic_creation=False)
    answer = (await client._send_request(request)).to_object()  # noqa: SLF001 - no public way
    denied = kafka_errors.TopicAuthorizationFailedError
    hidden = [item["topic"] for item in answer["topics"] if item["error_code"] == denied.errno]
    if hidden:
        raise denied(hidden)


async def _read_known_configs(
    client: AIOKafkaAdminClient, names: list[str]
) -> dict[str, dict[str, str]]:
    """Return the settings of topics that a broker has named; another may not have heard of them."""
    until = asyncio.get_running_loop().time() + VISIBLE_S_MAX
    while True:
        try:
            return await _read_configs(client, names)
        except kafka_errors.UnknownTopicOrPartitionError:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(0.05)


async def _read_configs(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    for response in await client.describe_configs(asked):
        for code, message, _kind, name, entries in response.resources:
            if code:
                kind = kafka_errors.for_code(code)
                denied = kind is kafka_errors.TopicAuthorizationFailedError
                raise kind(name if denied else message)
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
    _refuse_other_partitions(pipeline, existing, partitions)
    size = message_bytes_max_of(existing.get(pipeline.events.topic))
    specs = pipeline_topics(pipeline, partitions, message_bytes_max=size)
    missing = [spec for spec in specs if spec.name not in existing]
    created = await create_specs(connection, missing, replication_factor=replication_factor)
    if len(created) < len(missing):
        # Somebody else was quicker with one, or it was there and not yet in the metadata.
        _refuse_other_partitions(pipeline, await read_topics(connection, names), partitions)
    return {spec.name: "created" if spec.name in created else "exists" for spec in specs}


def _refuse_other_partitions(
    pipeline: Pipeline, existing: Mapping[str, TopicFacts], partitions: int
) -> None:
    for finding in judge_topics(pipeline, existing, partitions):
        if finding.code == "wrong_partition_count":
            raise finding.error()


async def create_specs(
    connection: Connection, specs: Sequence[TopicSpec], *, replication_factor: int = 1
) -> set[str]:
    """Create topics and return the names of those created; one that exists is left as it is.

    Returns when all of them can be seen: a broker acknowledges a creation before it shows it.
    """
    if not specs:
        return set()
    new = [
        NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=spec.config)
        for spec in specs
    ]
    created = set()
    async with administration(connection) as client:
        response = await client.create_topics(new)
        for name, code, *rest in response.topic_errors:
            kind = kafka_errors.for_code(code)
            if kind is kafka_errors.NoError:
                created.add(name)
            elif kind is not kafka_errors.TopicAlreadyExistsError:
                raise _creation_refused(name, kind, rest, replication_factor)
        await _wait_until_visible(connection, client, {spec.name for spec in specs})
    return created


async def _wait_until_visible(
    connection: Connection, client: AIOKafkaAdminClient, names: set[str]
) -> None:
    deadline = asyncio.get_running_loop().time() + VISIBLE_S_MAX
    while names - {item["topic"] for item in await client.describe_topics() if item["partitions"]}:
        if asyncio.get_running_loop().time() > deadline:
            raise BrokerError(
                "topics_not_visible",
                f"Kafka at {connection.bootstrap} created topics and does not show them.",
                "See the state of the cluster's controller, then run the command again.",
                address=connection.bootstrap,
            )
        await asyncio.sleep(0.05)


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
    return usable(judge_topics(pipeline, await read_pipeline_topics(connection, pipeline)))


async def read_pipeline_topics(connection: Connection, pipeline: Pipeline) -> dict[str, TopicFacts]:
    """Return the facts of those of a pipeline's topics that exist; raises as `read_topics`."""
    return await read_topics(connection, [spec.name for spec in pipeline_topics(pipeline)])


async def committed_offsets(connection: Connection, group: str) -> dict[TopicPartition, int]:
    """Return the offsets that a consumer group has committed, all its topics."""
    async with administration(connection) as client:
        found = await _until_coordinated(partial(client.list_consumer_group_offsets, group))
    return {tp: entry.offset for tp, entry in found.items() if entry.offset >= 0}


async def group_state(connection: Connection, group: str) -> tuple[str, int]:
    """Return a consumer group's state in Kafka's own word, and its number of members."""
    async with administration(connection) as client:
        [answer] = await _until_coordinated(partial(client.describe_consumer_groups, [group]))
    _error, _name, state, _protocol_type, _protocol, members, *_rest = answer.groups[0]
    return str(state), len(members)


async def _until_coordinated(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again while the group has no coordinator: a fresh Kafka makes one when first asked."""
    for _ in range(COORDINATOR_TRIES):
        try:
            return await ask()
        except (
            kafka_errors.GroupCoordinatorNotAvailableError,
            kafka_errors.GroupLoadInProgressError,
        ):
            await asyncio.sleep(COORDINATOR_RETRY_SECONDS)
    return await ask()
