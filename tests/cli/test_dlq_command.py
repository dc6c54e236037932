from __future__ import annotations

from collections.abc import Sequence

import pytest

from stream_infer.events.deadletter import dead_letter_headers, stub_headers, stub_value
from support.commands import Ran, run_command
from support.kafka import create_topics, produce, unique

SECRET = b'{"card":"4111-visa"'


def headers(offset: int, code: str, **more: bytes) -> Sequence[tuple[str, bytes]]:
    made = dead_letter_headers(
        [("traceparent", b"00-secret-trace"), *more.items()],
        topic="card-events",
        partition=3,
        offset=offset,
        timestamp_ms=1_700_000_000_000,
        consumer_group="fraud",
        code=code,
        message="Required field amount is missing.",
        stage="customer_id",
    )
    return [(name, value or b"") for name, value in made]


@pytest.fixture(scope="module")
def topic(kafka: str) -> str:
    name = unique("dead-letters")
    create_topics(kafka, {name: 2})
    whole = b"x" * 100_000
    connect = [("__connect.errors.topic", b"other"), ("__connect.errors.offset", b"9")]
    stub = [*headers(19, "too_large"), *map(_filled, stub_headers(whole))]
    for message in (
        (b"holder-one", SECRET, 0, headers(17, "truncated")),
        (b"c2", b"{}", 1, headers(18, "missing_field")),
        (None, stub_value(whole), 0, stub),
        (None, b"?", 1, connect),
    ):
        produce(kafka, name, [message])
    return name


def _filled(header: tuple[str, bytes | None]) -> tuple[str, bytes]:
    return header[0], header[1] or b""


def dlq(kafka: str, topic: str, *words: str) -> Ran:
    return run_command("dlq", *words, "--bootstrap", kafka, "--topic", topic)


def test_list_names_code_stage_and_origin_in_order_of_time(kafka: str, topic: str) -> None:
    rows = dlq(kafka, topic, "list", "--json").json["dead_letters"]
    assert [(row["code"], row["original"]) for row in rows] == [
        ("truncated", "card-events-3-17"),
        ("missing_field", "card-events-3-18"),
        ("too_large", "card-events-3-19"),
        (None, None),
    ]
    assert rows[0]["position"] == f"{topic}-0-0"
    assert rows[2]["bytes"] == 100_000
    assert "card-events-3-18" in dlq(kafka, topic, "list").out


def test_list_keeps_the_newest_and_may_choose_a_code(kafka: str, topic: str) -> None:
    newest = dlq(kafka, topic, "list", "--limit", "2", "--json").json["dead_letters"]
    assert [row["code"] for row in newest] == ["too_large", None]
    chosen = dlq(kafka, topic, "list", "--code", "truncated", "--json").json["dead_letters"]
    assert [row["original"] for row in chosen] == ["card-events-3-17"]


@pytest.mark.parametrize("place", ["own", "original"])
def test_show_finds_a_letter_by_its_own_place_and_by_the_original_s(
    kafka: str, topic: str, place: str
) -> None:
    position = f"{topic}-0-0" if place == "own" else "card-events-3-17"
    (letter,) = dlq(kafka, topic, "show", position, "--json").json["dead_letters"]
    assert letter["code"] == "truncated"
    assert letter["consumer_group"] == "fraud"
    assert letter["original_time"] == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_personal_data_is_shown_only_when_it_is_asked_for(
    kafka: str, topic: str, form: tuple[str, ...]
) -> None:
    hidden = dlq(kafka, topic, "show", "card-events-3-17", *form)
    for secret in ("4111-visa", "secret-trace", "holder-one"):
        assert secret not in hidden.out + hidden.err
    shown = dlq(kafka, topic, "show", "card-events-3-17", "--reveal", *form)
    for secret in ("4111-visa", "secret-trace", "holder-one"):
        assert secret in shown.out


def test_a_stub_tells_what_the_whole_was(kafka: str, topic: str) -> None:
    (letter,) = dlq(kafka, topic, "show", "card-events-3-19", "--json").json["dead_letters"]
    assert letter["stub"] is True
    assert (letter["bytes"], len(letter["sha256"])) == (100_000, 64)


def test_what_is_not_there_exits_3_and_what_is_no_position_2(kafka: str, topic: str) -> None:
    assert dlq(kafka, topic, "show", "card-events-3-99").code == 3
    assert dlq(kafka, topic, "show", f"{topic}-0-99").code == 3
    assert dlq(kafka, topic, "show", "card-events").code == 2
    assert dlq(kafka, unique("none"), "list").code == 3
