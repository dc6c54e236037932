"""What is known of a model's versions in this worker, as plain values for metrics and health."""

from __future__ import annotations

import math
from typing import Any

from stream_infer.guarding.guard import Guard
from stream_infer.guarding.trials import TrialKeeper
from stream_infer.guardrails.stability import EFFECT_MAX
from stream_infer.observability.facts import DriftFacts, ModelFacts, TrialFacts
from stream_infer.serving.live import LiveModel
from stream_infer.serving.router import Router


def model_facts(live: LiveModel[Any], guard: Guard | None) -> ModelFacts:
    """Return the facts; called on the event loop, once a second."""
    holder = live.router
    return ModelFacts(
        serves=dict(holder.versions()),
        number=holder.number,
        failures={alias: error.code for alias, error in live.failures().items()},
        fast=isinstance(holder, Router) and holder.falls_to_fast,
        decides=guard is not None and guard.decides,
        drift=() if guard is None else _drift(guard),
        trial=None if guard is None or guard.trial is None else trial_facts(guard.trial),
    )


def _drift(guard: Guard) -> tuple[DriftFacts, ...]:
    watch = guard.drift
    return tuple(
        DriftFacts(
            feature=name,
            version=watch.version,
            index=each.index,
            bound=each.by_chance + EFFECT_MAX,
        )
        for name, each in watch.found.items()
        if math.isfinite(each.by_chance)
    )


def trial_facts(keeper: TrialKeeper) -> TrialFacts | None:
    """Return how a trial stands; None where there is none."""
    if keeper.tried is None or keeper.state is None:
        return None
    trial, enough = keeper.state.trial, -math.log(keeper.rules.alpha)
    return TrialFacts(
        champion=keeper.tried.champion,
        challenger=keeper.tried.challenger,
        labels=trial.steps,
        gain=trial.mean,
        promote=max(0.0, trial.best_better / enough),
        reject=max(0.0, trial.best_worse / enough),
        followed=keeper.followed,
    )
