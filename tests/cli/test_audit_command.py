from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from stream_infer.errors import NotFoundError
from stream_infer.events.columns import EVENT
from stream_infer.events.deadletter import dead_letter_headers
from stream_infer.events.decode import EventDecoder
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.events.topic_names import DEAD_LETTERS, internal_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics
from stream_infer.pipeline import Pipeline
from support.commands import Ran, run_command
from support.kafka import Message, produce
from support.pipelines import own_pipeline, written


@dataclass(frozen=True)
class Scene:
    """A pipeline with topics of its own, one partition each, and 20 input records."""

    bootstrap: str
    pipeline: Pipeline
    file: Path
    records: int = 20

    @property
    def topic(self) -> str:
        return self.pipeline.events.topic

    def score(self, offsets: Iterable[int]) -> None:
        values = [b'{"event_id":"%s-0-%d","score":0.5}' % (self.topic.encode(), o) for o in offsets]
        produce(self.bootstrap, self.pipeline.scored, [(b"c", v, None, ()) for v in values])

    def bury(self, offsets: Iterable[int], *, topic: str | None = None, group: str = "") -> None:
        letters: list[Message] = []
        for offset in offsets:
            value = internal_record(self.pipeline, offset) if topic else b"broken"
            headers = dead_letter_headers(
                [],
                topic=topic or self.topic,
                partition=0,
                offset=offset,
                timestamp_ms=-1,
                consumer_group=group or self.pipeline.name,
                code="not_json",
                message="The value is not one JSON document.",
                stage="customer_id",
            )
            letters.append((None, value, None, [(name, text or b"") for name, text in headers]))
        produce(self.bootstrap, DEAD_LETTERS, letters)

    def hand_on(self, offsets: Iterable[int]) -> None:
        inside = internal_topic(self.pipeline, "terminal_id")
        values = [internal_record(self.pipeline, offset) for offset in offsets]
        produce(self.bootstrap, inside, [(b"m", value, 0, ()) for value in values])

    def commit(self, topic: str, offset: int) -> None:
        asyncio.run(self._commit(TopicPartition(topic, 0), offset))

    async def _commit(self, tp: TopicPartition, offset: int) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.pipeline.name,
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            consumer.assign([tp])
            await consumer.commit({tp: offset})
        finally:
            await consumer.stop()

    def audit(self, *options: str) -> Ran:
        return run_command("audit", self.file, "--bootstrap", self.bootstrap, *options)


def internal_record(pipeline: Pipeline, offset: int) -> bytes:
    value = transaction(offset)
    columns = EventDecoder(pipeline.events).decode([value]).columns
    columns.source_partition[:] = 0
    columns.source_offset[:] = offset
    assert columns.kind[0] == EVENT
    (encoded,) = encode_internal(
        columns,
        pipeline.events.topic,
        np.array([0]),
        np.array([offset]),
        np.zeros((1, 0)),
        "version",
        pipeline.events,
    )
    return encoded


def transaction(number: int) -> bytes:
    return (
        b'{"transaction_id":"t%d","event_time":1700000000000,"customer_id":"c","terminal_id":"m",'
        b'"amount":1}' % number
    )


@pytest.fixture
def scene(kafka: str, tmp_path: Path) -> Scene:
    pipeline = own_pipeline()
    connection = Connection(bootstrap=kafka)
    asyncio.run(create_topics(connection, pipeline, partitions=1))
    scene = Scene(kafka, pipeline, written(pipeline, tmp_path))
    produce(kafka, scene.topic, [(b"c", transaction(n), 0, ()) for n in range(scene.records)])
    return scene


def test_every_record_out_once_is_proven(scene: Scene) -> None:
    scene.score(range(18))
    scene.bury([18, 19])
    scene.commit(scene.topic, 20)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["verdict"]) == (0, "proven")
    found = {key: ran.json[key] for key in ("records", "scored", "dead_letters", "lost")}
    assert found == {"records": 20, "scored": 18, "dead_letters": 2, "lost": 0}


def test_a_record_without_output_is_lost_and_named(scene: Scene) -> None:
    scene.score(set(range(20)) - {7})
    scene.commit(scene.topic, 20)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["verdict"], ran.json["lost"]) == (6, "failed", 1)
    assert ran.json["samples"]["lost"] == [f"{scene.topic}-0-7"]
    told = scene.audit()
    assert told.code == 6
    assert "FAILED" in told.out
    assert f"{scene.topic}-0-7" in told.err


def test_a_record_scored_twice_or_scored_and_dead_fails(scene: Scene) -> None:
    scene.score([*range(20), 3])
    scene.bury([4])
    scene.commit(scene.topic, 20)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["scored_twice"], ran.json["scored_and_dead"]) == (6, 1, 1)


def test_what_was_not_committed_is_in_flight_scored_or_not(scene: Scene) -> None:
    scene.score(range(17))
    scene.commit(scene.topic, 15)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["records"], ran.json["in_flight"]) == (0, 15, 5)
    assert ran.json["outputs_beyond"] == 2


