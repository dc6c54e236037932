from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiokafka.partitioner import murmur2

from stream_infer.durations import parse_duration
from stream_infer.errors import InvalidDataError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.replaying import REPLAY_CLOCK_HEADER, Pace
from stream_infer.kafka.sending import topic_sender
from stream_infer.kafka.topics import create_topics as create_pipeline_topics
from stream_infer.pipeline import Pipeline
from support.commands import Ran, run_command
from support.kafka import create_topics, read_all, unique
from support.pipelines import own_pipeline, written

FIELDS = "event_time=TX_DATETIME,transaction_id=ID,customer_id=C,terminal_id=M,amount=TX_AMOUNT"
START_MS = 1_522_540_800_000
ROWS = 1_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "transactions.parquet"
    pl.DataFrame(
        {
            "ID": range(ROWS),
            "TX_DATETIME": pl.Series([START_MS + 60_000 * n for n in range(ROWS)]).cast(
                pl.Datetime("ms")
            ),
            "C": [n % 37 for n in range(ROWS)],
            "M": [n % 11 for n in range(ROWS)],
            "TX_AMOUNT": [n / 100 for n in range(ROWS)],
            "TX_FRAUD": [n % 5 == 0 for n in range(ROWS)],
        }
    ).write_parquet(path)
    return path


class Replay:
    def __init__(self, bootstrap: str, pipeline: Pipeline, folder: Path) -> None:
        self.bootstrap, self.pipeline = bootstrap, pipeline
        self._reference = str(written(pipeline, folder))

    def __call__(self, file: Path, topic: str, *options: str) -> Ran:
        return run_command(
            "replay",
            file,
            "--pipeline",
            self._reference,
            "--topic",
            topic,
            "--bootstrap",
            self.bootstrap,
            "--fields",
            FIELDS + ",is_fraud=TX_FRAUD",
            *options,
        )

    def values(self, topic: str) -> list[Any]:
        return [json.loads(record.value or b"") for record in read_all(self.bootstrap, topic)]


@pytest.fixture
def replay(kafka: str, tmp_path: Path) -> Replay:
    pipeline = own_pipeline()
    asyncio.run(create_pipeline_topics(Connection(bootstrap=kafka), pipeline))
    return Replay(kafka, pipeline, tmp_path)


def test_rows_lie_where_java_s_producer_would_put_them_in_file_order(
    replay: Replay, file: Path
) -> None:
    topic = replay.pipeline.events.topic
    before_ms = int(time.time() * 1_000)
    ran = replay(file, topic, "--json")
    assert ran.code == 0
    assert (ran.json["records"], sum(ran.json["partitions"])) == (ROWS, ROWS)
    records = read_all(replay.bootstrap, topic)
    assert len(records) == ROWS
    for record in records:
        event = json.loads(record.value or b"")
        assert record.key == event["customer_id"].encode()
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 4
        assert event["event_time"] == START_MS + 60_000 * int(event["transaction_id"])
        assert before_ms <= record.timestamp <= int(time.time() * 1_000)
        assert record.headers == ()
    for partition in range(4):
        order = [
            int(json.loads(r.value or b"")["transaction_id"])
            for r in records
            if r.partition == partition
        ]
        assert order == sorted(order)


def test_labels_are_made_of_events_and_keyed_by_transaction(replay: Replay, file: Path) -> None:
    assert replay.pipeline.labels is not None
    topic = replay.pipeline.labels.topic
    ran = replay(file, topic, "--label-delay", "6d", "--limit", "20", "--json")
    assert (ran.code, ran.json["records"]) == (0, 20)
    for record in read_all(replay.bootstrap, topic):
        label = json.loads(record.value or b"")
        assert record.key == label["transaction_id"].encode()
        assert label["label_time"] == label["event_time"] + parse_duration("6d")
        assert label["is_fraud"] is (int(label["transaction_id"]) % 5 == 0)


def test_a_paced_replay_writes_its_clock_and_nothing_before_its_time(
    replay: Replay, file: Path
) -> None:
    topic = replay.pipeline.events.topic
    # 5 rows a minute apart at 1,200 minutes a second: 50 ms between two of them
    assert replay(file, topic, "--speed", "1200", "--limit", "5").code == 0
    records = read_all(replay.bootstrap, topic)
    assert len(records) == 5
    for record in records:
        ((name, clock),) = record.headers
        assert name == REPLAY_CLOCK_HEADER
        assert int(clock) >= json.loads(record.value or b"")["event_time"]


def test_pace_waits_as_long_as_event_time_needs() -> None:
    pace = Pace(start_ms=START_MS, speed=60.0)
    assert pace.clock_ms(0.5) == START_MS + 30_000
    assert pace.wait_s(START_MS + 60_000, elapsed_s=0.25) == pytest.approx(0.75)
    assert pace.wait_s(START_MS, elapsed_s=3.0) == 0.0


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_hold_the_same_records(
    replay: Replay, file: Path, compression: str
) -> None:
    topic = replay.pipeline.events.topic
    assert replay(file, topic, "--limit", "50", "--compression", compression).code == 0
    assert sorted(int(v["transaction_id"]) for v in replay.values(topic)) == list(range(50))


def test_another_field_may_be_the_key(replay: Replay, file: Path) -> None:
    topic = replay.pipeline.events.topic
    assert replay(file, topic, "--limit", "5", "--key", "terminal_id").code == 0
    keys = {record.key for record in read_all(replay.bootstrap, topic)}
    assert keys == {b"0", b"1", b"2", b"3", b"4"}
    assert replay(file, topic, "--key", "nope").code == 2


def test_a_topic_that_is_missing_is_never_created(kafka: str, tmp_path: Path, file: Path) -> None:
    replay = Replay(kafka, own_pipeline(), tmp_path)
    ran = replay(file, replay.pipeline.events.topic, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "topic_missing")
    assert replay(file, replay.pipeline.events.topic, "--json").code == 3


def test_wrong_use_is_told_before_anything_is_sent(replay: Replay, file: Path) -> None:
    topic = replay.pipeline.events.topic
    assert replay(file, "somewhere-else").code == 2
    assert replay(file, topic, "--label-delay", "6d").code == 2
    assert replay(file, topic, "--speed", "0").code == 2
    assert replay(file.with_name("none.csv"), topic).code == 3
    assert read_all(replay.bootstrap, topic) == []


async def test_a_record_that_the_topic_refuses_is_an_error_and_not_silence(kafka: str) -> None:
    topic = unique("small")
    await asyncio.to_thread(create_topics, kafka, {topic: 1}, {"max.message.bytes": "1000"})
    with pytest.raises(InvalidDataError) as raised:
        async with topic_sender(Connection(bootstrap=kafka), topic) as sender:
            await sender.send(["a"], [b"x" * 5_000])
    assert raised.value.code == "record_too_large"
