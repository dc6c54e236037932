"""Generated roads as columns of the stream, and what truly happened on them."""

from __future__ import annotations

import numpy as np

from stream_infer.events.decode import EventDecoder
from stream_infer.features.plan import compile_plan
from stream_infer.models.traffic import (
    MONDAY_MS,
    RoadDays,
    reading_columns,
    road_rows,
    true_share,
)
from stream_infer.pipelines.traffic import built_in_table, traffic_pipeline
from stream_infer.simulators.records import reading_records
from stream_infer.simulators.traffic import Readings, Roads, generate, sensor_table
from stream_infer.traffic.sensors import read_sensor_table
from stream_infer.traffic.sensors import sensor_table as checked_table

SMALL = RoadDays(
    roads=Roads(start_ms=MONDAY_MS, corridors=1, sensors_per_corridor=5, interval_s=300),
    warm=1,
    days=1,
    stride=2,
)


def test_rows_are_those_of_the_days_after_the_warm_ones() -> None:
    rows = road_rows(SMALL, seed=11)
    assert len(rows.share) == 5 * 288 // 2
    assert rows.matrix.dtype == np.float32
    assert np.isfinite(rows.changes).mean() > 0.9


def test_the_outcome_is_the_true_share_of_the_same_sensor_so_much_later() -> None:
    n = 6
    readings = Readings(
        sensor=np.array([0, 1] * 3),
        time=np.repeat(np.arange(3) * 900_000, 2),
        event_time=np.zeros(n, np.int64),
        speed=np.zeros(n),
        flow=np.zeros(n),
        occupancy=np.zeros(n),
        true_speed=np.array([10, 20, 30, 40, 50, 60], np.float32),
        fault=np.zeros(n, np.int8),
    )
    later = true_share(readings, 900_000, np.full(n, 100.0))
    np.testing.assert_allclose(later, [0.3, 0.4, 0.5, 0.6, np.nan, np.nan], rtol=1e-6)


def test_columns_of_generated_readings_are_those_that_the_stream_decodes() -> None:
    roads = Roads(minutes=30, corridors=1, sensors_per_corridor=4)
    readings = generate(roads)
    plan = compile_plan(traffic_pipeline(checked_table(sensor_table(roads)), model=None))
    made = reading_columns(plan, readings)
    ids = [row["sensor_id"] for row in sensor_table(roads)]
    decoded = EventDecoder(plan.pipeline.events).decode(reading_records(readings, ids).values)
    assert decoded.bad == []
    assert made.ids == decoded.columns.ids
    np.testing.assert_array_equal(made.event_time, decoded.columns.event_time)
    np.testing.assert_array_equal(made.values["speed"], decoded.columns.values["speed"])


def test_the_built_in_table_is_that_of_the_simulated_roads() -> None:
    shipped = read_sensor_table(built_in_table())
    assert shipped.sensors == checked_table(sensor_table(Roads())).sensors
