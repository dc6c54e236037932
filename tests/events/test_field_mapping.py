"""A user's own JSON is read in place: nested, in other units, with whole numbers as ids."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from stream_infer.errors import ConfigError
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.events.mapping import FieldMapping, FieldSource
from stream_infer.pipeline import Events
from stream_infer.pipelines.fraud import pipeline
from support.events import EVENTS, NOON_MS, assert_same_as_one_by_one, transaction

TEXT = "event_time=payment.created.at:s, amount=payment.amount, customer_id=card:int"
MAPPING = FieldMapping.parse(TEXT)


def payment(**payment_fields: Any) -> bytes:
    fields = {"created": {"at": NOON_MS // 1_000}, "amount": 12.34, **payment_fields}
    return json.dumps(
        {"transaction_id": "t-1", "card": 4111, "terminal_id": "m-1", "payment": fields}
    ).encode()


def test_nested_fields_with_units_are_read() -> None:
    decoded = assert_same_as_one_by_one(EventDecoder(EVENTS, MAPPING), [payment()] * 20)
    columns = decoded.columns
    assert decoded.bad == []
    assert columns.event_time.tolist() == [NOON_MS] * 20
    assert columns.values["amount"].tolist() == [1234] * 20
    assert columns.entities == {"customer_id": ["4111"] * 20, "terminal_id": ["m-1"] * 20}


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (payment(amount=None), "wrong_type", "Expected float, got null at $.payment.amount."),
        (payment(created={}), "missing_field", "Field at is missing at $.payment.created."),
        (payment(created=5), "wrong_type", "Expected object, got int at $.payment.created."),
        (
            payment(created={"at": "2018-04-01"}),
            "bad_time",
            "Field payment.created.at is not RFC 3339 text or a whole number.",
        ),
    ],
)
def test_a_refusal_names_the_users_own_path(value: bytes, code: str, message: str) -> None:
    [refused] = EventDecoder(EVENTS, MAPPING).decode([value]).bad
    assert (refused.code, refused.message) == (code, message)


def test_text_is_rfc_3339_whatever_the_unit() -> None:
    decoded = EventDecoder(EVENTS, MAPPING).decode(
        [payment(created={"at": "2018-04-01T12:00:00Z"})]
    )
    assert decoded.columns.event_time.tolist() == [NOON_MS]


def test_the_configurations_form_equals_the_command_lines() -> None:
    config = {
        "event_time": {"path": "payment.created.at", "unit": "s"},
        "amount": ["payment", "amount"],
        "customer_id": {"path": "card", "unit": "int"},
    }
    assert FieldMapping.from_config(config) == MAPPING


def test_a_name_with_a_dot_is_written_as_a_list() -> None:
    mapping = FieldMapping.from_config({"amount": ["payment.amount"]})
    value = json.loads(transaction())
    value["payment.amount"] = value.pop("amount")
    assert EventDecoder(EVENTS, mapping).decode([json.dumps(value).encode()]).bad == []


def test_a_field_that_is_not_mapped_stands_under_its_own_name() -> None:
    assert MAPPING.source("terminal_id") == FieldSource(("terminal_id",))
    assert MAPPING.source("amount").text == "payment.amount"


def test_a_column_named_in_the_command_lines_form_is_found() -> None:
    mapping = FieldMapping.parse("event_time=TX_DATETIME:naive-utc,transaction_id=TRANSACTION_ID")
    assert mapping.source("event_time") == FieldSource(("TX_DATETIME",), "naive-utc")


@pytest.mark.parametrize(
    ("text", "code", "fix"),
    [
        ("event_tme=at", "unknown_field", "Did you mean 'event_time'?"),
        ("event_time=at:sec", "unknown_unit", "Use one of"),
        ("event_time=at:int", "unit_does_not_fit", "Times take"),
        ("amount=value:ms", "unit_does_not_fit", "Times take"),
        ("event_time", "bad_field_mapping", "Write field=path"),
        ("event_time=a..b", "bad_field_mapping", "single dots"),
        ("event_time=a,event_time=b", "bad_field_mapping", "once"),
        ("event_time=a,amount=a", "bad_field_mapping", "place of its own"),
        ("event_time=a.b,amount=a", "bad_field_mapping", "place of its own"),
        ("event_time=amount", "bad_field_mapping", "place of its own"),
    ],
)
def test_a_wrong_mapping_is_refused_with_a_fix(text: str, code: str, fix: str) -> None:
    with pytest.raises(ConfigError) as raised:
        EventDecoder(EVENTS, FieldMapping.parse(text))
    assert raised.value.code == code
    assert fix in raised.value.fix


@pytest.mark.parametrize("place", [{"unit": "s"}, {"path": "a", "units": "s"}, "", [], 5])
def test_a_wrong_configuration_is_refused(place: Any) -> None:
    with pytest.raises(ConfigError):
        FieldMapping.from_config({"event_time": place})


def test_optional_fields_stay_optional_inside_optional_objects() -> None:
    mapping = FieldMapping.parse("currency=money.unit,channel=money.by")
    decoder = EventDecoder(EVENTS, mapping)
    values = [transaction(), transaction(money={}), transaction(money={"unit": "EUR"})]
    assert assert_same_as_one_by_one(decoder, list(values)).bad == []
    [refused] = decoder.decode([transaction(money={"unit": 5})]).bad
    assert refused.code == "wrong_type"


def test_a_constraint_of_the_type_holds_for_mapped_fields() -> None:
    [refused] = EventDecoder(EVENTS, MAPPING).decode([payment(amount=-1)]).bad
    assert refused.code == "out_of_range"


def test_refusing_unknown_fields_reaches_into_mapped_objects() -> None:
    decoder = EventDecoder(EVENTS, MAPPING, unknown_fields="refuse")
    assert decoder.decode([payment()]).bad == []
    [refused] = decoder.decode([payment(x=1)]).bad
    assert refused.message == "Field x is unknown at $.payment."


def test_labels_are_mapped_too() -> None:
    assert pipeline.labels is not None
    mapping = FieldMapping.parse("is_fraud=verdict.fraud,label_time=verdict.at:s")
    value = transaction(verdict={"fraud": True, "at": 100})
    decoded = LabelDecoder(pipeline.labels, EVENTS, mapping).decode([value])
    assert decoded.columns.label.tolist() == [1]
    assert decoded.columns.label_time.tolist() == [100_000]


class Checked(msgspec.Struct):
    id: str
    at: int
    key: str

    def __post_init__(self) -> None: ...


def test_a_mapping_that_would_lose_the_types_own_check_is_refused() -> None:
    events = Events(topic="t", type=Checked, id="id", time="at", key="key", entities=("key",))
    with pytest.raises(ConfigError, match="__post_init__"):
        EventDecoder(events, FieldMapping.parse("id=x"))
