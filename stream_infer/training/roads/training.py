"""``train traffic`` from files to a model's folder, its report, and a version in a registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream_infer.events.mapping import FieldMapping
from stream_infer.pipeline import Pipeline
from stream_infer.training.roads.forecasters import DECLARED
from stream_infer.training.roads.making import ANOMALIES_MAX, cut_span, make_forecast
from stream_infer.training.roads.readings import conditions_of, read_readings
from stream_infer.training.roads.report import forecast_page, forecast_report
from stream_infer.training.search import Tell
from stream_infer.training.writing import report_files, write_version


def train_traffic(
    pipeline: Pipeline,
    data: Path,
    fields: FieldMapping | None,
    *,
    kinds: Sequence[str] = tuple(DECLARED),
    budget: float = ANOMALIES_MAX,
    split: float,
    seed: int,
    out: Path,
    registry: str | None,
    skip_bad: bool,
    tell: Tell,
) -> dict[str, Any]:
    """Make a forecasting model, write it, and return what is said of it.

    kinds   what is tried
    budget  share of the readings that may be anomalies
    split   share of the time that is trained on; the rest is measured on
    Raises  as `read_readings`, `cut_span`, `make_forecast`, `write_version`
    """
    conditions_of(pipeline)
    tell(f"features of {data.name} by pipeline {pipeline.name}")
    readings = read_readings(pipeline, data, fields, skip_bad=skip_bad)
    span = cut_span(readings, split)
    source = f"{data.name}, the first {split:.0%} of its time"
    made = make_forecast(readings, span, kinds, seed=seed, tell=tell, source=source, budget=budget)
    report = forecast_report(made, readings, span, seed)
    files = report_files(report, forecast_page(report))
    written = write_version(made.content, made.manifest, files, out, registry)
    return report | written
