"""One pipeline in two versions of its declarations, each with a model that fits it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from stream_infer.features.plan import compile_plan
from stream_infer.features.spec import Feature, Max, Sum
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.manifest import Thresholds
from support.onnx_models import logistic_model, write_model
from support.pipelines import written

ADDED: tuple[Feature, ...] = (
    Sum(of="amount", by="customer_id", over=("14d",), name="CUSTOMER_ID_AMOUNT_14DAY_WINDOW"),
    Max(of="amount", by="terminal_id", over=("7d",), delay="7d", name="TERMINAL_ID_MAX_7DAY"),
)
_MORE = """\

from stream_infer.features.spec import Max, Sum

pipeline = dataclasses.replace(pipeline, features=(*pipeline.features, {features}))
"""


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of a pipeline: its declaration, its file and its model's folder."""

    pipeline: Pipeline
    file: Path
    model: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Words of the worker's command line."""
        return ("--publish-features", "--model", str(self.model))


def two_versions(pipeline: Pipeline, folder: Path) -> tuple[Version, Version]:
    """Return a pipeline and the same with further features of both its stages."""
    newer = dataclasses.replace(pipeline, features=(*pipeline.features, *ADDED))
    versions = []
    for name, each in (("old", pipeline), ("new", newer)):
        place = folder / name
        place.mkdir()
        file = written(pipeline, place)
        if each is newer:
            with file.open("a") as end:
                end.write(_MORE.format(features=", ".join(map(repr, ADDED))))
        versions.append(Version(each, file, _model(each, place / "model", name)))
    return versions[0], versions[1]


def _model(pipeline: Pipeline, folder: Path, version: str) -> Path:
    """Write a model that declines large payments."""
    plan = compile_plan(pipeline)
    names = plan.feature_names
    weights = np.zeros((len(names), 1), np.float32)
    weights[names.index("TX_AMOUNT")] = 0.01
    return write_model(
        folder,
        logistic_model(weights=weights),
        name="fraud",
        version=version,
        features=names,
        features_fingerprint=plan.fingerprint,
        thresholds=Thresholds(review=0.75, decline=0.8),
    )
