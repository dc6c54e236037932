"""Each role can do its work on a real Kafka with ACLs, and nothing more."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_infer.audit.reconcile import audit
from stream_infer.checkpoints.names import chunks_topic, manifests_topic
from stream_infer.errors import BrokerError, ConflictError
from stream_infer.events.deadletter import dead_letter_headers
from stream_infer.events.topic_names import DEAD_LETTERS, skips_topic
from stream_infer.kafka.acls import ROLES, AccessRole, Acl, kafka_acls_command, role_acls
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.granting import grant
from stream_infer.kafka.sending import topic_sender
from stream_infer.kafka.topic_specs import pipeline_topics
from stream_infer.kafka.topics import (
    check_topics,
    committed_offsets,
    create_topics,
    group_state,
    read_topics,
)
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import pipeline as traffic
from support.commands import run_command
from support.kafka import produce, read_all
from support.pipelines import own_pipeline, written
from support.secure_kafka import SecureKafka

PATIENCE_S = 60.0


# -- what is granted ----------------------------------------------------------------------------


def granted(pipeline: Pipeline, role: AccessRole) -> dict[str, set[str]]:
    return {
        f"{acl.resource} {acl.name}": set(acl.operations) for acl in role_acls(pipeline, [role])
    }


def test_a_producer_writes_events_and_labels_and_reads_nothing() -> None:
    assert granted(fraud, "producer") == {
        "topic transactions": {"Write", "DescribeConfigs"},
        "topic fraud-labels": {"Write", "DescribeConfigs"},
    }


def test_a_worker_writes_no_input_and_reads_no_result() -> None:
    rights = granted(fraud, "worker")
    writing = {name for name, operations in rights.items() if "Write" in operations}
    reading = {name for name, operations in rights.items() if "Read" in operations}
    assert {"topic transactions", "topic fraud-labels", "topic fraud-lists"} <= reading - writing
    assert {"topic scored-transactions", "topic alerts-fraud"} <= writing - reading
    assert {"topic fraud.by-terminal", "topic fraud.candidates"} <= reading & writing
    kept = {chunks_topic("fraud"), manifests_topic("fraud"), skips_topic(fraud)}
    assert {f"topic {name}" for name in kept} <= reading & writing
    assert rights["group fraud"] == {"Read"}
    assert rights["transactional-id fraud."] == {"Write"}
    assert rights["transactional-id fraud-skips."] == {"Write"}
    assert not any("Create" in operations for operations in rights.values())


def test_a_subscriber_reads_results_in_groups_of_its_own() -> None:
    assert granted(fraud, "subscriber") == {
        "topic scored-transactions": {"Read", "DescribeConfigs"},
        "topic alerts-fraud": {"Read", "DescribeConfigs"},
        "topic alerts-fraud-current": {"Read", "DescribeConfigs"},
        "topic operations-alerts": {"Read", "DescribeConfigs"},
        "group fraud-subscriber": {"Read"},
    }


@pytest.mark.parametrize("pipeline", [fraud, traffic])
def test_a_console_sees_every_topic_and_writes_none(pipeline: Pipeline) -> None:
    rights = granted(pipeline, "console")
    assert {f"topic {spec.name}" for spec in pipeline_topics(pipeline)} <= set(rights)
    assert not any(operations & {"Write", "Create"} for operations in rights.values())


@pytest.mark.parametrize("pipeline", [fraud, traffic])
def test_every_topic_of_a_pipeline_is_some_worker_s(pipeline: Pipeline) -> None:
    rights = granted(pipeline, "worker")
    assert {f"topic {spec.name}" for spec in pipeline_topics(pipeline)} <= set(rights)


def test_a_rule_is_shown_as_kafka_s_own_command() -> None:
    acl = Acl(
        role="worker",
        resource="transactional-id",
        name="fraud.",
        pattern="prefixed",
        operations=("Write",),
    )
    assert kafka_acls_command(acl, "User:CN=a b", "k:1") == (
        "kafka-acls --bootstrap-server k:1 --command-config admin.properties --add"
        " --allow-principal 'User:CN=a b' --operation Write --transactional-id fraud."
        " --resource-pattern-type prefixed"
    )


def test_acls_are_shown_without_reaching_anything() -> None:
    ran = run_command("acls", "show", "fraud", "--principal", "worker=User:w")
    assert ran.code == 0, ran.err
    assert "--allow-principal User:w --operation Read --group fraud" in ran.out
    assert "--allow-principal User:fraud-console" in ran.out
    rows = run_command("acls", "show", "fraud", "--role", "producer", "--json").json["acls"]
    assert {row["principal"] for row in rows} == {"User:fraud-producer"}


@pytest.mark.parametrize("text", ["worker", "worker=", "worker=w", "worker=User:", "boss=User:b"])
def test_a_malformed_principal_is_a_wrong_command_line(text: str) -> None:
    ran = run_command("acls", "show", "fraud", "--principal", text, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "principal_malformed")


# -- what Kafka makes of it ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scene:
    """A pipeline whose roles have their rights, and what each may try."""

    kafka: SecureKafka
    pipeline: Pipeline

    @property
    def source(self) -> str:
        return self.pipeline.events.topic

    def user(self, role: str) -> Connection:
        return self.kafka.user(role)

    async def refused(self, code: str, attempt: Awaitable[Any]) -> None:
        with pytest.raises(BrokerError) as raised:
            await asyncio.wait_for(attempt, PATIENCE_S)
        assert raised.value.code == code, raised.value
        assert raised.value.fix


@pytest.fixture(scope="module")
def scene(secured: SecureKafka) -> Scene:
    pipeline = own_pipeline()
    acls = role_acls(pipeline)
    asyncio.run(grant(secured.open(), [(f"User:{acl.role}", acl) for acl in acls]))
    asyncio.run(create_topics(secured.user("operator"), pipeline, partitions=2))
    return Scene(secured, pipeline)


async def send(connection: Connection, topic: str, **options: Any) -> None:
    async with translated(connection):
        producer = AIOKafkaProducer(**connection.client_options(), **options)
        try:
            await producer.start()
            await producer.send_and_wait(topic, b"{}", partition=0)
        finally:
            await producer.stop()


async def send_in_transaction(
    connection: Connection, topic: str, identity: str, group: str, source: str
) -> None:
    async with translated(connection):
        producer = AIOKafkaProducer(**connection.client_options(), transactional_id=identity)
        try:
            await producer.start()
            async with producer.transaction():
                await producer.send_and_wait(topic, b"{}", partition=0)
                await producer.send_offsets_to_transaction({TopicPartition(source, 0): 0}, group)
        finally:
            await producer.stop()


async def read(connection: Connection, topic: str, group: str | None = None) -> int:
    """Read until something comes; return how many records that were."""
    async with translated(connection):
        consumer = AIOKafkaConsumer(
            topic,
            **connection.client_options(),
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        try:
            await consumer.start()
            records = await consumer.getone()
            if group is not None:
                await consumer.commit()
            return int(records is not None)
        finally:
            await consumer.stop()


pytestmark = pytest.mark.kafka


async def test_the_producer_s_user_sends_and_reads_nothing(scene: Scene) -> None:
    producer = scene.user("producer")
    async with topic_sender(producer, scene.source):
        pass
    await send(producer, scene.source, enable_idempotence=True)
    await scene.refused("denied_topic", read(producer, scene.source))
    await scene.refused("denied_topic", send(producer, scene.pipeline.scored))
    await scene.refused("denied_group", committed_offsets(producer, scene.pipeline.name))


async def test_the_worker_s_user_reads_writes_commits_and_sends_transactions(
    scene: Scene,
) -> None:
    worker, pipeline = scene.user("worker"), scene.pipeline
    await send(scene.user("producer"), scene.source)
    assert await check_topics(worker, pipeline) == []
    assert await read(worker, scene.source, pipeline.name)
    await send(worker, pipeline.scored, enable_idempotence=True)
    identity = f"{pipeline.name}.stage.instance"
    await send_in_transaction(worker, pipeline.scored, identity, pipeline.name, scene.source)
    await committed_offsets(worker, pipeline.name)


async def test_the_worker_s_user_may_do_nothing_else(scene: Scene) -> None:
    worker, pipeline = scene.user("worker"), scene.pipeline
    identity = f"{pipeline.name}.stage.instance"
    await scene.refused("denied_topic", send(worker, scene.source))
    await scene.refused("denied_topic", read(worker, pipeline.scored))
    await scene.refused("denied_group", read(worker, scene.source, "another"))
    await scene.refused(
        "denied_transactional_id",
        send_in_transaction(worker, pipeline.scored, "another", pipeline.name, scene.source),
    )
    await scene.refused(
        "denied_group",
        send_in_transaction(worker, pipeline.scored, identity, "another", scene.source),
    )
    await scene.refused("denied_topic", create_topics(worker, own_pipeline()))


async def test_the_subscriber_s_user_reads_results_and_writes_nothing(scene: Scene) -> None:
    subscriber, pipeline = scene.user("subscriber"), scene.pipeline
    await send(scene.user("worker"), pipeline.scored)
    assert await read(subscriber, pipeline.scored)
    assert await read(subscriber, pipeline.scored, f"{pipeline.name}-subscriber-1")
    await scene.refused("denied_topic", send(subscriber, pipeline.scored))
    await scene.refused(
        "denied_cluster", send(subscriber, pipeline.scored, enable_idempotence=True)
    )
    await scene.refused("denied_topic", read(subscriber, scene.source))
    await scene.refused("denied_topic", read(subscriber, DEAD_LETTERS))
    # In the workers' group it could take partitions away from them.
    await scene.refused("denied_group", read(subscriber, pipeline.scored, pipeline.name))


async def test_the_console_s_user_sees_everything_and_changes_nothing(scene: Scene) -> None:
    console, pipeline = scene.user("console"), scene.pipeline
    await send(scene.user("producer"), scene.source)
    assert await check_topics(console, pipeline) == []
    assert await read(console, scene.source)
    await committed_offsets(console, pipeline.name)
    await group_state(console, pipeline.name)
    report = await audit(console, pipeline, {}, lambda _read: None)
    assert report.records + report.in_flight > 0
    await scene.refused("denied_topic", send(console, scene.source))
    await scene.refused("denied_group", read(console, scene.source, pipeline.name))


async def test_who_has_no_role_is_told_what_is_denied_not_that_it_is_missing(
    scene: Scene,
) -> None:
    nobody = scene.user("nobody")
    await scene.refused("denied_topic", read_topics(nobody, [scene.source]))
    await scene.refused("denied_group", committed_offsets(nobody, scene.pipeline.name))
    await scene.refused("denied_cluster", grant(nobody, [("User:nobody", role_acls(fraud)[0])]))
    with pytest.raises(BrokerError) as raised:
        await read_topics(nobody, [scene.source])
    assert raised.value.details["names"] == [scene.source]


def test_the_operator_s_user_keeps_lists_and_sends_dead_letters_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, source = written(scene.pipeline, tmp_path), scene.source
    headers = dead_letter_headers(
        [],
        topic=source,
        partition=1,
        offset=0,
        timestamp_ms=1_700_000_000_000,
        consumer_group=scene.pipeline.name,
        code="bad_time",
        stage="customer_id",
        message="It is no time.",
    )
    letter = (b"k", b"again", 0, [(name, value or b"") for name, value in headers])
    produce(scene.kafka.open_bootstrap, DEAD_LETTERS, [letter])
    for name, value in scene.kafka.environment("operator").items():
        monkeypatch.setenv(name, value)
    added = run_command("lists", "add", file, "blocked-customers", "c-17", "--json")
    assert added.code == 0, added.out
    replayed = run_command("dlq", "replay", "--yes", "--json")
    assert '"sent": 1' in replayed.out, replayed.out
    assert b"again" in {record.value for record in read_all(scene.kafka.open_bootstrap, source)}


def test_acls_are_granted_by_a_command(
    secured: SecureKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    file = written(pipeline, tmp_path)
    words = ("acls", "apply", file, "--bootstrap", secured.open_bootstrap)
    everybody = [word for role in ROLES for word in ("--principal", f"{role}=User:{role}")]
    ran = run_command(*words, *everybody, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["rules"] == sum(len(acl.operations) for acl in role_acls(pipeline))
    for name, value in secured.environment("operator").items():
        monkeypatch.setenv(name, value)
    created = run_command("topics", "create", file, "--json")
    assert created.code == 0, created.out
    monkeypatch.setenv("STREAM_INFER_SECURITY__USER", "nobody")
    described = run_command("topics", "describe", file, "--json")
    assert (described.code, described.json["error"]["code"]) == (1, "denied_topic")


async def test_a_kafka_without_acls_says_so(kafka: str) -> None:
    with pytest.raises(ConflictError) as raised:
        await grant(Connection(bootstrap=kafka), [("User:w", role_acls(fraud)[0])])
    assert raised.value.code == "acls_disabled"
