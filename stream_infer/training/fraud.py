"""``train fraud`` from files to a model's folder, its report, and a version in a registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stream_infer.features.plan import compile_plan
from stream_infer.models.writing import write_model
from stream_infer.pipeline import Pipeline
from stream_infer.registry.registry import Registry
from stream_infer.training.gathering import Source, gather
from stream_infer.training.making import Made, Order, make_model
from stream_infer.training.report import report_page, training_report
from stream_infer.training.search import Tell

REPORT_PAGE = "report.html"
REPORT_JSON = "report.json"


def train_fraud(
    pipeline: Pipeline, source: Source, order: Order, out: Path, registry: str | None, tell: Tell
) -> dict[str, Any]:
    """Make a model, write it, and return what is said of it.

    out       folder that gets <name>/<version>
    registry  where the version is published, or None
    Raises    as `gather`, `make_model`, `write_model` and `Registry.publish_next`
    """
    order.protocol.check()
    tell(f"features of {source.data.name} by pipeline {pipeline.name}")
    gathered = gather(pipeline, source)
    plan = compile_plan(pipeline)
    made = make_model(gathered.samples, plan, order, tell)
    report = training_report(made, order, plan.feature_names)
    report["data"] = gathered.facts() | {"file": source.data.name, "pipeline": pipeline.name}
    folder = out / made.manifest.name / made.manifest.version
    write_model(folder, made.content, made.manifest)
    (folder / REPORT_JSON).write_text(json.dumps(report, indent=1) + "\n")
    (folder / REPORT_PAGE).write_text(report_page(report))
    figures = {name: report["test"][name] for name in made.figures}
    said = figures | report | {"folder": str(folder)}
    if registry is not None:
        said["published"] = _publish(made, folder, registry)
    return said


def _publish(made: Made, folder: Path, where: str) -> dict[str, str]:
    """Publish under the next number; return where it went."""
    registry = Registry.open(where, create=True)
    reports = {name: (folder / name).read_bytes() for name in (REPORT_PAGE, REPORT_JSON)}
    published = registry.publish_next(made.content, made.manifest, reports)
    return {"registry": registry.place, "version": published.manifest.version}
