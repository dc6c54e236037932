"""Readings that cannot be: each is refused with its cause, its neighbours are not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream_infer.errors import ConfigError
from stream_infer.events.decode import EventDecoder
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.events.measures import NO_VALUE
from stream_infer.features.plan import compile_plan
from stream_infer.features.spec import Mean
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.traffic.sensors import sensor_table

TIME_MS = 1_767_225_600_000


def pipeline() -> Pipeline:
    table = sensor_table(
        [
            {"sensor_id": "a", "corridor": "east", "free_flow_kmh": 100},
            {"sensor_id": "mph", "corridor": "east", "free_flow_kmh": 100, "speed_unit": "mph",
             "occupancy_unit": "percent", "lanes": 2},
            {"sensor_id": "m/s", "corridor": "west", "free_flow_kmh": 100, "speed_unit": "m/s"},
        ]
    )  # fmt: skip
    return traffic_pipeline(table, model=None)


def reading(**fields: Any) -> bytes:
    return json.dumps({"sensor_id": "a", "event_time": TIME_MS, **fields}).encode()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sensor_id": "b", "speed": 50}, "unknown_sensor"),
        ({}, "missing_field"),
        ({"speed": None, "flow": None}, "missing_field"),
        ({"speed": -1}, "out_of_range"),
        ({"flow": -0.5}, "out_of_range"),
        ({"occupancy": 1.2}, "out_of_range"),
        ({"occupancy": 101, "sensor_id": "mph"}, "out_of_range"),
        ({"speed": 301}, "out_of_range"),
        ({"speed": 190, "sensor_id": "mph"}, "out_of_range"),
        ({"flow": 6_001}, "out_of_range"),
        ({"speed": 1e300}, "out_of_range"),
        ({"speed": 10**400}, "out_of_range"),
        ({"speed": "fast"}, "wrong_type"),
    ],
)
def test_a_bad_reading_is_refused_and_its_neighbours_are_not(
    fields: dict[str, Any], code: str
) -> None:
    values = [reading(speed=50), reading(**fields), reading(occupancy=0.5)]
    decoded = EventDecoder(pipeline().events).decode(values)
    assert [(bad.row, bad.code) for bad in decoded.bad] == [(1, code)]
    assert decoded.rows.tolist() == [0, 2]
    assert decoded.columns.values["speed"].tolist() == [50_000, NO_VALUE]
    assert decoded.columns.values["occupancy"].tolist() == [NO_VALUE, 50_000]


def test_each_sensor_s_own_unit_becomes_the_contract_s() -> None:
    values = [
        reading(sensor_id="a", speed=62.666667, flow=1_200, occupancy=0.25),
        reading(sensor_id="mph", speed=62.666667, occupancy=25),
        reading(sensor_id="m/s", speed=10),
    ]
    columns = EventDecoder(pipeline().events).decode(values).columns
    assert columns.values["speed"].tolist() == [62_667, round(62.666667 * 1609.344), 36_000]
    assert columns.values["occupancy"].tolist() == [25_000, 25_000, NO_VALUE]
    assert columns.values["flow"].tolist() == [12_000, NO_VALUE, NO_VALUE]


def test_a_value_that_is_absent_is_still_absent_behind_the_next_topic() -> None:
    events = pipeline().events
    columns = EventDecoder(events).decode([reading(flow=10), reading(speed=0)]).columns
    written = encode_internal(
        columns,
        events.topic,
        np.zeros(2, np.int64),
        np.arange(2),
        columns.features,
        "none",
        events,
    )
    read = InternalDecoder(events, "none", 0).decode(written)
    assert read.bad == []
    assert read.columns.values["speed"].tolist() == [NO_VALUE, 0]


def test_a_window_of_a_value_that_may_be_absent_is_refused() -> None:
    mean = Mean(by="sensor_id", of="speed", over=("1h",), name="mean")
    own = replace(pipeline(), features=(mean,), conditions=None)
    with pytest.raises(ConfigError) as caught:
        compile_plan(own)
    assert caught.value.code == "window_of_measure"


def test_readings_are_placed_by_their_corridor() -> None:
    known = pipeline().events.known
    assert known is not None
    assert known.places_of(["m/s", "a", "mph"]) == ["west", "east", "east"]
