"""Sensors whose unit or clock is not what the table and the others say: what is said of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import REKEY_STAGE, Parts, build_stages
from stream_infer.dataplane.stage import FeatureStage
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.observability.meter import StageMeter
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.settings.worker import WorkerSettings
from stream_infer.traffic.sensors import sensor_table

SENSORS = ("right", "odd")
MINUTE = 60_000
HOUR = 60 * MINUTE
START_MS = 1_767_225_600_000


def stages() -> tuple[FeatureStage, FeatureStage]:
    """Return the stage that reads the input, and the corridor's."""
    table = sensor_table(
        [
            {"sensor_id": name, "corridor": "east", "free_flow_kmh": 100, "lanes": 2}
            for name in SENSORS
        ]
    )
    pipeline = traffic_pipeline(table, model=None)
    partitions = {spec.name: 1 for spec in pipeline_topics(pipeline)}
    built = build_stages(Parts(compile_plan(pipeline), None, partitions, WorkerSettings()))
    by_topic = {stage.topic: stage for stage in built if isinstance(stage, FeatureStage)}
    first, corridor = by_topic["sensor-readings"], by_topic["traffic.by-corridor"]
    assert first.name == REKEY_STAGE
    return first, corridor


class Road:
    """Takes readings through both stages."""

    def __init__(self) -> None:
        self._first, self._corridor = stages()
        self._state = self._corridor.open_state(None)
        self._written = 0
        self.refused: list[tuple[int, str]] = []

    def take(self, readings: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
        """Return the scored readings; each reading comes with when it was written, ms."""
        values = [(at, json.dumps(reading).encode()) for at, reading in readings]
        handed_on = self._step(self._first, None, values, "traffic.by-corridor")
        scored = self._step(
            self._corridor, self._state, [(at, value) for at, value in handed_on], "scored-readings"
        )
        return [json.loads(value) for _, value in scored]

    def _step(
        self, stage: FeatureStage, state: Any, values: list[tuple[int, bytes]], topic: str
    ) -> list[tuple[int, bytes]]:
        source = Partition(stage.topic, 0)
        records = [
            SimpleNamespace(
                offset=self._written + row, timestamp=at, timestamp_type=0, key=b"", value=value,
                headers=(),
            )
            for row, (at, value) in enumerate(values)
        ]  # fmt: skip
        [read] = stage.read([RecordBatch(source, records)])
        self.refused += [(bad.row, bad.code) for bad in read.bad]
        [result] = stage.step([(read, state)], StageMeter())
        if topic == "scored-readings":
            self._written += len(values)
        return [
            (values[min(row, len(values) - 1)][0], value or b"")
            for place, writes in result.outputs.items()
            if place.topic == topic
            for row, value in zip(writes.rows, writes.values, strict=True)
        ]


def reading(sensor: str, time_ms: int, speed: float) -> dict[str, Any]:
    return {"sensor_id": sensor, "event_time": time_ms, "speed": speed, "flow": 1_000}


def test_a_sensor_that_changes_its_unit_shows_as_an_anomaly() -> None:
    """What it says is possible in either unit, so no reading of it is refused."""
    road, draw = Road(), np.random.default_rng(1)
    times = range(START_MS, START_MS + 72 * HOUR, 5 * MINUTE)
    road.take([(time, reading("odd", time, 95 + draw.normal(0, 3))) for time in times])
    in_miles = [False, True] * 10
    after = [START_MS + 72 * HOUR + at * 5 * MINUTE for at in range(20)]
    scored = road.take(
        [
            (time, reading("odd", time, (95 + draw.normal(0, 3)) * (0.6214 if miles else 1)))
            for time, miles in zip(after, in_miles, strict=True)
        ]
    )
    assert road.refused == []
    by_unit: dict[bool, list[float]] = {False: [], True: []}
    for event, miles in zip(scored, in_miles, strict=True):
        by_unit[miles].append(event["anomaly"])
    assert min(by_unit[True]) > 0.97
    assert max(by_unit[False]) < min(by_unit[True])


def test_readings_of_a_clock_an_hour_ahead_are_refused_and_hold_up_nobody() -> None:
    road = Road()
    readings = []
    for at in range(0, 3 * HOUR, 5 * MINUTE):
        now = START_MS + at
        readings += [(now, reading("odd", now + HOUR, 90)), (now, reading("right", now, 90))]
    scored = road.take(readings)
    assert road.refused == [(row, "future_event") for row in range(0, len(readings), 2)]
    assert {event["sensor_id"] for event in scored} == {"right"}
    assert not any(event["late"] for event in scored)


@pytest.mark.parametrize(("behind_ms", "late"), [(HOUR, False), (2 * HOUR, True)])
def test_readings_of_a_clock_that_is_always_behind_are_scored_and_late_beyond_an_hour(
    behind_ms: int, late: object
) -> None:
    """The fastest clock of a partition bounds how far behind the others may be."""
    road = Road()
    readings = []
    for at in range(0, 6 * HOUR, 5 * MINUTE):
        now = START_MS + at
        readings += [(now, reading("right", now, 90)), (now, reading("odd", now - behind_ms, 90))]
    scored = road.take(readings)
    assert road.refused == []
    assert len(scored) == len(readings)
    assert {(event["sensor_id"], event["late"]) for event in scored} == {
        ("right", False),
        ("odd", late),
    }


def test_a_clock_that_falls_back_by_two_hours_makes_its_readings_late_for_one() -> None:
    road = Road()
    before = [START_MS + at * 5 * MINUTE for at in range(48)]
    road.take([(time, reading("odd", time, 90)) for time in before])
    after = [before[-1] + at * 5 * MINUTE for at in range(1, 49)]
    scored = road.take([(time, reading("odd", time - 2 * HOUR, 90)) for time in after])
    late = [event["late"] for event in scored]
    # An hour behind its newest reading is still in time; two hours on, its clock is past that.
    assert late == [True] * 11 + [False] * 37
