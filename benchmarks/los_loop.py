"""The los-loop data in the project's own form: a reading a row, and a table of the sensors.

    python benchmarks/los_loop.py DATA OUT

writes OUT/readings.parquet (sensor_id, event_time in ms, speed in mph) and OUT/sensors.json, with
up to 16 neighbours of each sensor, the nearest by road first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import polars as pl

MPH = 1.609344
NEIGHBOURS_MAX = 16


def write_los_loop(data: Path, out: Path) -> tuple[Path, Path]:
    """Write both files and return their paths."""
    frame = pl.read_parquet(data / "los_speed.parquet")
    ids = [name for name in frame.columns if name != "ts"]
    readings = (
        frame.with_columns(pl.col("ts").dt.epoch("ms").alias("event_time"))
        .drop("ts")
        .unpivot(index="event_time", variable_name="sensor_id", value_name="speed")
        .sort("event_time", maintain_order=True)
    )
    weights = pl.read_csv(data / "los_adj.csv.gz", has_header=False).to_numpy()
    rows = []
    for at, name in enumerate(ids):
        order = (-weights[at]).argsort(kind="stable").tolist()
        near = [ids[j] for j in order if j != at and weights[at, j] > 0]
        rows.append(
            {
                "sensor_id": name,
                "corridor": "los-loop",
                "free_flow_kmh": 65 * MPH,
                "speed_unit": "mph",
                "neighbours": near[:NEIGHBOURS_MAX],
            }
        )
    out.mkdir(parents=True, exist_ok=True)
    table, file = out / "sensors.json", out / "readings.parquet"
    table.write_text(json.dumps(rows, indent=1))
    readings.write_parquet(file)
    return file, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    write_los_loop(given.data, given.out)
