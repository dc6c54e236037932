from __future__ import annotations

import re

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_infer.doctor.cluster import (
    CLOCK_TOPIC,
    examine_clock,
    examine_group,
    examine_topics,
    judge_clock,
    judge_offsets,
    judge_state,
)
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.topics import create_topics, read_topics
from support.kafka import acreate_topics
from support.pipelines import own_pipeline
from support.worker import until


@pytest.mark.parametrize(
    ("kafka_ms", "status", "word"),
    [
        (10_000, "passed", "agrees"),
        (10_500, "passed", "agrees"),
        (9_999, "passed", "agrees"),
        (8_000, "warning", "ahead of"),
        (13_000, "warning", "behind"),
        (-60_000, "failed", "ahead of"),
        (80_000, "failed", "behind"),
    ],
)
def test_a_clock_is_judged_by_what_the_answer_cannot_explain(
    kafka_ms: int, status: str, word: str
) -> None:
    #   before = 10.0 s       kafka_ms?       after = 11.0 s
    found = judge_clock(10_000.4, kafka_ms, 11_000.0)
    assert found.status == status
    assert word in found.detail


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("Stable", "passed"),
        ("Empty", "passed"),
        ("Dead", "skipped"),
        ("PreparingRebalance", "warning"),
        ("CompletingRebalance", "warning"),
    ],
)
def test_a_group_s_state_is_judged(state: str, status: str) -> None:
    assert judge_state("shop", state, 0).status == status


ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


def test_offsets_inside_the_logs_pass_and_those_outside_fail() -> None:
    bounds = {ONE: Stretch(5, 10), TWO: Stretch(0, 0)}
    well = judge_offsets({ONE: 5, TWO: 0}, bounds)
    assert (well.status, "5 records behind" in well.detail) == ("passed", True)
    assert "--when-offset-lost" in judge_offsets({ONE: 4}, bounds).fix
    assert judge_offsets({ONE: 11}, bounds).status == "failed"
    assert judge_offsets({}, bounds).status == "skipped"


@pytest.mark.kafka
async def test_the_clock_of_a_kafka_of_this_machine_agrees_and_nothing_remains(kafka: str) -> None:
    connection = Connection(bootstrap=kafka)
    assert (await examine_clock(connection)).status == "passed"

    async def nothing_remains() -> bool:
        return not [name for name in await read_topics(connection) if name.startswith(CLOCK_TOPIC)]

    await until(nothing_remains)


@pytest.mark.kafka
async def test_topics_are_found_missing_short_lived_and_as_declared(kafka: str) -> None:
    connection, pipeline = Connection(bootstrap=kafka), own_pipeline()
    missing = await examine_topics(connection, pipeline)
    of_it = [found for found in missing if pipeline.name in found.detail]
    # Without those a worker works: it starts slower, hears of no other version, tries none.
    roles = r"\((checkpoints|manifests|models|guard|shadow|evidence|operations) of"
    dispensable = [found for found in of_it if re.search(roles, found.detail)]
    assert {found.status for found in dispensable} == {"warning"}
    rest = {found.detail: found.status for found in of_it if found not in dispensable}
    assert [each for each in rest if rest[each] != "failed"] == []
    await acreate_topics(kafka, {pipeline.events.topic: 4}, {"retention.ms": "1000"})
    await create_topics(connection, pipeline)
    short, well = await examine_topics(connection, pipeline)
    assert (short.status, short.name) == ("warning", f"topic {pipeline.events.topic}")
    assert (well.status, pipeline.scored in well.detail) == ("passed", True)


@pytest.mark.kafka
async def test_a_group_is_found_and_how_far_it_is_behind(kafka: str) -> None:
    connection, pipeline = Connection(bootstrap=kafka), own_pipeline()
    [none] = await examine_group(connection, pipeline)
    assert none.status == "skipped"
    await create_topics(connection, pipeline)
    consumer = AIOKafkaConsumer(
        pipeline.events.topic,
        bootstrap_servers=kafka,
        group_id=pipeline.name,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        await until(lambda: bool(consumer.assignment()))
        await consumer.commit({TopicPartition(pipeline.events.topic, 0): 0})
        state, offsets = await examine_group(connection, pipeline)
    finally:
        await consumer.stop()
    assert "stable, with 1 workers" in state.detail
    assert offsets.detail == "1 partitions, 0 records behind."
