"""What is measured: one stage with 15 features of a customer, and the fraud pipeline.

Each run is a consumer group and an output topic of its own over one prepared input, so
a pipeline is made for a run: everything but names and topics is the same.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stream_infer.events.contract import Transaction
from stream_infer.features.spec import (
    Count,
    HourOfDay,
    Last,
    Mean,
    Night,
    Since,
    Std,
    Value,
    Weekend,
)
from stream_infer.pipeline import Events, Pipeline
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.simulators.traffic import Roads
from stream_infer.simulators.traffic import sensor_table as simulated_sensors
from stream_infer.traffic.sensors import sensor_table

SENSORS_ROAD = 400
SENSORS_CITY = 10_000
ROADS_START_MS = 1_735_689_600_000
WINDOWS = ("1d", "7d", "30d")
SCORED_SUFFIX = ".scored"


def single_stage(run: str, source: str) -> Pipeline:
    """Return the one-stage pipeline: 15 features over the customer, no labels.

    run     name of the pipeline, its group and its output
    source  the input topic
    """
    return Pipeline(
        name=run,
        events=Events(
            topic=source,
            type=Transaction,
            id="transaction_id",
            time="event_time",
            key="customer_id",
            entities=("customer_id",),
            decimals={"amount": 2},
        ),
        features=(
            Value(of="amount", name="amount"),
            HourOfDay(name="hour"),
            Weekend(name="weekend"),
            Night(name="night"),
            Count(by="customer_id", over=WINDOWS, name="count_{window}"),
            Mean(of="amount", by="customer_id", over=WINDOWS, name="mean_{window}"),
            Std(of="amount", by="customer_id", over=WINDOWS, name="std_{window}"),
            Since(by="customer_id", name="since"),
            Last(of="amount", by="customer_id", name="last"),
        ),
        scored=f"{run}{SCORED_SUFFIX}",
        model="bench",
    )


def two_stage(run: str, source: str) -> Pipeline:
    """Return the fraud pipeline with its own names and topics.

    source  the input topic; the labels' topic is `labels_topic(source)`
    """
    labels = fraud.labels
    return replace(
        fraud,
        name=run,
        events=replace(fraud.events, topic=source),
        labels=None if labels is None else replace(labels, topic=labels_topic(source)),
        scored=f"{run}{SCORED_SUFFIX}",
        alerts=None,
    )


def two_stage_alerts(run: str, source: str) -> Pipeline:
    """Return the same with the alerts that the fraud pipeline declares.

    source  the input topic; the labels' topic is `labels_topic(source)`
    """
    alerts = fraud.alerts
    declared = None if alerts is None else replace(alerts, topic=f"{run}.alerts")
    return replace(two_stage(run, source), alerts=declared)


def bench_roads(sensors: int) -> Roads:
    """Return a road network with so many sensors, 25 a corridor."""
    # Long past: a reading ahead of its record would be a dead letter.
    return Roads(corridors=max(1, sensors // 25), sensors_per_corridor=25, start_ms=ROADS_START_MS)


def traffic_road(run: str, source: str) -> Pipeline:
    """Return the traffic pipeline for `SENSORS_ROAD` sensors."""
    return _traffic(run, source, SENSORS_ROAD)


def traffic_city(run: str, source: str) -> Pipeline:
    """Return the traffic pipeline for `SENSORS_CITY` sensors."""
    return _traffic(run, source, SENSORS_CITY)


def _traffic(run: str, source: str, sensors: int) -> Pipeline:
    table = sensor_table(simulated_sensors(bench_roads(sensors)))
    return traffic_pipeline(table, name=run, topic=source, scored=f"{run}{SCORED_SUFFIX}")


def labels_topic(source: str) -> str:
    """Return the topic of the labels of the transactions in `source`."""
    return f"{source}.labels"


def write_pipeline_file(folder: Path, maker: str, run: str, source: str) -> Path:
    """Write the file that names a run's pipeline to ``stream-infer worker``.

    maker  a function of this module, by name
    """
    path = folder / f"{run.replace('-', '_')}.py"
    path.write_text(
        f"from stream_infer.benchmark.pipelines import {maker}\n\n"
        f"pipeline = {maker}({run!r}, {source!r})\n"
    )
    return path
