"""The recommended candidate as a model's folder, and as a registry's challenger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from stream_infer.optimizing.measuring import scorer_of
from stream_infer.optimizing.optimising import Candidate, Measured, Optimised
from stream_infer.registry.entry import CHALLENGER
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import Manifest
from stream_infer.scoring.reference import Calibration, describe_rows
from stream_infer.training.writing import report_files, write_version

REPORT = "optimize"
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
    Raises    as `write_version` and `Registry.assign`
    """
    candidate = made.chosen
    if candidate is None or candidate.measured is None:
        return {}
    measured = candidate.measured
    content = measured.draft.content
    manifest = manifest_of(made, candidate, measured, original)
    files = report_files(report, page, REPORT)
    said = write_version(content, manifest, files, out, registry)
    if registry is not None:
        reasons = "; ".join(candidate.verdict.reasons)
        why = f"{candidate.recipe.name} of {original.version}: {reasons}"
        registry.assign(manifest.name, CHALLENGER, said["published"]["version"], why=why)
        said["published"]["alias"] = CHALLENGER
    return said