def test_what_waits_between_two_stages_is_in_flight_and_not_lost(scene: Scene) -> None:
    #  input committed 20 --> internal log: 16..19 written, 2 of them committed --> scored 0..17
    scene.score(range(18))
    scene.hand_on([16, 17, 18, 18, 19])
    scene.commit(scene.topic, 20)
    scene.commit(internal_topic(scene.pipeline, "terminal_id"), 2)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["records"], ran.json["in_flight"]) == (0, 18, 2)


def test_what_waits_behind_a_stage_that_re_keys_is_in_flight_and_not_lost(scene: Scene) -> None:
    rekeyed = scene.pipeline.with_partitioning("rekey")
    asyncio.run(create_topics(Connection(bootstrap=scene.bootstrap), rekeyed, partitions=1))
    inside = internal_topic(scene.pipeline, "customer_id")
    values = [internal_record(scene.pipeline, offset) for offset in (18, 19)]
    produce(scene.bootstrap, inside, [(b"c", value, 0, ()) for value in values])
    scene.score(range(18))
    scene.commit(scene.topic, 20)
    assert scene.audit("--json").json["lost"] == 2
    ran = scene.audit("--json", "--partitioning", "rekey")
    assert (ran.code, ran.json["lost"], ran.json["in_flight"]) == (0, 0, 2)


def test_what_a_later_stage_has_committed_and_not_published_is_lost(scene: Scene) -> None:
    scene.score(range(18))
    scene.hand_on([18, 19])
    scene.commit(scene.topic, 20)
    scene.commit(internal_topic(scene.pipeline, "terminal_id"), 2)
    assert scene.audit("--json").json["lost"] == 2


def test_a_dead_letter_of_a_later_stage_stands_for_its_input_record(scene: Scene) -> None:
    scene.score(range(19))
    scene.bury([19], topic=internal_topic(scene.pipeline, "terminal_id"))
    scene.commit(scene.topic, 20)
    assert scene.audit("--json").json["verdict"] == "proven"


def test_dead_letters_of_another_group_do_not_count(scene: Scene) -> None:
    scene.score(range(19))
    scene.bury([19], group="somebody-else")
    scene.commit(scene.topic, 20)
    assert scene.audit("--json").json["lost"] == 1


def test_transaction_markers_of_the_producer_are_no_records(scene: Scene) -> None:
    asyncio.run(_send_in_transaction(scene))
    # offset 20: a record, 21: the marker of its commit, 22: an aborted record, 23: its marker
    scene.score(range(21))
    scene.commit(scene.topic, 24)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["records"], ran.json["lost"]) == (0, 21, 0)


async def _send_in_transaction(scene: Scene) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.bootstrap, transactional_id=scene.pipeline.name
    )
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(scene.topic, transaction(20), partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(scene.topic, transaction(21), partition=0)
        await producer.abort_transaction()
    finally:
        await producer.stop()


def test_a_stated_range_is_audited_alone(scene: Scene) -> None:
    scene.score(range(5, 10))
    scene.commit(scene.topic, 20)
    ran = scene.audit("--json", "--range", "0:5-9")
    assert (ran.code, ran.json["records"], ran.json["scored"]) == (0, 5, 5)
    assert scene.audit("--range", "0:5-10").code == 6
    assert scene.audit("--range", "5-10").code == 2


def cut(scene: Scene, topic: str, before: int) -> None:
    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=scene.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before)})
        finally:
            await admin.close()

    asyncio.run(delete())


def test_a_cut_input_is_unproven_but_for_the_range_that_is_left(scene: Scene) -> None:
    scene.score(range(20))
    scene.commit(scene.topic, 20)
    cut(scene, scene.topic, 4)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["verdict"]) == (6, "unproven")
    assert scene.audit("--range", "0:4-19").code == 0


def test_a_cut_output_is_unproven_and_its_losses_unknown(scene: Scene) -> None:
    scene.score(range(20))
    scene.commit(scene.topic, 20)
    cut(scene, scene.pipeline.scored, 4)
    ran = scene.audit("--json")
    assert (ran.code, ran.json["verdict"], ran.json["lost"]) == (6, "unproven", None)
    assert "UNPROVEN" in scene.audit().out


def test_a_pipeline_that_never_ran_proves_nothing(scene: Scene) -> None:
    ran = scene.audit("--json")
    assert (ran.code, ran.json["verdict"]) == (6, "unproven")
    assert "committed nothing" in ran.json["unproven"][0]


def test_missing_topics_are_named(kafka: str, tmp_path: Path) -> None:
    file = written(own_pipeline(), tmp_path)
    ran = run_command("audit", file, "--bootstrap", kafka, "--json")
    assert ran.code == NotFoundError.exit_code
    assert ran.json["error"]["code"] == "topic_missing"
