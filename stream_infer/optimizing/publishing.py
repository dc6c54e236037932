"""The recommended candidate as a model's folder, and as a registry's challenger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from stream_infer.models.writing import write_model
from stream_infer.optimizing.measuring import scorer_of
from stream_infer.optimizing.optimising import Candidate, Measured, Optimised
from stream_infer.registry.entry import CHALLENGER
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import Manifest
from stream_infer.scoring.reference import Calibration, describe_rows

REPORT_PAGE = "optimize.html"
REPORT_JSON = "optimize.json"
MADE_WITH = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn")


def manifest_of(
    made: Optimised, candidate: Candidate, measured: Measured, original: Manifest
) -> Manifest:
    """Return the manifest of a candidate: features are the original's."""
    rows = made.validation.samples.matrix
    scores = scorer_of(measured.draft.content, measured.manifest).score(rows)
    calibrated = measured.test.calibrated
    return msgspec.structs.replace(
        measured.manifest,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        parent=original.version,
        metrics=measured.test.figures
        | {
            "average_precision_lost": round(measured.test.drop.value, 4),
            "right_alerts_lost_share": round(measured.test.flips.right_lost_share, 4),
            "flips_share": round(measured.test.flips.share, 4),
        },
        calibration=Calibration(
            method="imitated",
            expected_error=calibrated["calibration_error"],
            brier=calibrated["brier"],
        ),
        reference=describe_rows(
            original.features, rows, scores, review=measured.manifest.thresholds.review
        ),
        protocol=original.protocol
        | {
            "made_of": f"{original.name} {original.version}",
            "made_by": f"{candidate.recipe.name}: {candidate.recipe.how}",
            "adopted_on": made.validation.days,
            "seed": str(made.request.seed),
        },
        made_with=original.made_with | {name: version(name) for name in MADE_WITH},
    )


def write_chosen(
    made: Optimised,
    original: Manifest,
    report: Mapping[str, Any],
    page: str,
    out: Path,
    registry: Registry | None,
) -> dict[str, Any]:
    """Write the recommended candidate to ``<out>/<name>/<version>``; publish it where asked.

    registry  where it becomes a version and the challenger, or None
    Returns   where it is; nothing where no candidate is recommended
    Raises    as `write_model`, `Registry.publish_next` and `Registry.assign`
    """
    candidate = made.chosen
    if candidate is None or candidate.measured is None:
        return {}
    measured = candidate.measured
    content = measured.draft.content
    manifest = manifest_of(made, candidate, measured, original)
    folder = out / manifest.name / manifest.version
    write_model(folder, content, manifest)
    files = {
        REPORT_JSON: (json.dumps(report, indent=1) + "\n").encode(),
        REPORT_PAGE: page.encode(),
    }
    for name, file in files.items():
        (folder / name).write_bytes(file)
    said: dict[str, Any] = {"folder": str(folder)}
    if registry is None:
        return said
    published = registry.publish_next(content, manifest, files)
    number = published.manifest.version
    reasons = "; ".join(candidate.verdict.reasons)
    why = f"{candidate.recipe.name} of {original.version}: {reasons}"
    registry.assign(manifest.name, CHALLENGER, number, why=why)
    return said | {
        "published": {"registry": registry.place, "version": number, "alias": CHALLENGER}
    }
