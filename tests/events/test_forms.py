"""Records written by form are to the byte what msgspec writes of the same values."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_infer.events import internal_encoding, scored, scored_readings
from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, TICK, EventColumns, pack_position
from stream_infer.events.form_writing import UNITS_MAX
from stream_infer.events.forms import DECIMALS_MAX, FIELD, Form
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.events.measures import NO_VALUE
from stream_infer.events.scored import ScoredEncoder
from stream_infer.events.scored_readings import LEVELS, NO_LEVEL, ScoredReadingEncoder
from stream_infer.events.shortest import shortest_floats
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import pipeline as traffic

TEXTS = st.text(max_size=5) | st.sampled_from(["", "c-1", 'a"b', "a\\b", "é", "\x7f", "\x00"])
INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(0, 2**43)
FLOATS32 = st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.1, 1e-7, 1e16])
FLOATS64 = st.floats() | st.sampled_from([0.0, -0.0, 0.1, 1e-5, 1e-7, 1e15, 1e16, 1e300])
DEFAULT_ROWS = 20


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Compile once, not in the first example of whichever test comes first."""
    Form([]).rows(0).write()


def one_field(fill: Any, n: int) -> list[bytes | None]:
    """Return what one field is filled with, None where that is not sure."""
    rows = Form([b"<", FIELD, b">"]).rows(n)
    fill(rows)
    values = rows.write()
    return [
        value[1:-1] if is_plain else None
        for value, is_plain in zip(values, rows.plain.tolist(), strict=True)
    ]


@settings(deadline=None)
@given(st.lists(INT64.filter(lambda number: number != -(2**63))))
def test_whole_numbers(numbers: list[int]) -> None:
    found = one_field(lambda rows: rows.whole(np.array(numbers, np.int64)), len(numbers))
    assert found == [str(number).encode() for number in numbers]


@settings(deadline=None)
@given(
    st.lists(
        st.integers(-UNITS_MAX + 1, UNITS_MAX - 1)
        | st.integers(-20, 20)
        | st.integers(-2000, 2000).map(lambda number: number * 100)
        | st.just(NO_VALUE)
    ),
    st.integers(1, DECIMALS_MAX),
)
def test_decimals_are_the_shortest_floats(units: list[int], decimals: int) -> None:
    numbers = np.array(units, np.int64)
    found = one_field(lambda rows: rows.decimal(numbers, decimals), len(units))
    assert found == [
        b"null" if number == NO_VALUE else msgspec.json.encode(number / 10.0**decimals)
        for number in units
    ]


@pytest.mark.parametrize("units", [UNITS_MAX, -UNITS_MAX, 2**63 - 1, -(2**63)])
def test_decimals_of_more_digits_than_a_float_has_are_not_sure(units: int) -> None:
    assert one_field(lambda rows: rows.decimal(np.array([units, 5]), 1), 2) == [None, b"0.5"]


@pytest.mark.parametrize("decimals", [0, DECIMALS_MAX + 1])
def test_of_other_decimals_none_is_sure(decimals: int) -> None:
    assert one_field(lambda rows: rows.decimal(np.array([1, 2]), decimals), 2) == [None, None]


@settings(deadline=None)
@given(st.lists(FLOATS32 | st.floats(2.0**-21, 2.0**-15, width=32)))
@example([1e-6, 9e-6, 1e-5, 1.1e-5, -1e-6])
def test_floats_are_the_shortest(numbers: list[float]) -> None:
    found = one_field(lambda rows: rows.floats(np.array(numbers, np.float32)), len(numbers))
    as_written = shortest_floats(np.array(numbers, np.float32))
    for text, number in zip(found, as_written, strict=True):
        assert text in {None, msgspec.json.encode(number)}
        if number is None or number == 0 or 1e-3 < abs(number) < 1e3:
            assert text is not None


@settings(deadline=None)
@given(st.integers(0, 3).flatmap(lambda k: st.lists(st.lists(FLOATS64, min_size=k, max_size=k))))
def test_lists_of_floats(lists: list[list[float]]) -> None:
    width = len(lists[0]) if lists else 0
    numbers = np.array(lists, np.float64).reshape(len(lists), width)
    found = one_field(lambda rows: rows.lists(numbers), len(lists))
    for text, row in zip(found, lists, strict=True):
        assert text in {None, msgspec.json.encode(row)}
        if all(number == 0 or 1e-3 < abs(number) < 1e3 for number in row):
            assert text is not None


@settings(deadline=None)
@given(st.lists(TEXTS))
def test_texts_that_need_escapes_are_not_sure(texts: list[str]) -> None:
    found = one_field(lambda rows: rows.texts(texts), len(texts))
    for text, given_text in zip(found, texts, strict=True):
        assert text in {None, msgspec.json.encode(given_text)[1:-1]}
    if all(text.isalnum() and text.isascii() for text in texts):
        assert None not in found


@settings(deadline=None)
@given(st.lists(TEXTS | st.none()))
def test_words_are_written_whatever_they_are(words: list[str | None]) -> None:
    found = one_field(lambda rows: rows.words(words), len(words))
    assert found == [msgspec.json.encode(word) for word in words]


def test_every_field_must_be_filled() -> None:
    rows = Form([b"<", FIELD, b",", FIELD, b">"]).rows(1)
    rows.whole(1)
    with pytest.raises(ValueError, match="1 of 2 fields"):
        rows.write()


