"""Machine code reads flat JSON objects as the parser that knows JSON does, to the bit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import EventColumns
from stream_infer.events.contract import EventTime, Id
from stream_infer.events.decode import Decoded, EventDecoder
from stream_infer.events.mapping import FieldMapping
from stream_infer.pipeline import Events
from stream_infer.records.among import ValuesAmong
from support.events import EVENTS, row_of, transaction


class Order(msgspec.Struct):
    """An event with fields of every kind that the scan knows, and one that it does not."""

    id: Annotated[str, msgspec.Meta(min_length=2, max_length=4)]
    at: EventTime
    buyer: Id
    pieces: Annotated[int, msgspec.Meta(gt=0, le=99)]
    price: Annotated[float, msgspec.Meta(gt=-1.5, lt=1e6)]
    note: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    tags: list[str] = []


ORDERS = Events(
    topic="orders",
    type=Order,
    id="id",
    time="at",
    key="buyer",
    entities=("buyer",),
    decimals={"pieces": 0, "price": 2},
)

NUMBERS = (
    st.integers(-(2**70), 2**70).map(str)
    | st.integers(0, 99).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.decimals(-2, 2 * 10**6, places=2).map(str)
    | st.sampled_from(["-0", "-0.0", "01", "1.", ".5", "-", "1e2", "1E+2", "1e999", "1e-7", "NaN"])
)
TEXTS = (
    st.text(st.characters(codec="ascii"), max_size=5)
    | st.text("abz19-", min_size=2, max_size=4)
    | st.sampled_from(["", "é", 'a"b', "a\\b", "\x7f", "\n", "2018-04-01T12:00:00Z", "x" * 257])
).map(json.dumps)
VALUES = (
    NUMBERS
    | TEXTS
    | st.sampled_from(["null", "true", "false", "{}", "[]", '["a"]', '{"a":{}}', "nul", ""])
)
SPACES = st.sampled_from(["", "", "", " ", "\n ", "\t", "\r"])


@st.composite
def orders(draw: st.DrawFn) -> bytes:
    """Draw an order: mostly a good one, in any of the ways in which it can be written."""
    good = {
        "id": draw(st.text("abz19-", min_size=2, max_size=4).map(json.dumps)),
        "at": str(draw(st.integers(0, 2**43))),
        "buyer": draw(st.text("abz19-", min_size=1, max_size=9).map(json.dumps)),
        "pieces": str(draw(st.integers(1, 99))),
        "price": str(draw(st.decimals("-1.49", 99_999, places=2))),
    }
    if draw(st.booleans()):
        good["note"] = draw(st.sampled_from(["null", '"abc"', '""', '"abcd"']))
    if draw(st.integers(0, 3)) == 0:
        good[draw(st.sampled_from(["more", "tags", "id2", "é"]))] = draw(VALUES)
    if draw(st.integers(0, 3)) == 0:
        good[draw(st.sampled_from(sorted(good)))] = draw(VALUES)
    if draw(st.integers(0, 6)) == 0:
        del good[draw(st.sampled_from(sorted(good)))]
    pairs = list(good.items())
    if draw(st.integers(0, 6)) == 0:
        pairs.append(draw(st.sampled_from(pairs)) if pairs else ("a", "1"))
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    a, b, c, d = (draw(SPACES) for _ in range(4))
    text = f"{c},".join(f"{d}{json.dumps(name)}{a}:{b}{value}" for name, value in pairs)
    return f"{a}{{{text}{c}}}{d}".encode()


def both(
    values: Sequence[bytes | None], events: Events = ORDERS, **options: Any
) -> tuple[Decoded, Decoded]:
    """Return what the two ways read."""
    quick, slow = (EventDecoder(events, **options) for _ in range(2))
    slow._flat = None
    return quick.decode(values), slow.decode(values)


def assert_same(quick: Decoded, slow: Decoded) -> None:
    assert quick.rows.tolist() == slow.rows.tolist()
    assert quick.bad == slow.bad
    assert facts(quick.columns) == facts(slow.columns)
    for name in ("kind", "event_time", "label", "label_time", "late", "duplicate_of"):
        assert getattr(quick.columns, name).dtype == getattr(slow.columns, name).dtype


def facts(columns: EventColumns) -> list[dict[str, Any]]:
    return [row_of(columns, row) for row in range(len(columns))]


@settings(max_examples=600, deadline=None)
@given(st.lists(orders(), max_size=4), st.sampled_from(["ignore", "keep", "refuse"]))
def test_whatever_is_written_both_read_the_same(
    values: list[bytes], unknown: Literal["ignore", "keep", "refuse"]
) -> None:
    assert_same(*both(values, unknown_fields=unknown))


@settings(max_examples=400, deadline=None)
@given(st.lists(orders(), min_size=1, max_size=3), st.data())
def test_whatever_is_changed_both_read_the_same(values: list[bytes], data: st.DataObject) -> None:
    changed: list[bytes | None] = list(values)
    row = data.draw(st.integers(0, len(changed) - 1))
    value = changed[row] or b"{}"
    at = data.draw(st.integers(0, len(value)))
    end = data.draw(st.integers(at, min(len(value), at + 3)))
    put = data.draw(
        st.sampled_from([b"", b'"', b"0", b"-", b".", b"e", b",", b"null", b"{", b"}", b" ", b":"])
        | st.binary(max_size=2)
    )
    changed[row] = value[:at] + put + value[end:]
    assert_same(*both(changed))


@settings(max_examples=100, deadline=None)
@given(st.lists(orders(), max_size=4), st.binary(max_size=5), st.binary(max_size=5))
def test_values_that_stand_among_other_bytes_are_read_where_they_stand(
    values: list[bytes], before: bytes, between: bytes
) -> None:
    data, starts, ends = before, [], []
    for value in values:
        starts.append(len(data))
        data += value
        ends.append(len(data))
        data += between
    among = ValuesAmong(data, np.array(starts, np.int64), np.array(ends, np.int64))
    quick, slow = both(among)
    assert_same(quick, slow)
    for_state = EventDecoder(ORDERS).decode(among, for_state=True)
    assert_same(for_state, slow)


@pytest.mark.parametrize(
    ("value", "is_flat"),
    [
        (transaction(), True),
        (transaction(currency=None, channel="web"), True),
        (transaction(more=1.5, further="x", yes=True), True),
        (transaction(amount=12), True),
        (json.dumps(json.loads(transaction()), indent=2).encode(), True),
        (json.dumps(dict(reversed(json.loads(transaction()).items()))).encode(), True),
        (transaction(event_time="2018-04-01T12:00:00Z"), False),
        (transaction(customer_id="é"), False),
        (transaction(more={}), False),
        (transaction(channel=1), False),
        (transaction(amount=-1), False),
        (transaction()[:-1], False),
        (transaction() + b"{}", False),
    ],
)
def test_how_most_producers_write_is_flat(value: bytes, is_flat: bool) -> None:  # noqa: FBT001
    decoder = EventDecoder(EVENTS)
    assert decoder._flat is not None
    assert (decoder._flat.read([value]) is not None) == is_flat
    assert_same(*both([value, transaction()], EVENTS))


@pytest.mark.parametrize(
    ("field", "value", "is_good"),
    [
        ("id", "a", False),
        ("id", "ab", True),
        ("id", "abcd", True),
        ("id", "abcde", False),
        ("buyer", "", False),
        ("buyer", "x" * 257, False),
        ("pieces", 0, False),
        ("pieces", 1, True),
        ("pieces", 99, True),
        ("pieces", 100, False),
        ("price", -1.5, False),
        ("price", -1.49, True),
        ("price", 999_999.99, True),
        ("price", 1_000_000, False),
        ("note", "abc", True),
        ("note", "abcd", False),
    ],
)
def test_the_bounds_of_the_type_hold(field: str, value: object, is_good: bool) -> None:  # noqa: FBT001
    order = {"id": "ab", "at": 1_522_584_000_000, "buyer": "b", "pieces": 2, "price": 1.0}
    record = json.dumps({**order, field: value}).encode()
    decoder = EventDecoder(ORDERS)
    assert decoder._flat is not None
    assert (decoder._flat.read([record]) is not None) == is_good
    quick, slow = both([record])
    assert bool(quick.bad) == (not is_good)
    assert_same(quick, slow)


def test_a_mapped_field_is_read_at_its_own_name() -> None:
    mapping = FieldMapping.parse("amount=AMT,event_time=when:s")
    value = transaction(AMT=1.25, when=1_522_584_000)
    decoder = EventDecoder(EVENTS, mapping)
    assert decoder._flat is not None
    assert decoder._flat.read([value]) is not None
    quick, slow = both([value], EVENTS, mapping=mapping)
    assert quick.columns.values["amount"].tolist() == [125]
    assert_same(quick, slow)


def test_a_type_with_a_check_of_its_own_is_left_to_the_parser() -> None:
    class Checked(Order):
        def __post_init__(self) -> None:
            if self.pieces == 13:
                raise ValueError("unlucky")

    events = Events(
        topic="orders",
        type=Checked,
        id="id",
        time="at",
        key="buyer",
        entities=("buyer",),
        decimals={"pieces": 0},
    )
    assert EventDecoder(events)._flat is None
