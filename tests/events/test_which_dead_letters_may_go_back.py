from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.events.deadletter import (
    Header,
    dead_letter_headers,
    read_dead_letter,
    stub_headers,
)
from stream_infer.events.resend import Choice, Refusal, Resend, attempt_of, decide_resend

DEAD = "dead-letters"
own_headers = st.lists(
    st.tuples(
        st.text(min_size=1).filter(lambda name: not name.startswith(("si-", "kafka_dlt-", "__"))),
        st.none() | st.binary(max_size=5),
    ),
    max_size=4,
)


def letter(own: Sequence[Header] = (), **changes: Any) -> list[Header]:
    facts: dict[str, Any] = {
        "topic": "payments",
        "partition": 2,
        "offset": 17,
        "timestamp_ms": 1,
        "consumer_group": "fraud",
        "code": "bad_time",
        "message": "",
        "stage": "customer_id",
    }
    return dead_letter_headers(own, **(facts | changes))


def decide(headers: list[Header], value_bytes: int = 3, **options: Any) -> Resend | Refusal:
    facts = read_dead_letter(headers)
    return decide_resend(facts, headers, value_bytes, dead_letters=DEAD, **options)


def refused(headers: list[Header], value_bytes: int = 3, **options: Any) -> str:
    decided = decide(headers, value_bytes, **options)
    assert isinstance(decided, Refusal)
    assert decided.reason
    return decided.code


def sent(headers: list[Header], **options: Any) -> Resend:
    decided = decide(headers, **options)
    assert isinstance(decided, Resend)
    return decided


@given(own_headers)
def test_own_headers_go_out_as_they_came_and_the_attempt_behind_them(own: list[Header]) -> None:
    resend = sent(letter(own))
    assert resend.headers == [*own, ("si-attempt", b"2")]
    assert (resend.topic, resend.partition, resend.attempt) == ("payments", 2, 2)


def test_each_round_counts_and_leaves_one_attempt_header_until_no_more_are_allowed() -> None:
    headers = letter([("trace", b"x")])
    for attempt in (2, 3):
        resend = sent(headers)
        assert resend.headers == [("trace", b"x"), ("si-attempt", str(attempt).encode())]
        # It fails again: the record's own headers, then those of the new dead letter.
        headers = letter(resend.headers)
    assert refused(headers) == "attempts_exhausted"
    assert sent(headers, attempts_max=4).attempt == 4


@pytest.mark.parametrize("text", [b"", b"-1", b"many", b"9" * 40, "٣".encode(), b"0"])
def test_an_attempt_that_is_no_number_counts_as_the_first(text: bytes) -> None:
    assert attempt_of([("si-attempt", text)]) == 1


def test_what_is_not_whole_is_refused() -> None:
    whole = b"x" * 100
    assert refused([*letter(), *stub_headers(whole)]) == "stub"
    cut = [header for header in stub_headers(whole) if header[0] != "si-stub"]
    assert refused([*letter(), *cut]) == "cut"


def test_what_has_nowhere_to_go_is_refused() -> None:
    assert refused([("trace", b"x")]) == "origin_unknown"
    assert refused(letter(topic=DEAD)) == "own_topic"
    assert refused(letter(), to=DEAD) == "own_topic"
    assert refused(letter(topic="fraud.by-terminal")) == "internal_topic"


def test_another_topic_serves_where_the_original_does_not() -> None:
    without_origin: list[Header] = [("trace", b"x")]
    for headers in (letter(topic="fraud.by-terminal"), without_origin, letter()):
        resend = sent(headers, to="repaired")
        assert (resend.topic, resend.partition) == ("repaired", None)


def test_other_families_numbers_and_topics_are_understood() -> None:
    connect: list[Header] = [
        ("own", b"1"),
        ("__connect.errors.topic", b"orders"),
        ("__connect.errors.partition", b"4"),
    ]
    resend = sent(connect)
    assert (resend.topic, resend.partition) == ("orders", 4)
    assert resend.headers == [("own", b"1"), ("si-attempt", b"2")]


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(codes=frozenset({"bad_time", "other"})), True),
        (Choice(codes=frozenset({"other"})), False),
        (Choice(stages=frozenset({"customer_id"})), True),
        (Choice(stages=frozenset({"terminal_id"})), False),
        (Choice(since_ms=100), True),
        (Choice(since_ms=101), False),
        (Choice(until_ms=101), True),
        (Choice(until_ms=100), False),
        (Choice(positions=frozenset({"dead-letters-0-1"})), True),
        (Choice(positions=frozenset({"payments-2-17"})), True),
        (Choice(positions=frozenset({"payments-2-18"})), False),
        (Choice(codes=frozenset({"bad_time"}), since_ms=101), False),
    ],
)
def test_a_choice_takes_what_fits_all_its_parts(choice: Choice, *, taken: bool) -> None:
    facts = read_dead_letter(letter())
    assert choice.takes(facts, 100, "dead-letters-0-1", "payments-2-17") is taken
