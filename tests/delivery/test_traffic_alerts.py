"""From readings in Kafka to alerts about roads: jams, and sensors that say nothing."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from stream_infer.events.columns import TICK
from stream_infer.events.topic_names import candidates_topic, internal_topic
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.simulators.records import reading_records
from stream_infer.simulators.road_plan import SILENT, Fault, Incident
from stream_infer.simulators.traffic import Roads, generate
from stream_infer.simulators.traffic import sensor_table as simulated_table
from stream_infer.traffic.sensors import sensor_table
from support.kafka import aread_all
from support.load import send_records
from support.worker import make_topics, serving, until, work_off

pytestmark = pytest.mark.kafka

START_MS = Roads().start_ms
HOUR_MS = 3_600_000
CLOSED = Incident(
    corridor=0,
    position_km=3.0,
    start_ms=START_MS + 8 * HOUR_MS,
    end_ms=START_MS + 9 * HOUR_MS,
    severity=0.95,
)
LATER = Incident(
    corridor=1,
    position_km=3.0,
    start_ms=START_MS + 23 * HOUR_MS // 2,
    end_ms=START_MS + 12 * HOUR_MS,
    severity=0.95,
)
"""Its candidates move the clock on, by which what is over on the other road ends."""
DEAD = Fault(sensor=9, kind=SILENT, start_ms=START_MS + 6 * HOUR_MS, end_ms=START_MS + 7 * HOUR_MS)
ROADS = Roads(
    corridors=2,
    sensors_per_corridor=6,
    minutes=12 * 60 + 30,
    incidents_per_corridor_day=0.0,
    silent_per_sensor_day=0.0,
    stuck_per_sensor_day=0.0,
    spikes_per_sensor_day=0.0,
    drift_per_sensor_day=0.0,
    incidents=(CLOSED, LATER),
    faults=(DEAD,),
)


def own_roads(roads: Roads) -> tuple[Pipeline, list[str]]:
    """Return a pipeline under names that no other test uses, and its sensors' names."""
    mark = uuid.uuid4().hex[:8]
    table = sensor_table(simulated_table(roads))
    pipeline = traffic_pipeline(
        table, name=f"traffic{mark}", topic=f"readings-{mark}", scored=f"scored-{mark}", model=None
    )
    return pipeline, [sensor.sensor_id for sensor in table.sensors]


async def told(kafka: str, pipeline: Pipeline) -> list[dict[str, Any]]:
    assert pipeline.alerts is not None
    records = await aread_all(kafka, pipeline.alerts.topic)
    return [json.loads(record.value or b"") for record in records]


async def test_a_jam_and_a_dead_sensor_are_told_and_cleared(kafka: str) -> None:
    pipeline, sensors = own_roads(ROADS)
    assert pipeline.alerts is not None
    assert pipeline.alerts.topic == f"alerts-{pipeline.name}"
    await make_topics(kafka, pipeline, 1)
    records = reading_records(generate(ROADS), sensors)
    await send_records(kafka, pipeline.events.topic, records)
    await work_off(kafka, pipeline)

    corridors = await aread_all(kafka, internal_topic(pipeline, "sensor_id"))
    assert {record.key for record in corridors} == {b"c0", b"c1"}
    candidates = await aread_all(kafka, candidates_topic(pipeline) or "")
    assert {record.key for record in candidates} <= {b"c0", b"c1"}

    alerts = await told(kafka, pipeline)
    silent = [alert for alert in alerts if alert["kind"] == "sensor_silent"]
    assert {alert["entity"] for alert in silent} == {sensors[DEAD.sensor]}
    assert [alert["change"] for alert in silent][:1] == ["opened"]
    assert silent[-1]["change"] == "cleared"
    assert DEAD.start_ms < silent[0]["opened_time"] < DEAD.start_ms + 5 * 60_000

    jams = [alert for alert in alerts if alert["kind"] == "congestion"]
    first = [alert for alert in jams if alert["opened_time"] < LATER.start_ms]
    assert all(alert["entity"].startswith("c0") for alert in first)
    ends = {alert["alert_id"]: alert for alert in jams if alert["change"] == "cleared"}
    assert ends.keys() >= {alert["alert_id"] for alert in first}
    assert any(
        alert["opened_time"] < CLOSED.start_ms + 20 * 60_000
        and alert["cleared_time"] > CLOSED.end_ms
        and alert["severity"] == "high"
        for alert in ends.values()
    )


async def test_a_road_that_falls_silent_is_one_alert_by_time_alone(kafka: str) -> None:
    # Begun two minutes ago on a whole one: behind old data no time passes.
    start_ms = (time.time_ns() // 1_000_000 // 60_000 - 2) * 60_000
    roads = Roads(corridors=1, sensors_per_corridor=6, minutes=2, interval_s=2, start_ms=start_ms)
    pipeline, sensors = own_roads(roads)
    await make_topics(kafka, pipeline, 1)
    # A look at all sensors is due at two minutes: three of their intervals are over by then.
    readings = generate(roads)
    readings = readings.take(readings.time < start_ms + 112_000)
    await send_records(kafka, pipeline.events.topic, reading_records(readings, sensors))
    async with serving(kafka, pipeline) as worker:

        async def is_told() -> bool:
            # By the hour at which this runs there may be a jam before that.
            return any(alert["kind"] == "sensor_silent" for alert in await told(kafka, pipeline))

        await until(is_told, alive=worker.alive)
        await worker.settle()
    silent = [alert for alert in await told(kafka, pipeline) if alert["kind"] == "sensor_silent"]
    newest = {alert["alert_id"]: alert for alert in silent}
    still_open = [alert for alert in newest.values() if alert["status"] == "open"]
    assert [alert["entity"] for alert in still_open] == ["c0"]
    assert still_open[0]["members"] > 3
    log = await aread_all(kafka, internal_topic(pipeline, "sensor_id"))
    ticks = [record for record in log if json.loads(record.value or b"")[1] == TICK]
    # Time is written only when it tells something.
    assert len(ticks) == 1
