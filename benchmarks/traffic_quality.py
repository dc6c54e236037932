"""How good the traffic pipeline's anomaly score is on public data, beside what others published.

    python benchmarks/traffic_quality.py [--data ../shared/data] [--json]

NAB's realTraffic: score of the pipeline's anomaly score, computed by the stream's own code, after
a rule as alerts have one (again only when higher, for a fifth of the first rows), with the
threshold that scores best on these files, as NAB does it. Published figures are printed beside;
the folder's README.md says where they come from. Forecasts are measured by `train traffic`
(`benchmarks/los_loop.py` makes its files).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import EventDecoder
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.features.table import compute_features
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.traffic.nab import (
    LOW_FALSE_NEGATIVES,
    LOW_FALSE_POSITIVES,
    STANDARD,
    Series,
    best_threshold,
    probation_rows,
)
from stream_infer.traffic.sensors import SensorTable, sensor_table

MPH = 1.609344
NAB_PUBLISHED = {"contextOSE (looks ahead)": 91.2, "ARTime": 86.9, "Numenta HTM": 82.5}


def nab_table(files: Sequence[str]) -> SensorTable:
    """Return a table in which each file is a sensor."""
    return sensor_table(nab_table_rows(files))


def nab_table_rows(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of that table; travel times go as flows, unit by unit."""
    rows = []
    for name in files:
        measure = name.split("_")[0]
        measure = {"TravelTime": "flow"}.get(measure, measure)
        rows.append(
            {
                "sensor_id": name,
                "corridor": name,
                "free_flow_kmh": 112.0,
                "lanes": 4,
                "measure": measure,
                "speed_unit": "mph",
                "occupancy_unit": "percent",
                "upstream": "",
                "neighbours": [],
            }
        )
    return rows


def nab_rows(folder: Path) -> dict[str, pl.DataFrame]:
    """Return each file's rows with its name, time (UTC) and the measure that it holds."""
    return {
        path.stem: pl.read_csv(path, try_parse_dates=True)
        for path in sorted((folder / "data" / "realTraffic").glob("*.csv"))
    }


def nab_readings(frames: dict[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Return all rows as readings, in the order in which they were made."""
    readings = []
    for name, frame in frames.items():
        measure = {"TravelTime": "flow"}.get(name.split("_")[0], name.split("_")[0])
        times = frame["timestamp"].dt.epoch("ms").to_list()
        readings += [
            {"sensor_id": name, "event_time": time, measure: value}
            for time, value in zip(times, frame["value"].to_list(), strict=True)
        ]
    return sorted(readings, key=lambda reading: int(reading["event_time"]))


def columns_of(plan: Plan, readings: Sequence[dict[str, Any]]) -> EventColumns:
    """Return readings as the stream would decode them."""
    decoded = EventDecoder(plan.pipeline.events).decode([json.dumps(r).encode() for r in readings])
    if decoded.bad:
        raise ValueError(f"{len(decoded.bad)} bad readings, the first: {decoded.bad[0]}")
    decoded.columns.source_partition[:] = 0
    decoded.columns.source_offset[:] = decoded.rows
    return decoded.columns


def nab_anomalies(folder: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return whose each reading is, and the pipeline's anomaly score of it."""
    frames = nab_rows(folder)
    plan = compile_plan(traffic_pipeline(nab_table(list(frames)), model=None))
    readings = nab_readings(frames)
    matrix = compute_features(plan, columns_of(plan, readings))
    sensors = [str(reading["sensor_id"]) for reading in readings]
    return sensors, matrix[:, plan.feature_names.index("anomaly")]


def nab_series(folder: Path, sensors: Sequence[str], scores: NDArray[np.float64]) -> list[Series]:
    """Return the anomaly scores of every file, with the labelled windows.

    sensors  whose each score is, in the order of `nab_readings`
    """
    whose = np.array(sensors)
    return [
        Series(again_when_higher(scores[whose == name]), labelled_rows(folder, name, frame))
        for name, frame in nab_rows(folder).items()
    ]


def labelled_rows(folder: Path, name: str, frame: pl.DataFrame) -> list[tuple[int, int]]:
    """Return the first and last row of each window that is labelled in a file."""
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    times = frame["timestamp"].to_numpy()
    return [_rows_of(times, span) for span in windows[f"realTraffic/{name}.csv"]]


def _rows_of(times: NDArray[Any], span: Sequence[str]) -> tuple[int, int]:
    first, last = (np.datetime64(text.replace(" ", "T")) for text in span)
    rows = np.flatnonzero((times >= first) & (times <= last))
    return int(rows[0]), int(rows[-1])


def again_when_higher(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep a score only where it is the highest since the last one that was kept and counts."""
    quiet = max(1, probation_rows(len(scores)) // 5)
    kept, level, left = np.zeros_like(scores), 0.0, 0
    for row, score in enumerate(scores.tolist()):
        level = level if left > 0 else 0.0
        left -= 1
        if score > level:
            kept[row], level, left = score, score, quiet
    return kept


def measure_anomalies(folder: Path) -> dict[str, float]:
    """Return the NAB scores of the three profiles, and the threshold of the standard one."""
    return measure_series(nab_series(folder, *nab_anomalies(folder)))


def measure_series(series: Sequence[Series]) -> dict[str, float]:
    """Return the same of these scores."""
    threshold, standard = best_threshold(series, STANDARD)
    return {
        "standard": round(standard, 2),
        "low_false_positives": round(best_threshold(series, LOW_FALSE_POSITIVES)[1], 2),
        "low_false_negatives": round(best_threshold(series, LOW_FALSE_NEGATIVES)[1], 2),
        "threshold": round(threshold, 5),
    }


def los_table(folder: Path, ids: Sequence[str]) -> SensorTable:
    """Return the detectors with their neighbours, the nearest by road first."""
    weights = pl.read_csv(folder / "los_adj.csv.gz", has_header=False).to_numpy()
    rows = []
    for at, name in enumerate(ids):
        order = np.argsort(-weights[at], kind="stable")
        near = [ids[j] for j in order.tolist() if j != at and weights[at, j] > 0]
        rows.append(
            {
                "sensor_id": name,
                "corridor": "los-loop",
                "free_flow_kmh": 65 * MPH,
                "speed_unit": "mph",
                "neighbours": near[:16],
            }
        )
    return sensor_table(rows)


def los_readings(
    folder: Path, rows_max: int | None = None
) -> tuple[SensorTable, list[dict[str, Any]]]:
    """Return the detectors, and their readings by time and then in the order of the table."""
    frame = pl.read_parquet(folder / "los_speed.parquet").head(rows_max or 1 << 62)
    ids = [name for name in frame.columns if name != "ts"]
    times = frame["ts"].dt.epoch("ms").to_list()
    readings = [
        {"sensor_id": name, "event_time": time, "speed": speed}
        for time, row in zip(times, frame.select(ids).rows(), strict=True)
        for name, speed in zip(ids, row, strict=True)
    ]
    return los_table(folder, ids), readings


def main() -> None:
    """Measure, and print beside what others published."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("STREAM_INFER_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    anomalies = measure_anomalies(given.data / "nab")
    if given.json:
        print(json.dumps({"anomalies": anomalies}))
        return
    print("NAB realTraffic, standard profile")
    for name, score in NAB_PUBLISHED.items():
        print(f"  {name:28} {score:5.1f}")
    print(f"  {'this pipeline':28} {anomalies['standard']:5.1f}   {anomalies}")


if __name__ == "__main__":
    main()