# -- the records of pipelines ---------------------------------------------------------------------


def columns_of(data: st.DataObject, n: int, pipeline: Any, features: int) -> EventColumns:
    """Return rows that a stage may have to write."""

    def column(values: st.SearchStrategy[Any], kind: Any) -> Any:
        return np.array(data.draw(st.lists(values, min_size=n, max_size=n)), kind)

    # Odd texts are rare, or every batch would hold one.
    odd = data.draw(st.booleans())
    texts = TEXTS if odd else st.sampled_from(["a", "b-1", "c 2"])
    wide = np.array(
        data.draw(
            st.lists(
                st.lists(FLOATS64, min_size=features, max_size=features), min_size=n, max_size=n
            )
        ),
        np.float64,
    ).reshape(n, features)
    events = pipeline.events
    units = st.integers(-(2**53) + 1, 2**53) | st.integers(-2000, 2000) | st.just(NO_VALUE)
    position = st.just(NO_POSITION) | st.just(pack_position(3, 2**40))
    return EventColumns(
        kind=column(st.sampled_from([EVENT, LABEL, TICK]), np.int8),
        event_time=column(TIMES, np.int64),
        ids=data.draw(st.lists(texts, min_size=n, max_size=n)),
        entities={
            name: data.draw(st.lists(texts, min_size=n, max_size=n)) for name in events.entities
        },
        values={name: column(units, np.int64) for name in events.decimals},
        features=wide,
        source_topic=data.draw(st.sampled_from([events.topic, 'an "odd" topic'])),
        source_partition=column(st.integers(0, 9), np.int64),
        source_offset=column(st.integers(0, 2**48 - 1), np.int64),
        late=column(st.booleans(), np.bool_),
        duplicate_of=column(position, np.int64),
        label=column(st.integers(-1, 1), np.int8),
        label_time=column(TIMES, np.int64),
    )


def both(encode: Any, monkeypatch: pytest.MonkeyPatch, module: Any) -> tuple[list[bytes], ...]:
    """Return what is written by form, and what by an object a row."""
    made = []
    for few in (0, DEFAULT_ROWS + 1):
        monkeypatch.setattr(module, "FEW", few)
        made.append(encode())
    return tuple(made)


@settings(deadline=None)
@given(st.data())
def test_internal_records(data: st.DataObject) -> None:
    n, width = data.draw(st.integers(0, DEFAULT_ROWS)), data.draw(st.integers(0, 2))
    pipeline = data.draw(st.sampled_from([fraud, traffic]))
    columns = columns_of(data, n, pipeline, width)
    upstream = data.draw(st.sampled_from([columns.source_topic, "labels"]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        by_form, each = both(
            lambda: encode_internal(
                columns,
                upstream,
                columns.source_partition,
                columns.source_offset,
                columns.features,
                "abc",
                pipeline.events,
            ),
            monkeypatch,
            internal_encoding,
        )
    assert by_form == each


@settings(deadline=None)
@given(st.data())
def test_scored_events(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, DEFAULT_ROWS))
    columns = columns_of(data, n, fraud, 0)
    words = st.lists(st.sampled_from(["approve", "decline", None, 'a "b"']), min_size=n, max_size=n)
    scores = np.array(data.draw(st.lists(FLOATS32, min_size=n, max_size=n)), np.float32)
    given_fields: dict[str, Any] = {
        "scores": data.draw(st.sampled_from([None, scores])) if n else scores,
        "decisions": data.draw(st.none() | words),
        "model": data.draw(st.sampled_from([None, "m"])),
        "version": data.draw(st.sampled_from([None, "1"]) | words),
        "fingerprint": "abc",
        "rules": data.draw(st.none() | words),
    }
    encoder = ScoredEncoder(fraud, ("x",))
    with pytest.MonkeyPatch.context() as monkeypatch:
        by_form, each = both(lambda: encoder.encode(columns, **given_fields), monkeypatch, scored)
    assert by_form == each


@settings(deadline=None)
@given(st.data())
def test_scored_readings(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, DEFAULT_ROWS))
    columns = columns_of(data, n, traffic, 0)
    plan = compile_plan(traffic)
    values = st.floats(0, 500) | st.just(np.nan) | st.sampled_from([0.0, 1e16])
    assert traffic.conditions is not None
    width = 3 * len(traffic.conditions.horizons)
    forecasts = np.array(
        data.draw(
            st.lists(st.lists(values, min_size=width, max_size=width), min_size=n, max_size=n)
        ),
        np.float64,
    ).reshape(n, width)
    anomaly = np.array(data.draw(st.lists(FLOATS32, min_size=n, max_size=n)), np.float32)
    levels = data.draw(st.lists(st.integers(NO_LEVEL, len(LEVELS) - 1), min_size=n, max_size=n))
    encoder = ScoredReadingEncoder(traffic, plan.feature_names)
    with pytest.MonkeyPatch.context() as monkeypatch:
        by_form, each = both(
            lambda: encoder.encode(
                columns,
                anomaly,
                np.array(levels, np.int8),
                forecasts.round(2) + 0.0,
                "traffic",
                "1",
                "abc",
            ),
            monkeypatch,
            scored_readings,
        )
    assert by_form == each
