"""Machine code reads internal records as the parser that knows JSON does, to the bit."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import NO_POSITION, EventColumns
from stream_infer.events.decode import Decoded
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_internal, encode_tick
from stream_infer.events.numbers import nearest_bits
from stream_infer.events.times import TIME_MS_MAX, TIME_MS_MIN
from stream_infer.records.among import ValuesAmong
from support.events import EVENTS

VERSION, COUNT = "abc", 2
COLUMNS = ["kind", "event_time", "source_partition", "source_offset", "upstream_offset"]
COLUMNS += ["late", "duplicate_of", "label", "label_time"]

_texts = st.text(st.characters(codec="ascii"), max_size=6) | st.sampled_from(["Łódź", 'a"b', "\\"])
_plain_texts = st.text("abcXYZ019 _-:/", max_size=6)
_features = st.floats(width=64) | st.sampled_from([0.0, -0.0, 0.1, 1e-7, 123456789.125, 5e-324])
_times = st.integers(TIME_MS_MIN, TIME_MS_MAX)


@st.composite
def runs(draw: Callable[..., Any], texts: Any = _texts) -> list[bytes]:
    """Draw a run as stages write it: events, labels and ticks of several partitions."""
    values: list[bytes] = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 4))
        is_label = draw(st.booleans())
        topic = "fraud-labels" if is_label else draw(st.sampled_from([EVENTS.topic, "inner"]))
        longs = st.lists(st.integers(0, 2**40), min_size=n, max_size=n)
        columns = EventColumns(
            kind=np.full(n, int(is_label), np.int8),
            event_time=np.array([draw(_times) for _ in range(n)], np.int64),
            ids=[draw(texts) for _ in range(n)],
            entities={name: [draw(texts) for _ in range(n)] for name in EVENTS.entities},
            values={name: np.array(draw(longs), np.int64) for name in EVENTS.decimals},
            features=np.empty((n, 0)),
            source_topic=EVENTS.topic,
            source_partition=np.full(n, draw(st.integers(-1, 40)), np.int64),
            source_offset=np.array(draw(longs), np.int64),
            late=np.array([draw(st.booleans()) for _ in range(n)]),
            duplicate_of=np.array(
                [draw(st.just(NO_POSITION) | st.integers(0, 2**50)) for _ in range(n)], np.int64
            ),
            label=np.full(n, 1 if is_label else -1, np.int8),
            label_time=np.full(n, draw(_times) if is_label else 0, np.int64),
        )
        width = 0 if is_label and draw(st.booleans()) else COUNT
        matrix = np.array([[draw(_features) for _ in range(width)] for _ in range(n)]).reshape(
            n, width
        )
        offsets = np.array(draw(longs), np.int64)
        partitions = np.array([draw(st.integers(0, 3)) for _ in range(n)], np.int64)
        values += encode_internal(columns, topic, partitions, offsets, matrix, VERSION, EVENTS)
        if draw(st.booleans()):
            values.append(encode_tick(EVENTS, VERSION, draw(_times)))
    return values


def both(values: Sequence[bytes | None]) -> tuple[Decoded, Decoded]:
    quick, slow = (InternalDecoder(EVENTS, VERSION, COUNT) for _ in range(2))
    slow._plain = None
    return quick.decode(values), slow.decode(values)


def assert_same(quick: Decoded, slow: Decoded) -> None:
    assert quick.rows.tolist() == slow.rows.tolist()
    assert quick.bad == slow.bad
    mine, theirs = quick.columns, slow.columns
    assert (mine.ids, mine.entities, mine.extra) == (theirs.ids, theirs.entities, theirs.extra)
    assert mine.features.tobytes() == theirs.features.tobytes()
    for name in COLUMNS:
        found, wanted = getattr(mine, name), getattr(theirs, name)
        assert found.dtype == wanted.dtype, name
        assert found.tolist() == wanted.tolist(), name
        assert found.flags.c_contiguous, name
    assert {k: v.tolist() for k, v in mine.values.items()} == {
        k: v.tolist() for k, v in theirs.values.items()
    }
    assert upstreams(mine) == upstreams(theirs)


def upstreams(columns: EventColumns) -> list[str | None]:
    assert columns.upstream is not None
    return [None if i < 0 else columns.upstreams[i] for i in columns.upstream.tolist()]


@settings(max_examples=300, deadline=None)
@given(runs())
def test_what_stages_write_is_read_to_the_bit(values: list[bytes]) -> None:
    assert_same(*both(values))


@settings(max_examples=100, deadline=None)
@given(runs(_plain_texts.filter(lambda text: text.isascii())))
def test_what_stages_write_is_plain(values: list[bytes]) -> None:
    """Unless a float is below the normal ones, which no feature is."""
    decoder = InternalDecoder(EVENTS, VERSION, COUNT)
    assert decoder._plain is not None
    tiny = any(
        0 < abs(x) < np.finfo(float).tiny for x in decoder.decode(values).columns.features.flat
    )
    assert (decoder._plain.read(values) is not None) == (not tiny)


@settings(max_examples=500, deadline=None)
@given(runs(_plain_texts), st.data())
def test_whatever_is_changed_both_read_the_same(values: list[bytes], data: st.DataObject) -> None:
    changed: list[bytes | None] = list(values)
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(changed) - 1))
        value = changed[row] or b"[]"
        at = data.draw(st.integers(0, len(value)))
        end = data.draw(st.integers(at, min(len(value), at + 3)))
        put = data.draw(
            st.sampled_from(
                [b"", b'"', b"0", b"-", b".", b"e", b",", b"null", b"[", b"]", b" ", b"1"]
            )
            | st.binary(max_size=2)
        )
        changed[row] = value[:at] + put + value[end:]
    assert_same(*both(changed))


@pytest.mark.parametrize("values", [[None], [b""], [b"]"], [b'"'], [b"[", b"]"], [b"[1,0", b",9]"]])
def test_what_is_no_record_is_refused_by_both(values: list[bytes | None]) -> None:
    quick, slow = both(values)
    assert quick.bad == slow.bad
    assert len(quick.bad) == len(values)


@pytest.mark.parametrize("kind", ["any bits", "ratios", "any decimal", "middles"])
def test_decimals_become_the_nearest_float(kind: str) -> None:
    chance, unknown = random.Random(7), 0
    for _ in range(20_000):
        if kind == "any bits":
            (number,) = struct.unpack("<d", struct.pack("<Q", chance.getrandbits(63)))
            text = repr(number)
            if "n" in text:
                continue
        elif kind == "ratios":
            text = repr(chance.randint(1, 10**6) / chance.randint(1, 1000))
        elif kind == "any decimal":
            text = f"{chance.randint(1, 10 ** chance.randint(1, 19) - 1)}e{chance.randint(-30, 30)}"
        else:
            text = f"{(chance.getrandbits(53) | 1) * 2 + 1}e{chance.randint(0, 2)}"
        mantissa, _, exponent = text.partition("e")
        whole, _, fraction = mantissa.partition(".")
        power = int(exponent or 0) - len(fraction)
        bits = nearest_bits(np.uint64(int(whole + fraction)), power)
        if bits < 0:
            unknown += 1
        else:
            assert struct.unpack("<d", struct.pack("<q", int(bits)))[0] == float(text), text
    assert unknown < 100  # numbers below the normal ones


@settings(max_examples=200, deadline=None)
@given(runs(), st.binary(max_size=3))
def test_for_a_state_all_but_features_is_read_the_same(values: list[bytes], between: bytes) -> None:
    slow = both(values)[1]
    ends = np.cumsum([len(value) + len(between) for value in values]) - len(between)
    sizes = np.array([len(value) for value in values], np.int64)
    among = ValuesAmong(between.join(values), ends - sizes, ends)
    found = InternalDecoder(EVENTS, VERSION, COUNT).decode(among, for_state=True)
    texts = {name: list(each) for name, each in found.columns.entities.items()}
    columns = replace(
        found.columns, ids=list(found.columns.ids), entities=texts, features=slow.columns.features
    )
    assert_same(replace(found, columns=columns), slow)


@settings(max_examples=300, deadline=None)
@given(runs(_plain_texts), st.data())
def test_a_state_refuses_what_is_refused_otherwise(
    values: list[bytes], data: st.DataObject
) -> None:
    """A replay must not fold a record that was a dead letter before."""
    row = data.draw(st.integers(0, len(values) - 1))
    value = values[row]
    at = data.draw(st.integers(0, len(value)))
    put = data.draw(st.sampled_from([b"", b'"', b"0", b"-", b".", b"e9", b",", b"null", b"1e999"]))
    changed = [*values[:row], value[:at] + put + value[at + 1 :], *values[row + 1 :]]
    slow = both(changed)[1]
    found = InternalDecoder(EVENTS, VERSION, COUNT).decode(changed, for_state=True)
    assert (found.rows.tolist(), found.bad) == (slow.rows.tolist(), slow.bad)
