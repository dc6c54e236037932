"""What is configured wrongly ends a worker with one cause, one fix, its exit code, no traceback."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition
from msgspec.json import encode

from stream_infer.alerts.lists import ListRecord, list_key
from stream_infer.events.internal import is_list_change
from stream_infer.events.topic_names import internal_topic, lists_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_specs, pipeline_topics
from stream_infer.pipeline import Pipeline
from stream_infer.records import KeyPartitioner
from support.bad import payment
from support.kafka import acreate_topics, aproduce, aread_all
from support.load import START_MS, make_load, send_transactions
from support.pipelines import own_pipeline, written
from support.worker import (
    COMMAND,
    WorkerProcess,
    make_topics,
    serving,
    settle,
    until,
    work_off,
    worker_process,
)

pytestmark = pytest.mark.kafka


async def end_of(file: Path, bootstrap: str, *options: str) -> tuple[int, str]:
    """Run a worker that must end by itself; return its exit code and what it said."""
    process = WorkerProcess(
        file, bootstrap, *options, settings={"connect_wait": "1s"}, command=COMMAND
    )
    try:
        return await process.exit_code(patience_s=45), process.log
    finally:
        process.kill()


async def delete_topic(kafka: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await admin.list_topics()

        await until(gone)
    finally:
        await admin.close()


def assert_one_cause_one_fix(said: str, cause: str, fix: str) -> None:
    """Check that the error stands there once, with its fix, and nothing of Python's."""
    assert "Traceback" not in said, said
    assert len(re.findall(r"^error: ", said, re.MULTILINE)) == 1, said
    assert len(re.findall(r"^  fix: ", said, re.MULTILINE)) == 1, said
    error = re.search(r"^error: (.*)$", said, re.MULTILINE)
    mend = re.search(r"^  fix: (.*)$", said, re.MULTILINE)
    assert error is not None
    assert cause in error[1], said
    assert mend is not None
    assert fix in mend[1], said


async def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: refused for sure
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, said = await end_of(written(own_pipeline(), tmp_path), f"127.0.0.1:{port}")
    assert code == 1
    assert_one_cause_one_fix(said, f"Nothing listens at 127.0.0.1:{port}", "--bootstrap")
    assert said.count("waiting_for_broker") == 1


@pytest.mark.parametrize("role", ["input", "labels", "internal", "scored"])
async def test_a_topic_that_is_missing(kafka: str, tmp_path: Path, role: str) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, own_pipeline(), 1)
    there = [spec for spec in pipeline_topics(pipeline, 1) if spec.role != role]
    await create_specs(Connection(bootstrap=kafka), there)
    name = next(spec.name for spec in pipeline_topics(pipeline, 1) if spec.role == role)
    code, said = await end_of(written(pipeline, tmp_path), kafka)
    assert code == 3
    assert_one_cause_one_fix(said, repr(name), "stream-infer topics create")


