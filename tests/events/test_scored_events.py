"""Scored events: the form on the wire, and scores that come back bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ConfigError
from stream_infer.events.columns import EventColumns, pack_position
from stream_infer.events.decode import EventDecoder
from stream_infer.events.scored import ScoredEncoder, ScoredEvent
from stream_infer.events.shortest import shortest_floats
from stream_infer.pipeline import Events
from stream_infer.pipelines.fraud import pipeline
from support.events import EVENTS, transaction

NAMES = ("TX_AMOUNT", "a name with spaces")


def rows(n: int = 2) -> EventColumns:
    values = [transaction(transaction_id=f"t-{i}") for i in range(n)]
    columns = EventDecoder(EVENTS).decode(values).columns
    columns.source_partition = np.arange(n) % 2
    columns.source_offset = np.arange(n) + 10
    return columns


def encode(columns: EventColumns, *, publish_features: bool = False, **fields: Any) -> list[bytes]:
    given_fields: dict[str, Any] = {
        "scores": np.full(len(columns), 0.1, dtype=np.float32),
        "decisions": ["review"] * len(columns),
        "model": "fraud",
        "version": "1",
        "fingerprint": "abc",
        "features": np.array([[12.34, np.nan]] * len(columns)),
    }
    encoder = ScoredEncoder(pipeline, NAMES, publish_features)
    return encoder.encode(columns, **{**given_fields, **fields})


def test_the_form_on_the_wire_does_not_change() -> None:
    assert encode(rows())[1] == (
        b'{"event_id":"transactions-1-11","transaction_id":"t-1","customer_id":"c-1",'
        b'"terminal_id":"m-1","event_time":1522584000000,"score":0.1,"decision":"review",'
        b'"rule":null,"model":"fraud","version":"1","features_version":"abc","late":false,'
        b'"duplicate_of":null}'
    )


def test_a_reader_of_any_pipeline_finds_what_all_have() -> None:
    columns = rows()
    columns.late[0] = True
    columns.duplicate_of[1] = pack_position(3, 2**40)
    columns.extra = [None, b'{"x":[1]}']
    first, second = (
        msgspec.json.decode(value, type=ScoredEvent)
        for value in encode(columns, publish_features=True)
    )
    assert (first.event_id, first.late, first.duplicate_of) == ("transactions-0-10", True, None)
    assert second.duplicate_of == f"transactions-3-{2**40}"
    assert first.features == {"TX_AMOUNT": 12.34, "a name with spaces": None}
    assert first.extra is msgspec.UNSET
    assert second.extra == {"x": [1]}


def test_without_a_model_there_is_no_score_and_no_decision() -> None:
    [value, _] = encode(rows(), scores=None, decisions=None, model=None, version=None)
    scored = json.loads(value)
    assert [scored[name] for name in ("score", "decision", "model", "version")] == [None] * 4


def test_the_rule_that_decided_is_named() -> None:
    values = encode(rows(2), decisions=["decline", "review"], rules=["blocked-customers", None])
    assert [json.loads(value)["rule"] for value in values] == ["blocked-customers", None]


def test_a_score_that_is_no_number_is_null() -> None:
    values = encode(rows(3), scores=np.array([np.nan, np.inf, 0.5], dtype=np.float32))
    assert [json.loads(value)["score"] for value in values] == [None, None, 0.5]


def test_no_rows_are_no_records() -> None:
    assert encode(rows(1).slice(0, 0)) == []


def test_features_that_are_published_must_be_given() -> None:
    with pytest.raises(ConfigError, match="none were given"):
        encode(rows(), publish_features=True, features=None)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_a_score_comes_back_bit_for_bit_in_its_shortest_form(numbers: list[float]) -> None:
    scores = np.array(numbers, dtype=np.float32)
    floats = shortest_floats(scores)
    assert np.array(floats, dtype=np.float64).astype(np.float32).tobytes() == scores.tobytes()
    for score, number in zip(scores, floats, strict=True):
        assert number is not None
        assert float(str(score)) == number


class Odd(msgspec.Struct):
    model: str
    at: int


def test_an_id_field_must_not_have_the_name_of_another_field() -> None:
    events = Events(topic="t", type=Odd, id="model", time="at", key="model", entities=("model",))
    with pytest.raises(ConfigError) as raised:
        ScoredEncoder(replace(pipeline, events=events), NAMES)
    assert raised.value.code == "reserved_field_name"
