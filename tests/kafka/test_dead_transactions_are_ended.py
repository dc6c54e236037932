"""On a real Kafka: a dead instance's open transaction is ended, a live member's is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import ProducerFenced
from structlog.testing import capture_logs

from stream_infer.dataplane.dead_workers import DeadWorkers, client_id_of
from stream_infer.kafka.acls import role_acls
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.dead_transactions import group_transactions
from stream_infer.kafka.granting import grant
from support.kafka import acreate_topics, aread_all, unique
from support.pipelines import own_pipeline
from support.secure_kafka import SecureKafka
from support.worker import until

pytestmark = pytest.mark.kafka

TIMEOUT_MS = 600_000
"""Of transactions: Kafka itself ends none of them while a test runs."""


ENDED = "dead_worker_transaction_ended"


def dead_workers(connection: Connection, group: str) -> DeadWorkers:
    ask = partial(group_transactions, connection, group, TIMEOUT_MS)
    return DeadWorkers(group, "survivor", 60.0, ask)


def producer(bootstrap: str, transactional_id: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=transactional_id,
        transaction_timeout_ms=TIMEOUT_MS,
    )


async def look(workers: DeadWorkers, stages: list[str]) -> None:
    workers.look(stages)
    looking = workers._looking
    assert looking is not None
    await until(looking.done)
    looking.result()


def told(said: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each["event"] for each in said if each["log_level"] != "debug"]


async def look_until_ended(workers: DeadWorkers, said: Sequence[Mapping[str, Any]]) -> None:
    """Look until a transaction is ended: a broker learns of new rights a moment after the grant.

    It may learn of one before the other, and until then it refuses what is granted.
    """

    async def looked() -> bool:
        await look(workers, ["first"])
        return ENDED in told(said)

    await until(looked)


async def until_fenced(dead: AIOKafkaProducer, topic: str) -> None:
    """Send until it is refused: a leader knows the new epoch when the abort's marker has come.

    What it takes until then belongs to the transaction that is aborted.
    """

    async def is_fenced() -> bool:
        try:
            await dead.send_and_wait(topic, b"more")
        except ProducerFenced:
            return True
        return False

    await until(is_fenced)


async def test_a_dead_instance_is_fenced_and_a_member_is_not(kafka: str) -> None:
    group, topic = unique("group"), unique("topic")
    await acreate_topics(kafka, {topic: 1})
    dead, live = producer(kafka, f"{group}.first.dead"), producer(kafka, f"{group}.first.live")
    other = producer(kafka, f"{group}x.first.dead")
    member = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka, group_id=group, client_id=client_id_of("any", "live")
    )
    for each in (dead, live, other, member):
        await each.start()
    try:
        for each in (dead, live, other):
            await each.begin_transaction()
            await each.send_and_wait(topic, each._txn_manager.transactional_id.encode())
        workers = dead_workers(Connection(bootstrap=kafka), group)
        # Two survivors do it at the same time, which does no harm.
        second = dead_workers(Connection(bootstrap=kafka), group)
        workers.look(["first"])
        await look(second, ["first"])
        await look(workers, ["first"])
        await until_fenced(dead, topic)
        await live.commit_transaction()
        await other.commit_transaction()
        await look(workers, ["first"])
    finally:
        for each in (dead, live, other, member):
            await each.stop()
    # Readers get to the end: nothing is open any more.
    seen = {record.value for record in await aread_all(kafka, topic)}
    assert seen == {f"{group}.first.live".encode(), f"{group}x.first.dead".encode()}


async def test_a_worker_s_role_may_do_it(secured: SecureKafka) -> None:
    pipeline, topic = own_pipeline(), unique("topic")
    await acreate_topics(secured.open_bootstrap, {topic: 1})
    transactional_id = f"{pipeline.name}.first.dead"
    worker = secured.user("worker")
    rights = role_acls(pipeline, ["worker"])
    async with producer(secured.open_bootstrap, transactional_id) as dead:
        await dead.begin_transaction()
        await dead.send_and_wait(topic, b"value")
        await grant(secured.open(), [("User:worker", acl) for acl in rights])
        with capture_logs() as said:
            await look_until_ended(dead_workers(worker, pipeline.name), said)
        await until_fenced(dead, topic)
    assert told(said).count(ENDED) == 1


async def test_without_the_rights_one_warning_names_them(secured: SecureKafka) -> None:
    """Who may see a transaction, but not write its id, may not end it."""
    pipeline, topic = own_pipeline(), unique("topic")
    await acreate_topics(secured.open_bootstrap, {topic: 1})
    worker = secured.user("worker")
    rights = [
        replaced
        for acl in role_acls(pipeline, ["worker"])
        for replaced in (
            [replace(acl, operations=("Describe",))]
            if acl.resource == "transactional-id"
            else [acl]
        )
    ]
    async with producer(secured.open_bootstrap, f"{pipeline.name}.first.dead") as dead:
        await dead.begin_transaction()
        await dead.send_and_wait(topic, b"value")
        await grant(secured.open(), [("User:worker", acl) for acl in rights])
        workers = dead_workers(worker, pipeline.name)

        async def warned_of_it() -> bool:
            await look(workers, ["first"])
            return bool(of_it())

        def of_it() -> list[Mapping[str, Any]]:
            named = f"transactional id {pipeline.name}.first.dead"
            return [each for each in said if named in each.get("cause", "")]

        with capture_logs() as said:
            await until(warned_of_it)
            await look(workers, ["first"])
        await dead.commit_transaction()
    (warned,) = of_it()
    assert (warned["log_level"], warned["event"]) == ("warning", "dead_workers_left_alone")
    assert "acls show" in warned["fix"]
    assert ENDED not in told(said)
