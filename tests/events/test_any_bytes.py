"""Whatever bytes come in whatever mixture: each record is one row or one refusal, as if alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import EVENT, LABEL, TICK, EventColumns
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.events.mapping import FieldMapping
from stream_infer.pipelines.fraud import pipeline
from support.events import EVENTS, NOON_MS, assert_same_as_one_by_one, row_of, transaction

IDS = st.text(min_size=1, max_size=8)
AMOUNTS = st.integers(0, 2**40).map(lambda units: units / 100)
TIMES = st.integers(-(10**12), 10**13) | st.datetimes().map(lambda time: time.isoformat() + "Z")


def _encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


GOOD = st.builds(
    lambda **fields: _encoded(fields),
    transaction_id=IDS,
    event_time=TIMES,
    customer_id=IDS,
    terminal_id=IDS,
    amount=AMOUNTS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
NEARLY = st.builds(
    lambda record, field, value: json.dumps({**json.loads(record), field: json.loads(value)}),
    st.just(transaction()),
    st.sampled_from([*json.loads(transaction()), "x"]),
    JSON,
).map(str.encode)
WHOLE = GOOD | NEARLY | JSON | st.binary(max_size=20) | st.none()
GLUE = st.sampled_from([b"", b"\n", b" ", b",", b"}\n{", b"[", b"]", b"{", b"}", b'"', b"\xff"])


@st.composite
def mixtures(draw: st.DrawFn) -> list[bytes | None]:
    """Draw records, some of them joined to or cut from their neighbours."""
    values: list[bytes | None] = draw(st.lists(WHOLE | GOOD, max_size=30))
    for _ in range(draw(st.integers(0, 4))):
        if not values:
            break
        at = draw(st.integers(0, len(values) - 1))
        value = values[at] or b""
        cut = draw(st.integers(0, len(value)))
        glue = draw(GLUE)
        match draw(st.sampled_from(["cut", "double", "insert"])):
            case "cut":
                values[at : at + 1] = [value[:cut], value[cut:]]
            case "double":
                values[at] = value + glue + value
            case _:
                values[at] = value[:cut] + glue + value[cut:]
    return values


DECODERS = [
    EventDecoder(EVENTS),
    EventDecoder(EVENTS, unknown_fields="keep"),
    EventDecoder(EVENTS, unknown_fields="refuse"),
    EventDecoder(
        EVENTS, FieldMapping.parse("amount=x.a.b,event_time=x.t:us,customer_id=amount:int")
    ),
]


@settings(max_examples=300, deadline=None)
@given(mixtures(), st.sampled_from(DECODERS))
def test_any_mixture_of_events_is_decoded_as_one_by_one(
    values: list[bytes | None], decoder: EventDecoder
) -> None:
    assert_same_as_one_by_one(decoder, values)


@settings(max_examples=100, deadline=None)
@given(mixtures())
def test_any_mixture_of_labels_is_decoded_as_one_by_one(values: list[bytes | None]) -> None:
    assert pipeline.labels is not None
    label = transaction(is_fraud=True, label_time=NOON_MS)
    decoder = LabelDecoder(pipeline.labels, EVENTS)
    decoded = assert_same_as_one_by_one(decoder, [label, *values, label])
    assert 0 in decoded.rows


def _internal(features: list[float]) -> bytes:
    columns = EventDecoder(EVENTS).decode([transaction()]).columns
    matrix = np.array([features], dtype=np.float64)
    return encode_internal(
        columns, EVENTS.topic, np.array([1]), np.array([5]), matrix, "f", EVENTS
    )[0]


@st.composite
def internal_mixtures(draw: st.DrawFn) -> list[bytes | None]:
    """Draw internal records, some with a cell changed, among anything else."""
    good = _internal(draw(st.lists(st.floats(), min_size=2, max_size=2)))
    cells = json.loads(good)
    cells[draw(st.integers(0, len(cells) - 1))] = json.loads(draw(JSON))
    changed = json.dumps(cells).encode()
    values: list[bytes | None] = draw(st.lists(st.sampled_from([good, changed]), max_size=20))
    return [*values, *draw(mixtures()), good]


@settings(max_examples=200, deadline=None)
@given(internal_mixtures())
def test_any_mixture_of_internal_records_is_decoded_as_one_by_one(
    values: list[bytes | None],
) -> None:
    decoded = assert_same_as_one_by_one(InternalDecoder(EVENTS, features_count=2), values)
    assert len(values) - 1 in decoded.rows


FLOATS = st.floats(width=64)


@st.composite
def column_sets(draw: st.DrawFn) -> EventColumns:
    """Draw rows as a later stage may hold them."""
    n = draw(st.integers(1, 12))

    def ints(low: int, high: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)), np.int64)

    def texts() -> list[str]:
        return draw(st.lists(st.text(max_size=6), min_size=n, max_size=n))

    kind = ints(EVENT, TICK)
    is_event = kind == EVENT
    return EventColumns(
        kind=kind.astype(np.int8),
        event_time=ints(-(10**12), 10**13),
        ids=texts(),
        entities={name: texts() for name in EVENTS.entities},
        values={name: ints(-(2**53), 2**53) for name in EVENTS.decimals},
        features=np.array(
            draw(st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=n, max_size=n))
        ),
        source_topic=EVENTS.topic,
        source_partition=np.where(is_event, ints(0, 100), -1),
        source_offset=np.where(is_event, ints(0, 2**48 - 1), -1),
        late=ints(0, 1).astype(np.bool_),
        duplicate_of=ints(-1, 2**62),
        label=np.where(kind == LABEL, ints(0, 1), -1).astype(np.int8),
        label_time=np.where(kind == LABEL, ints(0, 10**13), 0),
        extra=draw(
            st.none()
            | st.lists(st.sampled_from([None, b'{"a":[1,"\\n"]}']), min_size=n, max_size=n)
        ),
    )


@settings(max_examples=150, deadline=None)
@given(column_sets(), st.sampled_from([EVENTS.topic, "fraud.by-terminal"]))
def test_an_internal_record_comes_back_as_it_was(columns: EventColumns, upstream: str) -> None:
    n = len(columns)
    offsets = np.arange(n) + 7
    if upstream == EVENTS.topic:
        # In the first stage a row's source is the record it was read from.
        is_event = columns.kind == EVENT
        columns.source_partition = np.where(is_event, 3, -1)
        columns.source_offset = np.where(is_event, offsets, -1)
    features = np.where(np.isnan(columns.features), np.nan, columns.features)
    values = encode_internal(columns, upstream, np.full(n, 3), offsets, features, "f1", EVENTS)
    decoded = InternalDecoder(EVENTS, "f1", 3).decode(values)
    assert decoded.bad == []
    columns.features = features
    columns.upstream, columns.upstreams = np.zeros(n, np.int64), [f"{upstream}-3"]
    columns.upstream_offset = offsets
    for row in range(n):
        assert _facts(decoded.columns, row) == _facts(columns, row)


def _facts(columns: EventColumns, row: int) -> dict[str, Any]:
    facts = row_of(columns, row)
    # A NaN comes back as a NaN, though not with the same payload bits.
    facts["features"] = [repr(value) for value in columns.features[row].tolist()]
    return facts
