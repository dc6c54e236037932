"""Dead-letter headers: ours come back, and those of Connect and Streams are understood."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.events.deadletter import (
    MESSAGE_CHARS_MAX,
    STUB_BYTES_MAX,
    DeadLetterFacts,
    Header,
    dead_letter_headers,
    original_headers,
    read_dead_letter,
    stub_headers,
    stub_value,
)

ORIGINAL: list[Header] = [("trace", b"\xff\x00"), ("trace", None), ("", b"")]
INT64 = st.integers(-1, 2**63 - 1)
HEADERS = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=5)


def letter(original: list[Header], **facts: Any) -> list[Header]:
    usual: dict[str, Any] = {
        "topic": "transactions",
        "partition": 3,
        "offset": 2**40,
        "timestamp_ms": 1_522_584_000_000,
        "consumer_group": "fraud",
        "code": "wrong_type",
        "message": "Expected float, got str at $.amount.",
        "stage": "customer_id",
    }
    return dead_letter_headers(original, **{**usual, **facts})


def test_original_headers_stand_in_front_as_they_came() -> None:
    headers = letter(ORIGINAL)
    assert headers[:3] == ORIGINAL
    assert original_headers(headers) == ORIGINAL


def test_numbers_are_written_as_spring_writes_them() -> None:
    headers = dict(letter([]))
    assert headers["kafka_dlt-original-topic"] == b"transactions"
    assert headers["kafka_dlt-original-partition"] == b"\x00\x00\x00\x03"
    assert headers["kafka_dlt-original-offset"] == (2**40).to_bytes(8, "big")
    assert headers["kafka_dlt-original-timestamp"] == (1_522_584_000_000).to_bytes(8, "big")
    assert headers["kafka_dlt-original-timestamp-type"] == b"CreateTime"
    assert headers["si-attempt"] == b"1"


@given(
    HEADERS,
    st.fixed_dictionaries(
        {
            "topic": st.text(),
            "partition": st.integers(0, 2**31 - 1),
            "offset": INT64,
            "timestamp_ms": INT64,
            "consumer_group": st.text(),
            "message": st.text(max_size=MESSAGE_CHARS_MAX),
            "attempt": st.integers(1, 100),
        }
    ),
)
def test_our_own_headers_come_back(original: list[Header], facts: dict[str, Any]) -> None:
    read = read_dead_letter(letter(original, **facts))
    assert read.family == "spring"
    assert read.unreadable == ()
    assert {name: getattr(read, name) for name in facts} == facts
    assert (read.error_code, read.stage) == ("wrong_type", "customer_id")
    assert original_headers(letter(original, **facts)) == original


def test_a_letter_that_died_twice_tells_of_the_last_time() -> None:
    first = letter(ORIGINAL, topic="first", attempt=1)
    second = letter(first, topic="second", attempt=2)
    read = read_dead_letter(second)
    assert (read.topic, read.attempt) == ("second", 2)
    assert original_headers(second) == first


def test_a_long_message_is_cut() -> None:
    read = read_dead_letter(letter([], message="x" * 5_000))
    assert read.message == "x" * MESSAGE_CHARS_MAX


CONNECT: list[Header] = [
    ("__connect.errors.topic", b"payments"),
    ("__connect.errors.partition", b"12"),
    ("__connect.errors.offset", b"90071992547409"),
    ("__connect.errors.connector.name", b"sink"),
    ("__connect.errors.stage", b"VALUE_CONVERTER"),
    ("__connect.errors.exception.class.name", b"DataException"),
    ("__connect.errors.exception.message", b"broken"),
    ("__connect.errors.exception.stacktrace", b"..."),
]
STREAMS: list[Header] = [
    ("__streams.errors.exception", b"SerializationException"),
    ("__streams.errors.message", b"broken"),
    ("__streams.errors.topic", b"payments"),
    ("__streams.errors.partition", b"12"),
    ("__streams.errors.offset", b"90071992547409"),
]


def test_the_headers_of_kafka_connect_are_understood() -> None:
    assert read_dead_letter([*ORIGINAL, *CONNECT]) == DeadLetterFacts(
        family="connect",
        topic="payments",
        partition=12,
        offset=90_071_992_547_409,
        stage="VALUE_CONVERTER",
        exception="DataException",
        message="broken",
    )


def test_the_headers_of_kafka_streams_are_understood() -> None:
    assert read_dead_letter([*ORIGINAL, *STREAMS]) == DeadLetterFacts(
        family="streams",
        topic="payments",
        partition=12,
        offset=90_071_992_547_409,
        exception="SerializationException",
        message="broken",
    )


@pytest.mark.parametrize("family", [CONNECT, STREAMS])
def test_headers_of_other_families_are_left_out_of_the_original(family: list[Header]) -> None:
    assert original_headers([*ORIGINAL, *family]) == ORIGINAL


def test_the_family_written_last_is_told() -> None:
    assert read_dead_letter([*CONNECT, *letter([])]).topic == "transactions"
    assert read_dead_letter([*letter([]), *STREAMS]).topic == "payments"


def test_headers_that_cannot_be_read_are_named_and_the_others_told() -> None:
    broken: list[Header] = [
        ("kafka_dlt-original-topic", b"\xff"),
        ("kafka_dlt-original-partition", b"12"),
        ("kafka_dlt-original-offset", None),
        ("kafka_dlt-exception-message", b"broken"),
        ("si-attempt", b"many"),
    ]
    read = read_dead_letter(broken)
    assert (read.topic, read.partition, read.offset, read.attempt) == (None, None, None, None)
    assert read.message == "broken"
    assert set(read.unreadable) == {
        "kafka_dlt-original-topic",
        "kafka_dlt-original-partition",
        "si-attempt",
    }


@given(HEADERS)
def test_any_headers_can_be_read(headers: list[Header]) -> None:
    read_dead_letter(headers)


def test_a_stub_keeps_the_start_and_describes_the_whole() -> None:
    value = bytes(range(256)) * 1_000
    read = read_dead_letter([*letter([]), *stub_headers(value)])
    assert stub_value(value) == value[:STUB_BYTES_MAX]
    assert len(stub_value(value)) == 65_536
    assert (read.stub, read.original_bytes) == (True, 256_000)
    assert read.sha256 == hashlib.sha256(value).hexdigest()
    assert original_headers([*letter(ORIGINAL), *stub_headers(value)]) == ORIGINAL
