"""The record between stages: its exact form, its origin, and records that are not ours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stream_infer.events.columns import EVENT, TICK, EventColumns
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_internal, encode_tick
from stream_infer.pipelines.fraud import pipeline
from support.events import EVENTS, NOON_MS, assert_same_as_one_by_one, transaction

OFFSETS = np.array([41, 42, 43])


def rows(n: int = 3) -> EventColumns:
    values = [transaction(transaction_id=f"t-{i}") for i in range(n)]
    return EventDecoder(EVENTS).decode(values).columns


def encoded(features: Any, columns: EventColumns | None = None) -> list[bytes]:
    matrix = np.array(features, dtype=np.float64)
    return encode_internal(
        columns or rows(), "transactions", np.full(3, 2), OFFSETS, matrix, "abc", EVENTS
    )


def changed(position: int, cell: Any) -> bytes:
    cells = json.loads(encoded([[1.0], [2.0], [3.0]])[0])
    cells[position] = cell
    return json.dumps(cells).encode()


def test_the_form_on_the_wire_does_not_change() -> None:
    columns = rows()
    columns.late[0] = True
    columns.extra = [b'{"x":1}', None, None]
    assert encoded([[1.5, np.nan]] * 3, columns)[0] == (
        b'[1,0,"transactions",2,41,null,-1,-1,1522584000000,"t-0",["c-1","m-1"],[1234],'
        b'[1.5,null],true,-1,-1,0,"abc",{"x":1}]'
    )


def test_the_source_of_an_event_is_the_upstream_record_in_the_first_stage() -> None:
    columns = InternalDecoder(EVENTS).decode(encoded([[1.0]] * 3)).columns
    assert columns.source_topic == "transactions"
    assert columns.source_partition.tolist() == [2, 2, 2]
    assert columns.source_offset.tolist() == [41, 42, 43]
    assert columns.upstreams == ["transactions-2"]
    assert columns.upstream is not None
    assert columns.upstream.tolist() == [0, 0, 0]


def test_the_source_of_an_event_travels_through_later_stages() -> None:
    first = InternalDecoder(EVENTS).decode(encoded([[1.0]] * 3)).columns
    values = encode_internal(
        first,
        "fraud.by-terminal",
        np.zeros(3, np.int64),
        np.array([7, 8, 9]),
        first.features,
        "abc",
        EVENTS,
    )
    second = InternalDecoder(EVENTS).decode(values).columns
    assert second.source_offset.tolist() == [41, 42, 43]
    assert second.upstreams == ["fraud.by-terminal-0"]
    assert second.upstream_offset is not None
    assert second.upstream_offset.tolist() == [7, 8, 9]


def test_records_of_several_upstream_partitions_are_told_apart() -> None:
    one = encoded([[1.0]] * 3)
    two = encode_internal(
        rows(), "transactions", np.zeros(3, np.int64), OFFSETS, np.ones((3, 1)), "abc", EVENTS
    )
    columns = InternalDecoder(EVENTS).decode([one[0], two[0], one[1]]).columns
    assert columns.upstream is not None
    names = [columns.upstreams[index] for index in columns.upstream.tolist()]
    assert names == ["transactions-2", "transactions-0", "transactions-2"]


def test_labels_stand_beside_events_without_features_or_source() -> None:
    assert pipeline.labels is not None
    value = transaction(is_fraud=True, label_time=NOON_MS + 5)
    labels = LabelDecoder(pipeline.labels, EVENTS).decode([value]).columns
    offsets = np.array([7])
    none = np.empty((1, 0))
    label = encode_internal(labels, "fraud-labels", np.array([1]), offsets, none, "abc", EVENTS)
    decoded = assert_same_as_one_by_one(
        InternalDecoder(EVENTS, features_count=1), [*encoded([[1.0]] * 3), *label]
    )
    assert decoded.bad == []
    columns = decoded.columns
    assert columns.upstreams == ["transactions-2", "fraud-labels-1"]
    assert columns.source_offset.tolist() == [41, 42, 43, -1]
    assert columns.label.tolist() == [-1, -1, -1, 1]
    assert columns.label_time.tolist() == [0, 0, 0, NOON_MS + 5]
    assert np.isnan(columns.features[3]).all()


@pytest.mark.parametrize(
    "number", [0.1, 1e-310, -0.0, 5e-324, 1.7976931348623157e308, np.inf, -np.inf, np.nan, 2.0**63]
)
def test_a_feature_comes_back_bit_for_bit(number: float) -> None:
    features = np.array([[number, 1.0]] * 3)
    decoded = InternalDecoder(EVENTS).decode(encoded(features))
    assert decoded.columns.features.tobytes() == features.tobytes()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (changed(0, 2), "schema_version_later"),
        (b"[2]", "schema_version_later"),
        (b"[0]", "schema_version_unknown"),
        (b'[7,{"another":"form"}]', "schema_version_later"),
        (b"[1]", "out_of_range"),
        (b"[]", "out_of_range"),
        (transaction(), "not_an_object"),
        (None, "tombstone"),
        (changed(1, 4), "out_of_range"),
        (changed(1, 3), "list_record_invalid"),
        (changed(2, "payments"), "wrong_source"),
        (changed(3, 2**15), "out_of_range"),
        (changed(4, 2**70), "out_of_range"),
        (changed(8, 10**15), "out_of_range"),
        (changed(10, ["c-1"]), "out_of_range"),
        (changed(10, ["c-1", "m-1", "x"]), "out_of_range"),
        (changed(11, [2**53 + 1]), "out_of_range"),
        (changed(11, [1.5]), "wrong_type"),
        (changed(12, [1.0, 2.0]), "features_mismatch"),
        (changed(12, ["nan"]), "out_of_range"),
        (changed(14, 2**64), "out_of_range"),
        (changed(17, "another"), "features_version_mismatch"),
        (changed(18, [1]), "wrong_type"),
    ],
)
def test_a_record_that_is_not_ours_is_named_among_good_ones(value: bytes, code: str) -> None:
    good = encoded([[1.0]] * 3)
    decoder = InternalDecoder(EVENTS, "abc", 1)
    decoded = assert_same_as_one_by_one(decoder, [*good, value, *good])
    assert [(refused.row, refused.code) for refused in decoded.bad] == [(3, code)]


def test_a_record_of_a_later_form_with_more_cells_is_read() -> None:
    [value, *_] = encoded([[1.0]] * 3)
    assert InternalDecoder(EVENTS).decode([value[:-1] + b',"later"]']).bad == []


def test_a_tick_has_no_origin_and_stands_among_records_of_any_features() -> None:
    tick = encode_tick(EVENTS, "abc", NOON_MS)
    values = [*encoded([[1.0], [2.0], [3.0]])[:2], tick, tick]
    decoded = InternalDecoder(EVENTS, "abc", 1).decode(values)
    assert decoded.bad == []
    columns = decoded.columns
    assert columns.kind.tolist() == [EVENT, EVENT, TICK, TICK]
    assert columns.upstream is not None
    # Without an upstream no tick is taken for a repeat of another.
    assert columns.upstream.tolist() == [0, 0, -1, -1]
    assert columns.event_time.tolist()[2:] == [NOON_MS, NOON_MS]
