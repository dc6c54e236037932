"""Each kind of bad record is named by a code, without its value, and moves no neighbour."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest

from stream_infer.events.decode import EventDecoder, UnknownFields
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.reasons import DEPTH_MAX
from stream_infer.pipeline import Events
from support.events import EVENTS, NOON_MS, assert_same_as_one_by_one, transaction, without

GOOD = transaction()


def deep(levels: int) -> bytes:
    """Return a good transaction with an unknown field of that many nested arrays."""
    return GOOD[:-1] + b', "x": ' + b"[" * levels + b"]" * levels + b"}"


BAD: dict[str, tuple[bytes | None, str]] = {
    "tombstone": (None, "tombstone"),
    "no bytes": (b"", "empty"),
    "white space": (b" \t\r\n ", "empty"),
    "text": (b"hello", "not_json"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "not_json"),
    "truncated": (GOOD[:-5], "truncated"),
    "two documents": (GOOD + GOOD, "not_json"),
    "two documents with a newline": (GOOD + b"\n" + GOOD, "not_json"),
    "trailing comma": (GOOD[:-1] + b",}", "not_json"),
    "NaN": (GOOD.replace(b"12.34", b"NaN"), "not_json"),
    "Infinity": (GOOD.replace(b"12.34", b"Infinity"), "not_json"),
    "number beyond float64": (GOOD.replace(b"12.34", b"1e999"), "out_of_range"),
    "whole number beyond float64": (GOOD.replace(b"12.34", b"9" * 400), "out_of_range"),
    "amount of 18 digits": (GOOD.replace(b"12.34", b"123456789012345678"), "out_of_range"),
    "negative amount": (GOOD.replace(b"12.34", b"-12.34"), "out_of_range"),
    "third decimal": (GOOD.replace(b"12.34", b"12.345"), "bad_decimal"),
    "text for a number": (transaction(amount="12.34"), "wrong_type"),
    "number for an id": (transaction(customer_id=4111111111111111), "wrong_type"),
    "null id": (transaction(customer_id=None), "wrong_type"),
    "empty id": (transaction(customer_id=""), "out_of_range"),
    "long id": (transaction(customer_id="4111" * 65), "out_of_range"),
    "optional field of another type": (transaction(currency=978), "wrong_type"),
    "missing field": (without(GOOD, "terminal_id"), "missing_field"),
    "array": (b"[]", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "invalid UTF-8 in an id": (GOOD.replace(b"c-1", b"c\xff"), "invalid_utf8"),
    "invalid UTF-8 in an ignored field": (GOOD[:-1] + b', "x": "\xff"}', "invalid_utf8"),
    "surrogate as UTF-8": (GOOD.replace(b"c-1", b"\xed\xa0\x80"), "invalid_utf8"),
    "escaped lone surrogate": (GOOD.replace(b"c-1", b"\\ud800"), "not_json"),
    "a level too deep": (deep(DEPTH_MAX), "too_deep"),
    "1,000 levels": (deep(1_000), "too_deep"),
    "100,000 levels": (deep(100_000), "too_deep"),
    "1,000 levels, not closed": (b"[" * 1_000, "too_deep"),
    "bool for a time": (transaction(event_time=True), "wrong_type"),
    "float for a time": (transaction(event_time=1.5), "wrong_type"),
    "time without an offset": (transaction(event_time="2018-04-01T12:00:00"), "bad_time"),
    "time beyond int64": (transaction(event_time=10**30), "bad_time"),
    "time after 9999": (transaction(event_time=253_402_300_800_000), "bad_time"),
    "date": (transaction(event_time="2018-04-01"), "bad_time"),
    "number as text for a time": (transaction(event_time=str(NOON_MS)), "bad_time"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_named_and_its_neighbours_are_decoded(kind: str) -> None:
    value, code = BAD[kind]
    neighbours = [transaction(transaction_id=f"t-{i}", amount=i / 100) for i in range(40)]
    values: list[bytes | None] = [*neighbours[:23], value, *neighbours[23:]]
    decoded = assert_same_as_one_by_one(EventDecoder(EVENTS), values)
    assert [(refused.row, refused.code) for refused in decoded.bad] == [(23, code)]
    assert decoded.columns.ids == [f"t-{i}" for i in range(40)]
    assert decoded.columns.values["amount"].tolist() == list(range(40))


def test_all_kinds_together_are_each_named_once() -> None:
    values = [value for bad, _ in BAD.values() for value in (GOOD, bad)]
    decoded = assert_same_as_one_by_one(EventDecoder(EVENTS), values)
    assert [refused.code for refused in decoded.bad] == [code for _, code in BAD.values()]
    assert decoded.rows.tolist() == list(range(0, 2 * len(BAD), 2))


@pytest.mark.parametrize(
    "value",
    [
        transaction(customer_id=4111111111111111),
        transaction(amount="4111111111111111"),
        transaction(event_time="4111111111111111"),
        transaction(customer_id="4111111111111111" * 20),
        GOOD.replace(b"12.34", b"4111111111111111.1"),
        GOOD.replace(b"12.34", b"-4111111111111111"),
        GOOD + b"4111111111111111",
        GOOD[:-1] + b', "x": 4111111111111111',
    ],
)
def test_a_message_never_holds_the_value(value: bytes) -> None:
    [refused] = EventDecoder(EVENTS).decode([value]).bad
    assert "4111" not in refused.message


def test_a_message_names_the_field() -> None:
    [refused] = EventDecoder(EVENTS).decode([transaction(amount="1")]).bad
    assert refused.message == "Expected float, got str at $.amount."


class Choosy(msgspec.Struct):
    """A user's own type with choices and a check of its own."""

    id: str
    at: int
    card: str
    channel: str = "web"
    method: Literal["chip", "tap"] = "chip"

    def __post_init__(self) -> None:
        if self.channel == "secret":
            raise ValueError(f"not {self.channel}")


