"""`features` on files of sensor readings: what the stream would say, row for row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stream_infer.events.decode import EventDecoder
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.loading import load_pipeline
from support.commands import run_command

START_MS = 1_767_225_600_000
TABLE = (
    "sensor_id,corridor,free_flow_kmh,lanes,speed_unit,occupancy_unit\n"
    "00017,east,100,2,mph,percent\n00018,east,80,2,mph,percent\n"
)
ROAD = """\
from pathlib import Path
from stream_infer.pipelines.traffic import traffic_pipeline

pipeline = traffic_pipeline(Path(__file__).with_name("sensors.csv"), model=None)
"""


@pytest.fixture
def road(tmp_path: Path) -> Path:
    (tmp_path / "sensors.csv").write_text(TABLE)
    path = tmp_path / "road.py"
    path.write_text(ROAD)
    return path


def readings(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(3)
    speeds = [f"{speed:.6f}" for speed in random.normal(60, 8, rows)]
    return pl.DataFrame(
        {
            "detector": ["00017" if row % 2 else "00018" for row in range(rows)],
            "at": pl.Series(START_MS + 150_000 * np.arange(rows)).cast(pl.Datetime("ms")),
            "mph": [None if row % 11 == 0 else speed for row, speed in enumerate(speeds)],
            "busy": [round(float(share), 2) for share in random.uniform(0, 30, rows)],
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_features_of_a_file_are_those_of_the_stream(road: Path, suffix: str) -> None:
    frame = readings(400)
    source, target = road.with_suffix(suffix), road.with_name("features.parquet")
    frame.write_csv(source) if suffix == ".csv" else frame.write_parquet(source)
    fields = "sensor_id=detector,event_time=at,speed=mph,occupancy=busy"
    ran = run_command("features", road, source, target, "--fields", fields)
    assert ran.code == 0, ran.err
    found = pl.read_parquet(target)
    plan = compile_plan(load_pipeline(str(road)))
    values = [
        json.dumps(
            {"sensor_id": row["detector"], "event_time": START_MS + 150_000 * at,
             "occupancy": row["busy"]} | ({"speed": float(row["mph"])} if row["mph"] else {})
        ).encode()
        for at, row in enumerate(frame.iter_rows(named=True))
    ]  # fmt: skip
    columns = EventDecoder(plan.pipeline.events).decode(values).columns
    columns.source_partition[:], columns.source_offset[:] = 0, np.arange(len(values))
    fold = StageFold(plan.stages[0])
    cut = [fold.fold(columns.slice(at, at + 25)).features for at in range(0, 400, 25)]
    np.testing.assert_array_equal(
        found.select(plan.feature_names).to_numpy(),
        plan.matrix(columns, np.concatenate(cut)),
    )
    assert found["sensor_id"].to_list() == frame["detector"].to_list()


def test_an_unknown_sensor_in_a_file_is_named_by_its_row(road: Path) -> None:
    source = road.with_suffix(".csv")
    source.write_text("sensor_id,event_time,speed\n00017,1767225600000,50\n17,1767225600000,50\n")
    ran = run_command("features", road, source, road.with_name("out.csv"))
    assert ran.code == 5
    assert "row 2: unknown_sensor" in ran.err


def test_a_broken_sensor_table_is_named_with_the_pipeline_s_line(road: Path) -> None:
    road.with_name("sensors.csv").write_text(TABLE.replace("80,2", "80,0"))
    source = road.with_suffix(".csv")
    source.write_text("sensor_id,event_time,speed\n00017,1767225600000,50\n")
    ran = run_command("features", road, source, road.with_name("out.csv"))
    assert ran.code == 2
    assert "Row 2 of the sensor table is wrong" in ran.err
