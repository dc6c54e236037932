"""Good events and labels become columns: exact fixed point, ids as text, the rest kept or not."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ConfigError
from stream_infer.events.columns import EVENT, LABEL, NO_POSITION
from stream_infer.events.decode import UNITS_MAX, EventDecoder, LabelDecoder
from stream_infer.events.screen import screen_future
from stream_infer.pipeline import Events
from stream_infer.pipelines.fraud import pipeline
from support.events import EVENTS, NOON_MS, assert_same_as_one_by_one, transaction, without


def test_an_event_becomes_a_row_with_defaults_for_what_the_caller_sets() -> None:
    columns = EventDecoder(EVENTS).decode([transaction()]).columns
    assert columns.kind.tolist() == [EVENT]
    assert columns.ids == ["t-1"]
    assert columns.event_time.tolist() == [NOON_MS]
    assert columns.entities == {"customer_id": ["c-1"], "terminal_id": ["m-1"]}
    assert columns.values["amount"].tolist() == [1234]
    assert columns.source_topic == "transactions"
    assert columns.source_offset.tolist() == [-1]
    assert columns.duplicate_of.tolist() == [NO_POSITION]
    assert columns.late.tolist() == [False]
    assert columns.label.tolist() == [-1]
    assert columns.upstream is None
    assert columns.features.shape == (1, 0)


@given(st.lists(st.integers(0, UNITS_MAX // 64), min_size=1))
def test_declared_decimals_are_exact(units: list[int]) -> None:
    values = [
        transaction().replace(b"12.34", f"{unit // 100}.{unit % 100:02d}".encode())
        for unit in units
    ]
    decoded = EventDecoder(EVENTS).decode(values)
    assert decoded.bad == []
    assert decoded.columns.values["amount"].tolist() == units


def test_one_digit_too_many_is_refused_whatever_the_size() -> None:
    amounts = [b"0.001", b"12.345", b"1000000.005", b"1000000000.001"]
    decoded = EventDecoder(EVENTS).decode([transaction().replace(b"12.34", a) for a in amounts])
    assert [refused.code for refused in decoded.bad] == ["bad_decimal"] * len(amounts)
    assert "declare more decimals" in decoded.bad[0].message


class Reading(msgspec.Struct):
    sensor: int
    at: int | str
    level: Decimal | None = None
    state: int = 0


READINGS = Events(
    topic="readings",
    type=Reading,
    id="sensor",
    time="at",
    key="sensor",
    entities=("sensor",),
    decimals={"level": 3, "state": 0},
)


def test_another_type_needs_no_other_code() -> None:
    values = [
        b'{"sensor": 7, "at": 5, "level": "1.250", "state": 9}',
        b'{"sensor": 7, "at": 5}',
        b'{"sensor": 7, "at": 5, "level": -0.5}',
        b'{"sensor": 7, "at": 5, "level": 1, "state": 9007199254740993000}',
    ]
    decoded = assert_same_as_one_by_one(EventDecoder(READINGS), list(values))
    assert decoded.columns.ids == ["7", "7"]
    assert decoded.columns.values["level"].tolist() == [1250, -500]
    assert [(bad.row, bad.code) for bad in decoded.bad] == [
        (1, "missing_field"),
        (3, "out_of_range"),
    ]


def test_ids_are_compared_as_they_are() -> None:
    ids = ["é", "e\u0301", "\x00", "a\x00", " a ", "𝄞", "\ufeff"]
    decoded = EventDecoder(EVENTS).decode([transaction(transaction_id=i) for i in ids])
    assert decoded.columns.ids == ids


def test_kept_fields_are_those_without_a_column() -> None:
    decoder = EventDecoder(EVENTS, unknown_fields="keep")
    pretty = msgspec.json.format(transaction(x={"y": [1, 2]}), indent=2)
    decoded = decoder.decode([transaction(), transaction(currency="EUR", z="é"), pretty])
    assert decoded.columns.extra is not None
    kept = [None if extra is None else json.loads(extra) for extra in decoded.columns.extra]
    assert kept == [None, {"currency": "EUR", "z": "é"}, {"x": {"y": [1, 2]}}]
    assert not any(b"\n" in extra for extra in decoded.columns.extra if extra)


def test_kept_fields_stay_with_their_row_when_others_are_bad() -> None:
    decoder = EventDecoder(EVENTS, unknown_fields="keep")
    values = [transaction(x=0), b"", transaction(x=2, amount=0.001), transaction(x=3)]
    decoded = decoder.decode(values)
    assert decoded.rows.tolist() == [0, 3]
    assert decoded.columns.extra == [b'{"x":0}', b'{"x":3}']


def test_a_label_tells_of_an_event_and_when_it_was_known() -> None:
    assert pipeline.labels is not None
    decoder = LabelDecoder(pipeline.labels, EVENTS)
    base = without(transaction(is_fraud=True, label_time="2018-04-07T12:00:00Z"), "amount")
    other = base.replace(b"true", b"false")
    decoded = assert_same_as_one_by_one(decoder, [base, other, base.replace(b"true", b"1")])
    columns = decoded.columns
    assert columns.kind.tolist() == [LABEL, LABEL]
    assert columns.label.tolist() == [1, 0]
    assert columns.label_time.tolist() == [NOON_MS + 6 * 86_400_000] * 2
    assert columns.event_time.tolist() == [NOON_MS] * 2
    assert columns.values["amount"].tolist() == [0, 0]
    assert [refused.code for refused in decoded.bad] == ["wrong_type"]


@pytest.mark.parametrize(
    ("id_field", "code"), [("nothing", "unknown_field"), ("level", "bad_id_type")]
)
def test_a_declaration_that_does_not_fit_its_type_is_refused(id_field: str, code: str) -> None:
    events = Events(
        topic="t", type=Reading, id=id_field, time="at", key="sensor", entities=("sensor",)
    )
    with pytest.raises(ConfigError) as raised:
        EventDecoder(events)
    assert raised.value.code == code


def test_an_event_is_from_the_future_only_beyond_the_allowed_lead() -> None:
    hour = 3_600_000
    event_time = np.array([hour, hour + 1, -5, 10 * hour, 10 * hour])
    record_timestamp = np.array([0, 0, 0, -1, 9 * hour])
    marked = screen_future(event_time, record_timestamp, hour)
    assert marked.tolist() == [False, True, False, False, False]
