"""Which model a command serves: the one that the settings name, else the pipeline's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stream_infer.errors import ConflictError

if TYPE_CHECKING:
    from stream_infer.features.plan import Plan
    from stream_infer.pipeline import Pipeline
    from stream_infer.registry.registry import Registry
    from stream_infer.scoring.model import Model
    from stream_infer.settings.loading import Settings


def model_to_serve(pipeline: Pipeline, settings: Settings) -> Model | Path | None:
    """Return the model of the settings, None where they name none.

    A folder is returned as it is; a file without a manifest is verified and loaded.
    Raises  what `adopt_model` raises
    """
    path = settings.model.path
    if path is None or not path.is_file():
        return path
    from stream_infer.models.adopt import adopt_model

    return adopt_model(path, pipeline, settings.thresholds(), settings.execution())


def model_or_ready(pipeline: Pipeline, settings: Settings) -> Model | Path | None:
    """Return the model that a worker of this pipeline serves; None for one without a model.

    Where the settings name a registry, that is its champion.
    Raises  what `adopt_model` and `version_finder` raise; NotFoundError when no model of that name
            ships
    """
    named = model_to_serve(pipeline, settings)
    if named is not None or pipeline.model is None:
        return named
    if settings.model.registry is not None:
        return version_finder(settings.model.registry, settings)(pipeline.model, "champion")
    from stream_infer.models.ready import ready_model_dir

    return ready_model_dir(pipeline.model)


def registry_to_serve(settings: Settings) -> Registry | None:
    """Return the registry that says which versions serve; None where a model is named by path.

    Raises  what `Registry.open` raises
    """
    if settings.model.registry is None or settings.model.path is not None:
        return None
    from stream_infer.registry.registry import Registry

    return Registry.open(settings.model.registry, create=False)


def version_finder(where: str, settings: Settings) -> Callable[[str, str], Model]:
    """Return what finds a version of a registry, by the model's name and a version or alias.

    Raises  what `Registry.open` raises; the finder, what resolving, copying and loading raise
    """
    from stream_infer.registry.registry import Registry
    from stream_infer.scoring.model import load_model

    registry = Registry.open(where, create=False)

    def find(name: str, reference: str) -> Model:
        with tempfile.TemporaryDirectory(prefix="stream-infer-model-") as folder:
            registry.copy_to(name, registry.resolve(name, reference), Path(folder))
            return load_model(folder, settings.execution())

    return find


def models_cache() -> Path:
    """Return the folder in which a worker keeps copies of the versions that it serves."""
    from stream_infer.broker.folders import cache_folder

    return cache_folder() / "models"


def judge_model(pipeline: Pipeline, plan: Plan, settings: Settings) -> tuple[str, None]:
    """Load the model as a worker does and score one event of zeros."""
    place = model_or_ready(pipeline, settings)
    if place is None:
        return "The pipeline declares no model: features are published, nothing is scored.", None
    import numpy as np

    from stream_infer.scoring.binding import bind_model, version_of
    from stream_infer.scoring.conditions import ConditionScorer

    scorer = bind_model(place, plan, settings.execution())
    zeros = np.zeros((1, len(plan.feature_names)))
    if isinstance(scorer, ConditionScorer):
        forecasts = scorer.judge(zeros).forecasts
        said = 0.0 if forecasts is None else float(forecasts.sum())
        what = "judged"
    else:
        said = 0.0 if scorer is None else float(scorer.score(zeros)[0])
        what = "scored"
    named = version_of(scorer)
    model = "The model" if named is None else f"{named[0]} version {named[1]}"
    if not np.isfinite(said):
        raise ConflictError(
            "model_score_not_finite",
            f"Model {model} answers an event of zeros with {said}.",
            "Export the model again, or serve another version.",
        )
    return f"{model} fits and {what} one event.", None
