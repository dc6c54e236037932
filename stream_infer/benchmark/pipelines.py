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


def labels_topic(source: str) -> str:
    """Return the topic of the labels of the transactions in `source`."""
    return f"{source}.labels"


def write_pipeline_file(folder: Path, maker: str, run: str, source: str) -> Path:
    """Write the file that names a run's pipeline to ``stream-infer worker``.

    maker  `single_stage` or `two_stage`, by name
    """
    path = folder / f"{run.replace('-', '_')}.py"
    path.write_text(
        f"from stream_infer.benchmark.pipelines import {maker}\n\n"
        f"pipeline = {maker}({run!r}, {source!r})\n"
    )
    return path
