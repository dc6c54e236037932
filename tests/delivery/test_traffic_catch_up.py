"""Readings of hours read through several partitions at full speed: none is made late by another."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.simulators.records import reading_records
from stream_infer.simulators.traffic import Roads, generate
from stream_infer.simulators.traffic import sensor_table as simulated_table
from stream_infer.traffic.sensors import sensor_table
from support.kafka import aread_all
from support.load import send_records
from support.worker import make_topics, work_off

pytestmark = pytest.mark.kafka

ROADS = Roads(
    corridors=4,
    sensors_per_corridor=25,
    minutes=16 * 60,
    silent_per_sensor_day=0.0,
    stuck_per_sensor_day=0.0,
    spikes_per_sensor_day=0.0,
    drift_per_sensor_day=0.0,
)


SLOW_MS = 20 * 60_000
"""A third of the sensors have clocks that are behind by this, well within the lateness."""


async def test_catching_up_through_four_partitions_marks_no_reading_late(kafka: str) -> None:
    mark = uuid.uuid4().hex[:8]
    table = sensor_table(simulated_table(ROADS))
    pipeline = traffic_pipeline(
        table, name=f"traffic{mark}", topic=f"readings-{mark}", scored=f"scored-{mark}", model=None
    )
    await make_topics(kafka, pipeline, partitions=4)
    readings = generate(ROADS)
    slow = readings.sensor % 3 == 0
    readings = replace(readings, event_time=readings.event_time - SLOW_MS * slow)
    names = [sensor.sensor_id for sensor in table.sensors]
    await send_records(kafka, pipeline.events.topic, reading_records(readings, names))
    await work_off(kafka, pipeline)
    scored = [json.loads(each.value or b"") for each in await aread_all(kafka, pipeline.scored)]
    assert len(scored) == len(readings)
    assert [reading["late"] for reading in scored].count(True) == 0