async def test_an_internal_topic_with_another_number_of_partitions(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    await acreate_topics(kafka, {f"{pipeline.name}.by-terminal": 3}, {"retention.ms": "-1"})
    with pytest.raises(Exception, match="partitions"):
        await make_topics(kafka, pipeline, 2)
    specs = [spec for spec in pipeline_topics(pipeline, 2) if spec.role != "internal"]
    await create_specs(Connection(bootstrap=kafka), specs)
    code, said = await end_of(written(pipeline, tmp_path), kafka)
    assert code == 4
    assert_one_cause_one_fix(said, "has 3 partitions, 2 are needed", "delete topic")


async def test_an_input_kept_too_shortly_is_a_warning_and_the_worker_serves(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    await acreate_topics(kafka, {pipeline.events.topic: 1}, {"retention.ms": "86400000"})
    await make_topics(kafka, pipeline, 1)
    load = make_load(days=1)
    await send_transactions(kafka, pipeline, load.transactions)
    async with worker_process(written(pipeline, tmp_path), kafka) as process:
        await settle(kafka, pipeline, process.alive)
        assert await process.stop() == 0
        assert "retention_too_short" in process.log
        assert "Set retention.ms=" in process.log


async def test_an_internal_topic_kept_too_shortly_is_an_error(kafka: str, tmp_path: Path) -> None:
    pipeline = own_pipeline()
    await acreate_topics(kafka, {f"{pipeline.name}.by-terminal": 1}, {"retention.ms": "86400000"})
    await make_topics(kafka, pipeline, 1)
    code, said = await end_of(written(pipeline, tmp_path), kafka)
    assert code == 4
    assert_one_cause_one_fix(said, "keeps records for 1d", "Set retention.ms=")


async def test_a_producer_that_partitions_in_another_way(kafka: str, tmp_path: Path) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 2)
    places = KeyPartitioner(2).place([f"c{i}" for i in range(200)])
    elsewhere = [
        (b"", payment(customer_id=f"c{i}", event_time=START_MS + i), 1 - partition, ())
        for i, (_, partition) in enumerate(places)
    ]
    await aproduce(kafka, pipeline.events.topic, elsewhere)
    code, said = await end_of(written(pipeline, tmp_path), kafka)
    assert code == 4
    assert_one_cause_one_fix(said, "murmur2 of customer_id", "--partitioning rekey")


async def test_records_that_expired_before_they_were_read(kafka: str, tmp_path: Path) -> None:
    pipeline = await interrupted(kafka)
    file = written(pipeline, tmp_path)
    code, said = await end_of(file, kafka)
    assert code == 4
    assert_one_cause_one_fix(said, "records expired unread", "--when-offset-lost earliest")
    async with worker_process(file, kafka, "--when-offset-lost", "earliest") as process:
        await settle(kafka, pipeline, process.alive)
        assert await process.stop() == 0, process.log


async def interrupted(kafka: str) -> Pipeline:
    """Return a pipeline whose worker has gone, and whose input was cut beyond its offset."""
    pipeline, load = own_pipeline(), make_load(days=4)
    await make_topics(kafka, pipeline, 1)
    await send_transactions(kafka, pipeline, load.transactions.take(slice(0, 100)))
    await work_off(kafka, pipeline)
    await send_transactions(kafka, pipeline, load.transactions.take(slice(100, 400)))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        cut = {TopicPartition(pipeline.events.topic, 0): RecordsToDelete(before_offset=150)}
        await admin.delete_records(cut)
    finally:
        await admin.close()
    return pipeline


async def test_an_input_that_was_deleted_and_made_anew(kafka: str, tmp_path: Path) -> None:
    """Its offsets begin again, and the next stage would take every new event for an old one."""
    pipeline, load = own_pipeline(), make_load(days=4)
    await make_topics(kafka, pipeline, 1)
    await send_transactions(kafka, pipeline, load.transactions)
    await work_off(kafka, pipeline)
    await delete_topic(kafka, pipeline.events.topic)
    await make_topics(kafka, pipeline, 1)
    await send_transactions(kafka, pipeline, load.transactions.take(slice(0, 50)))
    code, said = await end_of(written(pipeline, tmp_path), kafka)
    assert code == 4
    assert_one_cause_one_fix(said, "made anew", "under a new name")


async def block(kafka: str, pipeline: Pipeline, *customers: str) -> None:
    lists = "blocked-customers"
    await aproduce(
        kafka,
        lists_topic(pipeline) or "",
        [
            (list_key(lists, each), encode(ListRecord(list=lists, entity=each)), None, ())
            for each in customers
        ],
    )


async def blocks(kafka: str, pipeline: Pipeline, count: int) -> None:
    """Wait until so many changes of lists stand in the deciding stage's log."""
    log = internal_topic(pipeline, "terminal_id")

    async def told() -> bool:
        records = await aread_all(kafka, log)
        return sum(is_list_change(record.value) for record in records) >= count

    await until(told)


async def test_lists_that_were_deleted_and_made_anew(kafka: str, tmp_path: Path) -> None:
    """Their first records would be taken for older than what the deciding stage was told."""
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 1)
    await block(kafka, pipeline, "c1", "c2")
    async with serving(kafka, pipeline):
        await blocks(kafka, pipeline, 2)
    await delete_topic(kafka, lists_topic(pipeline) or "")
    await make_topics(kafka, pipeline, 1)
    await block(kafka, pipeline, "c2")
    code, said = await end_of(written(pipeline, tmp_path), kafka)
    assert code == 4
    assert_one_cause_one_fix(said, "lists was deleted and made anew", "under a new name")


async def test_lists_that_are_declared_when_the_pipeline_has_run_are_no_mistake(
    kafka: str,
) -> None:
    pipeline = own_pipeline()
    assert pipeline.alerts is not None
    before = replace(pipeline, alerts=replace(pipeline.alerts, lists=()))
    await make_topics(kafka, before, 1)
    await send_transactions(kafka, before, make_load(days=2).transactions)
    await work_off(kafka, before)
    await make_topics(kafka, pipeline, 1)
    await block(kafka, pipeline, "c1")
    async with serving(kafka, pipeline):
        await blocks(kafka, pipeline, 1)
    # Nor is a second start, which finds the change that the first one told.
    async with serving(kafka, pipeline):
        await blocks(kafka, pipeline, 2)
