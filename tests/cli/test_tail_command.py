from __future__ import annotations

import json

import pytest

from stream_infer.cli.records import bytes_text, value_json
from support.commands import Ran, run_command
from support.kafka import create_topics, produce, unique


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
