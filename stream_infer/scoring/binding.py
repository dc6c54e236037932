"""Binds a model to a pipeline: whether it gives a probability, or speaks about conditions."""

from __future__ import annotations

from pathlib import Path

from stream_infer.features.plan import Plan
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.model import Model, load_model, warm_up
from stream_infer.scoring.session import Scorer


def bind_model(
    model: Model | Path | str | None, plan: Plan, execution: Execution = ON_CPU
) -> Scorer | ConditionScorer | None:
    """Return the model as the pipeline uses it: for a probability, or for conditions.

    model      a loaded model or its folder
    execution  where one that is to be loaded runs; then it is warmed up, too
    Raises     ConflictError for a model that does not fit the pipeline; what `load_model` raises
    """
    if model is None:
        return None
    if not isinstance(model, Model):
        model = load_model(model, execution)
        warm_up(model)
    if plan.pipeline.conditions is not None:
        return ConditionScorer(plan, model)
    return Scorer(model, plan.feature_names, plan.fingerprint)


def version_of(scorer: Scorer | ConditionScorer | None) -> tuple[str, str] | None:
    """Return name and version of a scorer's model, None where no model scores."""
    if scorer is None or scorer.name is None or scorer.version is None:
        return None
    return scorer.name, scorer.version
