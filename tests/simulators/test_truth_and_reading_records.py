from __future__ import annotations

import json
import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from stream_infer.events.contract import SensorReading
from stream_infer.simulators.fraud import FRAUD_NAMES, World, generate
from stream_infer.simulators.records import (
    FaultTruth,
    FraudTruth,
    IncidentTruth,
    fraud_truth_records,
    reading_records,
    traffic_truth_records,
)
from stream_infer.simulators.road_plan import DRIFT, STUCK
from stream_infer.simulators.traffic import Fault, Incident, Roads, sensor_table
from stream_infer.simulators.traffic import generate as generate_readings
from stream_infer.traffic.sensors import sensor_table as checked_table

ROADS = Roads(seed=3, corridors=2, sensors_per_corridor=5, minutes=30)
IDS = [row["sensor_id"] for row in sensor_table(ROADS)]


def test_readings_on_the_wire_obey_the_contract() -> None:
    readings = generate_readings(ROADS)
    records = reading_records(readings, IDS)
    read = [msgspec.json.decode(value, type=SensorReading) for value in records.values]
    assert [each.sensor_id.encode() for each in read] == records.keys
    assert [each.event_time for each in read] == readings.event_time.tolist()
    speeds = [None if math.isnan(speed) else speed for speed in readings.speed.tolist()]
    assert [each.speed for each in read] == speeds
    assert [each.flow for each in read] == readings.flow.tolist()
    assert [each.occupancy for each in read] == readings.occupancy.tolist()
    assert records.timestamps == readings.time.tolist()


def test_a_reading_without_a_vehicle_has_no_speed() -> None:
    readings = generate_readings(ROADS).take(slice(0, 2))
    readings.speed[:] = [np.nan, 50.0]
    first, second = (json.loads(value) for value in reading_records(readings, IDS).values)
    assert "speed" not in first
    assert second["speed"] == 50.0


def test_a_drifting_sensor_s_record_is_due_when_it_is_made() -> None:
    fault = Fault(sensor=0, kind=DRIFT, start_ms=ROADS.start_ms, end_ms=1 << 60, drift_per_hour=7e5)
    readings = generate_readings(replace(ROADS, faults=(fault,)))
    records = reading_records(readings, IDS)
    assert records.timestamps == sorted(records.timestamps)
    told = [json.loads(value)["event_time"] for value in records.values]
    assert told != records.timestamps


def test_the_truth_names_every_fraud_and_no_other() -> None:
    world = World(
        customers=300,
        terminals=200,
        days=10,
        cards_lost=0.01,
        accounts_lost=0.01,
        cards_tested=0.01,
        seed=1,
    )
    rows = generate(world)
    records = fraud_truth_records(rows)
    told = [msgspec.json.decode(value, type=FraudTruth) for value in records.values]
    assert [each.transaction_id for each in told] == [
        name for name, fraud in zip(rows.ids, rows.is_fraud.tolist(), strict=True) if fraud
    ]
    assert [each.transaction_id.encode() for each in told] == records.keys
    assert [each.event_time for each in told] == records.timestamps
    kinds = {FRAUD_NAMES[kind] for kind in rows.fraud.tolist()} - {"honest"}
    assert {each.kind for each in told} == kinds
    assert len(kinds) == 5


def test_incidents_and_faults_are_told_in_the_order_of_their_beginnings() -> None:
    incident = Incident(
        corridor=1, position_km=1.5, start_ms=2_000, end_ms=9_000, severity=0.7, incident_id="i"
    )
    faults = [
        Fault(sensor=6, kind=STUCK, start_ms=1_000, end_ms=8_000),
        Fault(sensor=2, kind=DRIFT, start_ms=3_000, end_ms=7_000, drift_per_hour=60.0),
    ]
    records = traffic_truth_records([incident], faults, IDS)
    assert records.timestamps == [1_000, 2_000, 3_000]
    assert records.keys == [b"c1s01", b"c1", b"c0s02"]
    stuck, closed, drift = records.values
    assert msgspec.json.decode(stuck, type=FaultTruth).kind == "stuck"
    assert msgspec.json.decode(drift, type=FaultTruth).drift_per_hour == 60.0
    assert msgspec.json.decode(closed, type=IncidentTruth) == IncidentTruth(
        incident_id="i",
        corridor="c1",
        position_km=1.5,
        start_time=2_000,
        end_time=9_000,
        severity=0.7,
    )


@pytest.mark.parametrize("corridors", [1, 3])
def test_the_generated_sensor_table_is_one_that_the_pipeline_takes(corridors: int) -> None:
    rows = sensor_table(replace(ROADS, corridors=corridors))
    table = checked_table(rows)
    assert [sensor.sensor_id for sensor in table.sensors] == [row["sensor_id"] for row in rows]
    assert table.sensors[1].upstream == (rows[0]["sensor_id"],)
    assert table.sensors[1].downstream == (rows[2]["sensor_id"],)
