"""Readings through a real Kafka: re-keyed by corridor, scored once, as a file's, bit for bit."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from stream_infer.audit.reconcile import audit
from stream_infer.audit.report import AuditReport
from stream_infer.events.decode import EventDecoder
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.simulators.records import Records, reading_records
from stream_infer.simulators.traffic import Roads, generate
from stream_infer.simulators.traffic import sensor_table as simulated_table
from stream_infer.traffic.sensors import SensorTable, sensor_table
from support.load import read_scored, send_records
from support.worker import make_topics, work_off

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("STREAM_INFER_DATA", ROOT.parent / "shared" / "data"))
NAB, LOS = DATA / "nab", DATA / "traffic-los-loop"
LOS_ROWS = int(os.environ.get("STREAM_INFER_LOS_ROWS", "40"))
"""Five-minute rows of 207 detectors; all 2,016 take minutes."""
Row = tuple[float | None, ...]


def own_pipeline(table: SensorTable) -> Pipeline:
    """Return a traffic pipeline under names that no other test uses."""
    mark = uuid.uuid4().hex[:8]
    return traffic_pipeline(
        table, name=f"traffic{mark}", topic=f"readings-{mark}", scored=f"scored-{mark}"
    )


def file_features(pipeline: Pipeline, values: list[bytes]) -> dict[tuple[str, int], Row]:
    """Return (sensor, time) -> features, as the same code computes them for a file."""
    plan = compile_plan(pipeline)
    decoded = EventDecoder(pipeline.events).decode(values)
    columns = decoded.columns
    columns.source_partition[:], columns.source_offset[:] = 0, decoded.rows
    matrix = compute_features(plan, columns)
    keys = zip(columns.ids, columns.event_time.tolist(), strict=True)
    rows = (tuple(None if math.isnan(cell) else cell for cell in row) for row in matrix.tolist())
    # Of a reading that came twice, the first is what stands in the map.
    found: dict[tuple[str, int], Row] = {}
    for key, row in zip(keys, rows, strict=True):
        found.setdefault(key, row)
    return found


async def stream(kafka: str, pipeline: Pipeline, records: Records) -> list[dict[str, Any]]:
    """Send the records, work them off, audit, and return the scored readings."""
    await make_topics(kafka, pipeline, partitions=1)
    await send_records(kafka, pipeline.events.topic, records)
    await work_off(kafka, pipeline)
    report: AuditReport = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _: None)
    assert (report.lost, report.scored_twice) == (0, 0)
    return (await read_scored(kafka, pipeline)).events


def assert_same(
    pipeline: Pipeline, scored: list[dict[str, Any]], expected: dict[tuple[str, int], Row]
) -> None:
    names = compile_plan(pipeline).feature_names
    first = [event for event in scored if event["duplicate_of"] is None]
    found = {
        (event["sensor_id"], event["event_time"]): tuple(event["features"][n] for n in names)
        for event in first
    }
    assert found.keys() == expected.keys()
    assert found == expected


async def test_generated_roads_are_scored_once_and_as_the_file_says(kafka: str) -> None:
    roads = Roads(corridors=2, sensors_per_corridor=5, minutes=240)
    table = sensor_table(simulated_table(roads))
    pipeline = own_pipeline(table)
    ids = [sensor.sensor_id for sensor in table.sensors]
    records = reading_records(generate(roads), ids)
    unknown = json.dumps({"sensor_id": "nowhere", "event_time": 1, "speed": 1}).encode()
    records.keys.append(b"nowhere")
    records.values.append(unknown)
    records.timestamps.append(records.timestamps[-1])
    scored = await stream(kafka, pipeline, records)
    assert len(scored) == len(records.values) - 1
    assert_same(pipeline, scored, file_features(pipeline, records.values))
    assert all(event["forecasts"] for event in scored if event["speed"] is not None)


def quality(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the benchmark's script, which knows how to read the public files."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("traffic_quality", None)
    return importlib.import_module("traffic_quality")


def records_of(readings: list[dict[str, Any]]) -> Records:
    return Records(
        [reading["sensor_id"].encode() for reading in readings],
        [json.dumps(reading).encode() for reading in readings],
        [reading["event_time"] for reading in readings],
    )


@pytest.mark.skipif(not NAB.is_dir(), reason=f"the benchmark's files are not in {NAB}")
async def test_nab_s_road_sensors_are_scored_once_and_as_the_file_says(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = quality(monkeypatch)
    frames = script.nab_rows(NAB)
    readings = script.nab_readings(frames)
    pipeline = own_pipeline(script.nab_table(list(frames)))
    records = records_of(readings)
    scored = await stream(kafka, pipeline, records)
    assert len(scored) == len(readings)
    assert_same(pipeline, scored, file_features(pipeline, records.values))


@pytest.mark.skipif(not LOS.is_dir(), reason=f"the benchmark's files are not in {LOS}")
async def test_a_city_s_loop_detectors_are_scored_once_and_as_the_file_says(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = quality(monkeypatch)
    table, readings = script.los_readings(LOS, LOS_ROWS)
    pipeline = own_pipeline(table)
    records = records_of(readings)
    scored = await stream(kafka, pipeline, records)
    assert len(scored) == len(readings)
    assert_same(pipeline, scored, file_features(pipeline, records.values))
