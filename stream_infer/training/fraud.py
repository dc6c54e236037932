"""``train fraud`` from files to a model's folder, its report, and a version in a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream_infer.features.plan import compile_plan
from stream_infer.pipeline import Pipeline
from stream_infer.training.contributions import BOOSTER_FILE, reason_agreement
from stream_infer.training.gathering import Source, gather
from stream_infer.training.making import Order, make_model, run_graph
from stream_infer.training.report import report_page, training_report
from stream_infer.training.search import Tell
from stream_infer.training.writing import report_files, write_version


def train_fraud(
    pipeline: Pipeline, source: Source, order: Order, out: Path, registry: str | None, tell: Tell
) -> dict[str, Any]:
    """Make a model, write it, and return what is said of it.

    out       folder that gets <name>/<version>
    registry  where the version is published, or None
    Raises    as `gather`, `make_model` and `write_version`
    """
    order.protocol.check()
    tell(f"features of {source.data.name} by pipeline {pipeline.name}")
    gathered = gather(pipeline, source)
    plan = compile_plan(pipeline)
    made = make_model(gathered.samples, plan, order, tell)
    report = training_report(made, order, plan.feature_names)
    report["data"] = gathered.facts() | {"file": source.data.name, "pipeline": pipeline.name}
    kept = {}
    if made.booster is not None:
        kept[BOOSTER_FILE] = made.booster.encode()
        half = "the boosted half of " if "blend" in report["kind"] else ""
        imitated = "the model that it imitates" if order.distil else "the model"
        report["reasons"] = {"trees_of": half + imitated} | reason_agreement(
            made.booster,
            pipeline.alerts,
            plan.feature_names,
            made.test.matrix,
            made.scores,
            lambda rows: run_graph(made.content, rows.astype(np.float32)),
            made.manifest.thresholds.review,
        )
    files = report_files(report, report_page(report)) | kept
    written = write_version(made.content, made.manifest, files, out, registry)
    return {name: report["test"][name] for name in made.figures} | report | written
