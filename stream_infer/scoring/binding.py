"""Binds a model to a pipeline: whether it gives a probability, or speaks about conditions."""

from __future__ import annotations

from pathlib import Path

from stream_infer.features.plan import Plan
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer


def bind_model(model: Model | Path | str | None, plan: Plan) -> Scorer | ConditionScorer | None:
    """Return the model as the pipeline uses it: for a probability, or for conditions.

    model   a loaded model or its folder
    Raises  ConflictError for a model that does not fit the pipeline
    """
    if model is None:
        return None
    if plan.pipeline.conditions is not None:
        return ConditionScorer(plan, model)
    return Scorer(model, plan.feature_names, plan.fingerprint)


def version_of(scorer: Scorer | ConditionScorer | None) -> tuple[str, str] | None:
    """Return name and version of a scorer's model, None where no model scores."""
    if scorer is None or scorer.name is None or scorer.version is None:
        return None
    return scorer.name, scorer.version
