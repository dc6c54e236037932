"""Features of public road sensors once more, as a worker writes them to a real Kafka.

    python -m benchmarks.roads_through_kafka [--data ../shared/data]

Starts a Kafka of its own, sends each file's readings in their order to one partition (what
neighbours say depends on the order in which readings were merged), lets one worker do all of it and
compares the features that it publishes with those of the file, bit for bit. NAB's score is then
computed from what came through Kafka. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.los_loop import write_los_loop
from benchmarks.through_kafka import command, read_written, working
from benchmarks.traffic_quality import (
    measure_series,
    nab_readings,
    nab_rows,
    nab_series,
    nab_table_rows,
)
from stream_infer.broker import EmbeddedBroker
from stream_infer.features.plan import compile_plan
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.training.roads.readings import read_readings

PIPELINE = """\
from stream_infer.pipelines.traffic import traffic_pipeline

pipeline = traffic_pipeline({table!r}, name={name!r}, topic={name!r}, scored="scored-" + {name!r},
                            model=None, alerts=None)
"""


class Scored(msgspec.Struct):
    """What is read of a scored reading."""

    event_id: str
    features: dict[str, float | None]


def streamed_features(
    name: str, table: Path, readings: Path, count: int, bootstrap: str, folder: Path
) -> tuple[Pipeline, NDArray[np.float64]]:
    """Return the pipeline and the features of all readings in their order, (n, features)."""
    file = folder / f"{name.replace('-', '_')}.py"
    file.write_text(PIPELINE.format(table=str(table), name=name))
    pipeline = load_pipeline(str(file))
    kafka = ("--bootstrap", bootstrap)
    command("topics", "create", file, "--partitions", "1", *kafka)
    command("replay", readings, "--topic", pipeline.events.topic, "--pipeline", file, *kafka)
    names = compile_plan(pipeline).feature_names
    matrix = np.full((count, len(names)), np.nan)
    decode = msgspec.json.Decoder(Scored).decode
    seen: set[int] = set()

    def take(record: Any) -> int:
        scored = decode(record.value)
        row = int(scored.event_id.rpartition("-")[2])
        values = map(scored.features.__getitem__, names)
        matrix[row] = [np.nan if value is None else value for value in values]
        seen.add(row)
        return len(seen)

    log = folder / f"{name}.log"
    with working(str(file), None, bootstrap, log) as process:
        asyncio.run(read_written(bootstrap, pipeline.scored, take, count, process, log))
    command("audit", file, *kafka)  # exit code 0: none lost, none scored twice
    return pipeline, matrix


def compared(matrix: NDArray[np.float64], expected: NDArray[np.float32]) -> dict[str, int]:
    """Return how many readings there are, and in how many of them a feature has other bits.

    An infinite number is written as null, as one that is none.
    """
    expected = np.where(np.isfinite(expected), expected, np.nan).astype(np.float32)
    found = matrix.astype(np.float32)
    differs = (found != expected) & ~(np.isnan(found) & np.isnan(expected))
    return {"readings": len(matrix), "readings_that_differ": int(differs.any(axis=1).sum())}


def los_loop(data: Path, bootstrap: str, folder: Path) -> dict[str, Any]:
    """Compare the features of all 417,312 readings."""
    readings, table = write_los_loop(data / "traffic-los-loop", folder)
    count = len(pl.read_parquet(readings, columns=["sensor_id"]))
    pipeline, matrix = streamed_features("los-loop", table, readings, count, bootstrap, folder)
    return compared(matrix, read_readings(pipeline, readings, None).matrix)


def nab(data: Path, bootstrap: str, folder: Path) -> dict[str, Any]:
    """Compare the features of all readings, and score the anomalies that came through Kafka."""
    frames = nab_rows(data / "nab")
    table, file = folder / "nab.json", folder / "nab.jsonl"
    table.write_text(json.dumps(nab_table_rows(list(frames))))
    rows = nab_readings(frames)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline, matrix = streamed_features("nab", table, file, len(rows), bootstrap, folder)
    expected = read_readings(pipeline, file, None).matrix
    anomaly = matrix[:, compile_plan(pipeline).feature_names.index("anomaly")]
    sensors = [str(row["sensor_id"]) for row in rows]
    return compared(matrix, expected) | measure_series(nab_series(data / "nab", sensors, anomaly))


PARTS = {"traffic": los_loop, "nab": nab}


def roads_through_kafka(data: Path, parts: Sequence[str] = tuple(PARTS)) -> dict[str, Any]:
    """Return what came through Kafka, and in how many readings it is not what the file says."""
    place = tempfile.TemporaryDirectory(prefix="roads-through-kafka-")
    with place as work, EmbeddedBroker() as broker:
        return {part: PARTS[part](data, broker.bootstrap, Path(work)) for part in parts}


def main() -> None:
    """Compare, print, and fail where stream and file differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("STREAM_INFER_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    given = parser.parse_args()
    found = roads_through_kafka(given.data)
    print(json.dumps(found, indent=1))
    if any(part["readings_that_differ"] for part in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
