from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from stream_infer.cli.records import bytes_text, value_json
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics as create_pipeline_topics
from stream_infer.pipeline import Pipeline
from support.commands import Ran, run_command
from support.kafka import create_topics, produce, unique
from support.pipelines import own_pipeline, written


@pytest.fixture(scope="module")
def topic(kafka: str) -> str:
    name = unique("tail")
    create_topics(kafka, {name: 2})
    messages = [(b"k%d" % n, b'{"n":%d}' % n, n % 2, [("h", b"1"), ("h", b"2")]) for n in range(6)]
    produce(kafka, name, messages)
    produce(kafka, name, [(b"gone", None, 0, [])])
    return name


def tail(kafka: str, topic: str, *options: str) -> Ran:
    return run_command("tail", topic, "--bootstrap", kafka, *options)


def test_from_the_beginning_everything_is_printed_once(kafka: str, topic: str) -> None:
    ran = tail(kafka, topic, "--from", "beginning", "--no-follow", "--json")
    assert ran.code == 0
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert sorted((row["partition"], row["offset"]) for row in rows) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    first = next(row for row in rows if (row["partition"], row["offset"]) == (0, 0))
    assert (first["key"], first["value"]) == ("k0", {"n": 0})
    assert first["headers"] == [["h", "1"], ["h", "2"]]


def test_a_limit_ends_it_without_an_end_of_the_topic(kafka: str, topic: str) -> None:
    ran = tail(kafka, topic, "--from", "beginning", "--limit", "3")
    assert (ran.code, len(ran.out.splitlines())) == (0, 3)


def test_an_offset_and_a_partition_choose_the_records(kafka: str, topic: str) -> None:
    ran = tail(kafka, topic, "--from", "2", "--partition", "1", "--no-follow", "--json")
    assert [json.loads(line)["value"] for line in ran.out.splitlines()] == [{"n": 5}]


def test_an_offset_that_is_not_there_is_moved_and_said(kafka: str, topic: str) -> None:
    ran = tail(kafka, topic, "--from", "99", "--partition", "1", "--no-follow")
    assert (ran.code, ran.out) == (0, "")
    assert "beginning at 3" in ran.err


def test_a_tombstone_is_shown_as_null(kafka: str, topic: str) -> None:
    ran = tail(kafka, topic, "--from", "3", "--partition", "0", "--no-follow")
    assert ran.out.rstrip().endswith("gone null")


def test_a_missing_topic_or_partition_exits_3(kafka: str, topic: str) -> None:
    assert tail(kafka, unique("none"), "--json").json["error"]["code"] == "topic_missing"
    assert tail(kafka, topic, "--partition", "9").code == 3
    assert tail(kafka, topic, "--from", "yesterday").code == 2


def test_bytes_from_outside_cannot_steer_the_terminal() -> None:
    assert bytes_text(b"\x1b[2Jhello\n") == "\\x1b[2Jhello\\n"
    assert bytes_text(b"\xff\x00") == "0xff00"


def test_what_is_no_json_is_shown_without_loss() -> None:
    assert value_json(b"plain") == "plain"
    assert value_json(b"\xff") == {"base64": "/w=="}
    assert value_json(b"[" * 5_000) == "[" * 5_000


SENSITIVE = """
import dataclasses

pipeline = dataclasses.replace(
    pipeline, events=dataclasses.replace(pipeline.events, sensitive=("customer_id",))
)
"""
CARD = "4111111111111111"


@pytest.fixture
def private(kafka: str, tmp_path: Path) -> tuple[Pipeline, Path]:
    """A pipeline whose customers are named by their cards, with one record in each topic."""
    pipeline = own_pipeline()
    file = written(pipeline, tmp_path)
    file.write_text(file.read_text() + SENSITIVE)
    asyncio.run(create_pipeline_topics(Connection(bootstrap=kafka), pipeline, partitions=1))
    named = json.dumps({"customer_id": CARD, "amount": 1, "extra": {"customer_id": CARD}}).encode()
    inner = json.dumps([1, 0, "t", 0, 0, CARD]).encode()
    assert pipeline.alerts is not None
    alert = json.dumps({"entity_type": "customer_id", "entity": CARD, "kind": "card_fraud"})
    produce(kafka, pipeline.events.topic, [(CARD.encode(), named, None, [])])
    produce(kafka, pipeline.alerts.topic, [(b"alert-1", alert.encode(), None, [])])
    produce(kafka, f"{pipeline.name}.candidates", [(f"customer:{CARD}".encode(), inner, None, [])])
    return pipeline, file


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_sensitive_fields_are_masked_unless_somebody_asks(
    kafka: str, private: tuple[Pipeline, Path], form: tuple[str, ...]
) -> None:
    pipeline, file = private
    assert pipeline.alerts is not None
    for topic in (pipeline.events.topic, pipeline.alerts.topic, f"{pipeline.name}.candidates"):
        options = ("--from", "beginning", "--no-follow", "--pipeline", str(file), *form)
        masked = tail(kafka, topic, *options)
        assert (masked.code, len(masked.out.splitlines())) == (0, 1)
        assert CARD not in masked.out + masked.err
        assert CARD in tail(kafka, topic, *options, "--reveal").out


def test_what_is_masked_leaves_the_rest_as_it_is(
    kafka: str, private: tuple[Pipeline, Path], tmp_path: Path
) -> None:
    pipeline, file = private
    assert pipeline.alerts is not None
    config = tmp_path / "tail.toml"
    config.write_text(f'[pipeline]\nfile = "{file}"\n')
    options = ("--from", "beginning", "--no-follow", "--json", "--config", str(config))
    [line] = tail(kafka, pipeline.events.topic, *options).out.splitlines()
    masked = {"customer_id": "***1111"}
    assert json.loads(line)["value"] == {**masked, "amount": 1, "extra": masked}
    [line] = tail(kafka, pipeline.alerts.topic, *options).out.splitlines()
    assert json.loads(line)["key"] == "alert-1"
    assert json.loads(line)["value"]["entity"] == "***1111"


def test_a_sensitive_field_is_masked_under_the_name_that_a_mapping_gives_it(
    kafka: str, private: tuple[Pipeline, Path], tmp_path: Path
) -> None:
    pipeline, file = private
    value = json.dumps({"card": {"number": CARD}}).encode()
    produce(kafka, pipeline.events.topic, [(None, value, 0, [])])
    config = tmp_path / "mapped.toml"
    config.write_text(f'[pipeline]\nfile = "{file}"\n[fields]\ncustomer_id = "card.number"\n')
    ran = tail(
        kafka, pipeline.events.topic, "--from", "beginning", "--no-follow", "--config", str(config)
    )
    assert len(ran.out.splitlines()) == 2
    assert CARD not in ran.out
