from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.replaying import REPLAY_CLOCK_HEADER
from stream_infer.kafka.topic_specs import retention_ms_min
from stream_infer.kafka.topics import read_topics
from stream_infer.pipelines.fraud import pipeline
from stream_infer.simulators.fraud import DAY_MS, World, generate
from stream_infer.simulators.roads import corridor_id
from stream_infer.simulators.traffic import Roads, truth
from stream_infer.simulators.traffic import generate as generate_readings
from stream_infer.traffic.sensors import read_sensor_table
from support.commands import Ran, run_command
from support.kafka import Record, create_topics, read_all, unique
from support.worker import COMMAND

START_MS = 1_767_225_600_000
SMALL_TOWN = ("--customers", "200", "--terminals", "100", "--seed", "3")
WHOLE_WORLD = World(
    customers=200, terminals=100, seed=3, days=10, accounts_lost=0.0004, cards_tested=0.0004
)


class Topics:
    """Topics of a simulation that no other test uses."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.events, self.labels, self.truth = (unique(name) for name in ("tx", "labels", "truth"))

    def simulate(self, simulation: str, *options: str) -> Ran:
        topics = ["--topic", self.events, "--truth-topic", self.truth]
        if simulation == "fraud":
            topics += ["--label-topic", self.labels]
        return run_command("simulate", simulation, "--bootstrap", self.bootstrap, *topics, *options)

    def read(self, topic: str) -> list[Record]:
        return read_all(self.bootstrap, topic)


@pytest.fixture
def topics(kafka: str) -> Topics:
    return Topics(kafka)


def content(record: Record) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(record.value or b"")
    return value


def in_order(records: list[Record], field: str) -> bool:
    """Say whether a field never falls within a partition."""
    by_partition: dict[int, list[Any]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(content(record)[field])
    return all(values == sorted(values) for values in by_partition.values())


def test_kafka_holds_the_world_that_the_summary_tells_of(topics: Topics) -> None:
    ran = topics.simulate(
        "fraud", *SMALL_TOWN, "--days", "10", "--speed", "max", "--create-topics", "--json"
    )
    assert ran.code == 0, ran
    whole = generate(WHOLE_WORLD)
    known = whole.label_time <= whole.event_time[-1]
    assert ran.json["to"] == {
        topics.events: len(whole),
        topics.labels: int(known.sum()),
        topics.truth: int(whole.is_fraud.sum()),
    }
    assert ran.json["ended"] == "complete"
    assert ran.json["first_event_time"].startswith("2026-01-01T00:")
    events, labels, told = map(topics.read, (topics.events, topics.labels, topics.truth))
    assert {content(r)["transaction_id"] for r in events} == set(whole.ids)
    assert len(events) == len(whole)
    for record in events:
        assert record.key == content(record)["customer_id"].encode()
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 4
        assert record.headers == ()
    assert in_order(events, "event_time")
    assert in_order(labels, "label_time")
    frauds = {name for name, fraud in zip(whole.ids, whole.is_fraud.tolist(), strict=True) if fraud}
    assert {content(r)["transaction_id"] for r in told} == frauds
    assert {content(r)["transaction_id"] for r in labels if content(r)["is_fraud"]} <= frauds
    assert sum(ran.json["truth"].values()) == len(frauds)


def test_kafka_holds_the_readings_and_the_truth_about_the_roads(
    topics: Topics, tmp_path: Path
) -> None:
    table = tmp_path / "sensors.csv"
    ran = topics.simulate(
        "traffic",
        *("--corridors", "3", "--sensors", "6", "--days", "0.5", "--speed", "max"),
        *("--incidents", "8", "--faults", "30", "--create-topics", "--partitions", "2"),
        *("--sensor-table", str(table), "--json"),
    )
    assert ran.code == 0, ran
    plain = Roads()
    roads = Roads(
        corridors=3,
        sensors_per_corridor=6,
        minutes=720,
        incidents_per_corridor_day=8,
        silent_per_sensor_day=30 * plain.silent_per_sensor_day,
        stuck_per_sensor_day=30 * plain.stuck_per_sensor_day,
        spikes_per_sensor_day=30 * plain.spikes_per_sensor_day,
        drift_per_sensor_day=30 * plain.drift_per_sensor_day,
    )
    events, told = topics.read(topics.events), topics.read(topics.truth)
    assert ran.json["events"] == len(events) == len(generate_readings(roads))
    known = {sensor.sensor_id for sensor in read_sensor_table(table).sensors}
    assert {content(r)["sensor_id"] for r in events} <= known
    assert {r.partition for r in events} == {0, 1}
    incidents, faults = truth(roads)
    closed = [content(r) for r in told if content(r)["kind"] == "incident"]
    assert sorted(each["incident_id"] for each in closed) == sorted(
        each.incident_id for each in incidents
    )
    assert {each["corridor"] for each in closed} <= {corridor_id(n) for n in range(3)}
    assert len(told) == len(incidents) + len(faults)
    assert ran.json["truth"]["incident"] == len(closed) > 3


def test_a_rate_is_kept_and_time_that_is_up_ends_it(topics: Topics) -> None:
    ran = topics.simulate(
        "fraud", *SMALL_TOWN, "--rate", "200", "--seconds", "1", "--create-topics", "--json"
    )
    assert ran.code == 0
    assert ran.json["ended"] == "seconds"
    assert 0 < ran.json["events"] <= 200
    events = topics.read(topics.events)
    assert len(events) == ran.json["events"]
    for record in events:
        ((name, clock),) = record.headers
        assert name == REPLAY_CLOCK_HEADER
        assert int(clock) >= content(record)["event_time"]


def test_the_same_seed_goes_on_where_a_shorter_run_ended(topics: Topics, tmp_path: Path) -> None:
    short, long = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    for file, days in ((short, "1"), (long, "2.5")):
        ran = run_command(
            "simulate", "fraud", *SMALL_TOWN, "--speed", "max", "--days", days, "--to-file", file
        )
        assert ran.code == 0
    assert long.read_bytes().startswith(short.read_bytes())
    last = json.loads(long.read_bytes().splitlines()[-1])
    assert START_MS + 2 * DAY_MS < last["event_time"] < START_MS + 2.5 * DAY_MS


def test_missing_topics_are_not_created_unasked(topics: Topics) -> None:
    ran = topics.simulate("fraud", "--seconds", "1", "--json")
    assert ran.code == 3
    assert ran.json["error"]["code"] == "topic_missing"
    assert "--create-topics" in ran.json["error"]["fix"]
    create_topics(topics.bootstrap, {topics.events: 1, topics.labels: 1})
    ran = topics.simulate("fraud", "--seconds", "1")
    assert ran.code == 3
    assert "--no-truth" in ran.err


def test_topics_that_are_created_keep_records_as_long_as_the_pipeline_needs(
    topics: Topics,
) -> None:
    assert topics.simulate("fraud", *SMALL_TOWN, "--seconds", "0.1", "--create-topics").code == 0
    connection = Connection(bootstrap=topics.bootstrap)
    facts = asyncio.run(read_topics(connection, [topics.events, topics.labels, topics.truth]))
    needed = str(retention_ms_min(pipeline))
    assert facts[topics.events].config["retention.ms"] == needed
    assert facts[topics.labels].config["retention.ms"] == needed
    assert facts[topics.truth].partitions == 4


def test_without_truth_and_labels_only_events_are_written(topics: Topics) -> None:
    create_topics(topics.bootstrap, {topics.events: 1})
    ran = topics.simulate(
        "fraud", *SMALL_TOWN, "--no-truth", "--no-labels", "--days", "9", "--speed", "max", "--json"
    )
    assert ran.code == 0
    assert list(ran.json["to"]) == [topics.events]
    assert ran.json["truth"] == {}


def test_files_hold_events_labels_and_truth_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "tx.jsonl"
    command = ("simulate", "fraud", *SMALL_TOWN, "--days", "10", "--speed", "max")
    ran = run_command(*command, "--to-file", file, "--json")
    assert ran.code == 0
    for name, count in ran.json["to"].items():
        assert len(Path(name).read_text().splitlines()) == count > 0
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "tx.jsonl",
        "tx.labels.jsonl",
        "tx.truth.jsonl",
    ]
    again = run_command(*command, "--to-file", file, "--json")
    assert again.code == 4
    assert again.json["error"]["code"] == "file_exists"
    assert run_command(*command, "--to-file", file, "--overwrite").code == 0


def test_stdout_holds_events_and_nothing_else() -> None:
    words = "simulate traffic --corridors 1 --days 0.01 --speed max --to-file -"
    ran = subprocess.run(
        [*COMMAND, *words.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) > 300
    assert {"sensor_id", "event_time", "flow", "occupancy"} <= set(lines[0])
    assert "events/s" in ran.stderr


def test_ctrl_c_ends_it_with_the_summary_of_what_was_written(topics: Topics) -> None:
    create_topics(topics.bootstrap, {topics.events: 1, topics.truth: 1})
    words = f"simulate traffic --rate 500 --json --bootstrap {topics.bootstrap}"
    words += f" --topic {topics.events} --truth-topic {topics.truth}"
    running = subprocess.Popen(
        [*COMMAND, *words.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        while not topics.read(topics.events):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode == 0, err
    summary = json.loads(out)
    assert summary["ended"] == "interrupted"
    assert summary["events"] == len(topics.read(topics.events)) > 0
    assert err == ""


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--speed", "max"], 2, "without an end"),
        (["--speed", "2", "--rate", "5"], 2, "Give one of them"),
        (["--rate", "0"], 2, "--rate"),
        (["--speed", "fast"], 2, "neither 'max' nor a positive number"),
        (["--start", "yesterday"], 2, "neither a time"),
        (["--days", "1", "--speed", "max", "--to-file", "-", "--json"], 2, "stdout"),
        (["--days", "1", "--to-file", "/no/such/folder/x.jsonl"], 2, "cannot be written"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_fix(
    options: list[str], code: int, says: str
) -> None:
    ran = run_command("simulate", "fraud", *options)
    assert ran.code == code
    assert says in ran.err + ran.out
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--sensor-table", "sensors.xlsx"], 2, ".csv or .json"),
        (["--interval", "500ms"], 2, "whole seconds"),
        (["--corridors", "0"], 2, "--corridors"),
    ],
)
def test_impossible_roads_are_refused_with_a_fix(options: list[str], code: int, says: str) -> None:
    ran = run_command("simulate", "traffic", "--seconds", "1", *options)
    assert ran.code == code
    assert says in ran.err
