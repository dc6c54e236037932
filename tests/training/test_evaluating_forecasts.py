"""`evaluate` of a version that forecasts: how far it is from what was measured later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.models.traffic import reading_columns
from stream_infer.pipelines.traffic import built_in_table, pipeline, traffic_pipeline
from stream_infer.scoring.model import load_model
from stream_infer.simulators.records import reading_records
from stream_infer.simulators.traffic import Roads, generate, sensor_table
from stream_infer.training.days import parse_days
from stream_infer.training.roads.evaluating import evaluate_forecasts
from stream_infer.training.roads.readings import Readings, changes, readings_of
from stream_infer.training.topics.history import read_readings_log
from support.commands import run_command
from support.kafka import acreate_topics, unique
from support.load import send_records

ROADS = Roads(minutes=720, interval_s=60)


@pytest.fixture(scope="module")
def readings() -> Readings:
    return readings_of(pipeline, reading_columns(compile_plan(pipeline), generate(ROADS)))


def test_errors_are_those_of_the_answers_at_each_horizon(readings: Readings) -> None:
    model = load_model(ready_model_dir("traffic"))
    said = evaluate_forecasts(model, readings, None)
    assert list(said["rmse"]) == ["15m", "30m", "60m"]
    assert said["rmse"]["15m"] < said["rmse"]["60m"]
    assert said["mae"]["15m"] < said["rmse"]["15m"]
    assert 0 < said["in_band"]["15m"] <= 1
    assert said["rmse"]["15m"] < said["last_value_rmse"]["15m"]
    outcome = changes(readings, [15 * 60_000])[:, 0]
    known = np.isfinite(outcome) & np.isfinite(readings.base) & np.isfinite(readings.share)
    answers = model.run_all(readings.matrix[known])[:, 0]
    unit = (readings.scale / readings.factor)[known]
    missed = (answers - outcome[known]) * unit
    assert said["rmse"]["15m"] == pytest.approx(np.sqrt((missed**2).mean()), abs=1e-3)
    assert said["outcomes"]["15m"] == int(known.sum())


def test_what_cannot_be_measured_is_named(readings: Readings) -> None:
    with pytest.raises(ConflictError) as other:
        evaluate_forecasts(load_model(ready_model_dir("fraud")), readings, None)
    assert other.value.code == "features_differ"
    with pytest.raises(InvalidDataError) as nothing:
        evaluate_forecasts(
            load_model(ready_model_dir("traffic")), readings, parse_days("2020-01-01", "--test")
        )
    assert nothing.value.code == "no_rows"


def test_the_command_measures_a_file_of_readings(tmp_path: Path) -> None:
    few = generate(Roads(minutes=90, interval_s=60))
    values = reading_records(few, [row["sensor_id"] for row in sensor_table(ROADS)]).values
    path = tmp_path / "readings.jsonl"
    path.write_bytes(b"\n".join(values) + b"\n")
    table = pl.read_ndjson(path, infer_schema_length=None)
    assert {"sensor_id", "event_time", "speed"} <= set(table.columns)
    page = tmp_path / "page.html"
    words = ("evaluate", ready_model_dir("traffic"), "--data", path, "--report", page)
    ran = run_command(*words, "--json")
    assert ran.code == 0, ran.out + ran.err
    assert ran.json["rmse"]["15m"] > 0
    assert "RMSE" in page.read_text()
    assert "RMSE" in run_command(*words).out


@pytest.mark.kafka
async def test_readings_of_a_topic_are_measured_as_those_of_a_file(kafka: str) -> None:
    topic = unique("readings")
    own = traffic_pipeline(built_in_table(), topic=topic)
    made = generate(Roads(minutes=90, interval_s=60))
    await acreate_topics(kafka, {topic: 2})
    records = reading_records(made, [row["sensor_id"] for row in sensor_table(ROADS)])
    # The future is judged by the record's own time, which is that of writing: long after these.
    await send_records(kafka, topic, records)
    columns = await read_readings_log(Connection(bootstrap=kafka), own, None, lambda _done: None)
    model = load_model(ready_model_dir("traffic"))
    said = evaluate_forecasts(model, readings_of(own, columns), None)
    expected = evaluate_forecasts(
        model, readings_of(pipeline, reading_columns(compile_plan(pipeline), made)), None
    )
    assert said["rows"] == expected["rows"]
    assert said["rmse"] == pytest.approx(expected["rmse"], rel=0.02)