CHOOSY = Events(topic="choosy", type=Choosy, id="id", time="at", key="card", entities=("card",))


def test_a_types_own_check_refuses_without_telling_what_it_saw() -> None:
    value = b'{"id": "1", "at": 1, "card": "c", "channel": "secret"}'
    [refused] = EventDecoder(CHOOSY).decode([value]).bad
    assert refused.code == "refused_by_type"
    assert "secret" not in refused.message


def test_a_refused_choice_is_not_told() -> None:
    value = b'{"id": "1", "at": 1, "card": "c", "method": "secret"}'
    [refused] = EventDecoder(CHOOSY).decode([value]).bad
    assert (refused.code, refused.message) == (
        "out_of_range",
        "Not one of the declared choices at $.method.",
    )


def test_a_deep_record_is_found_among_mapped_ones_that_hold_objects_themselves() -> None:
    decoder = EventDecoder(EVENTS, FieldMapping.parse("amount=payment.amount"))
    good = transaction(payment={"amount": 1})
    too_deep = good[:-1] + b', "x": ' + b"[" * 80 + b"]" * 80 + b"}"
    decoded = assert_same_as_one_by_one(decoder, [*[good] * 40, too_deep, *[good] * 40])
    assert [(refused.row, refused.code) for refused in decoded.bad] == [(40, "too_deep")]


def test_a_deep_record_is_found_beside_records_without_any_bracket() -> None:
    values = [b"5", b"6", deep(DEPTH_MAX), b"7"]
    decoded = assert_same_as_one_by_one(EventDecoder(EVENTS), values)
    assert [refused.code for refused in decoded.bad] == [
        "not_an_object",
        "not_an_object",
        "too_deep",
        "not_an_object",
    ]


def test_a_record_at_the_depth_limit_is_good_wherever_the_stack_stands() -> None:
    def at_depth(frames: int, call: Callable[[], int]) -> int:
        return at_depth(frames - 1, call) if frames else call()

    value = deep(DEPTH_MAX - 1)
    decoder = EventDecoder(EVENTS)
    frames = sys.getrecursionlimit() // 2
    assert at_depth(0, lambda: len(decoder.decode([value, value]).rows)) == 2
    assert at_depth(frames, lambda: len(decoder.decode([value, value]).rows)) == 2


def test_brackets_inside_a_text_are_no_levels() -> None:
    value = transaction(currency="[{" * 1_000 + '\\"[[')
    assert EventDecoder(EVENTS).decode([value]).bad == []


def test_a_wide_record_is_not_a_deep_one() -> None:
    value = transaction(x=[[] for _ in range(1_000)])
    assert EventDecoder(EVENTS).decode([value, value]).bad == []


@pytest.mark.parametrize(
    ("unknown_fields", "codes"), [("ignore", []), ("keep", []), ("refuse", ["unknown_field"])]
)
def test_an_unknown_field_is_treated_as_configured(
    unknown_fields: UnknownFields, codes: list[str]
) -> None:
    decoder = EventDecoder(EVENTS, unknown_fields=unknown_fields)
    decoded = assert_same_as_one_by_one(decoder, [GOOD, transaction(x=1), GOOD])
    assert [refused.code for refused in decoded.bad] == codes


def test_an_unknown_fields_name_is_made_printable_and_cut() -> None:
    value = transaction(**{"\x1b[31m" + "x" * 500: 1})
    [refused] = EventDecoder(EVENTS, unknown_fields="refuse").decode([value]).bad
    assert refused.message.isprintable()
    assert len(refused.message) < 120


@pytest.mark.parametrize(
    "values",
    [
        # One record of two documents beside one of none: as many objects as records.
        [GOOD + GOOD, b" "],
        [GOOD + b" " + GOOD, b"\t"],
        # An object cut in two between neighbours, made up for by a double one.
        [GOOD[:20], GOOD[20:], GOOD + GOOD],
        [GOOD[:-1] + b', "x": [{}', b"{}]}", GOOD + GOOD],
        [GOOD[:-1] + b', "x": "}', b'{"}', GOOD + GOOD],
        [GOOD + b"\n", b""],
        [b"", GOOD + b"\n"],
        [GOOD + b"\n" + GOOD, None],
    ],
)
def test_records_that_could_pass_for_others_do_not(values: list[bytes | None]) -> None:
    padded = [GOOD] * 20 + values + [transaction(transaction_id="last")] * 20
    decoded = assert_same_as_one_by_one(EventDecoder(EVENTS), padded)
    assert decoded.columns.ids[-1] == "last"


def test_a_pretty_printed_record_is_good() -> None:
    pretty = msgspec.json.format(GOOD, indent=2) + b"\n"
    assert assert_same_as_one_by_one(EventDecoder(EVENTS), [GOOD, pretty, GOOD]).bad == []


def test_of_a_key_that_occurs_twice_the_last_one_counts() -> None:
    twice = GOOD[:-1] + b', "amount": 5}'
    decoded = assert_same_as_one_by_one(EventDecoder(EVENTS), [GOOD, twice])
    assert decoded.columns.values["amount"].tolist() == [1234, 500]


def test_no_records_are_no_rows() -> None:
    decoded = EventDecoder(EVENTS).decode([])
    assert (len(decoded.columns), decoded.bad) == (0, [])
