"""Any version of a model on any labelled data: which pipeline it is of, its scores, its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.loading import built_in_pipelines, load_pipeline
from stream_infer.scoring.manifest import Manifest
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer
from stream_infer.training.contributions import reason_agreement
from stream_infer.training.days import DayRange, Protocol
from stream_infer.training.gathering import Gathered
from stream_infer.training.history import SCORE, SERVED, Scored
from stream_infer.training.report import figures_of, measured, page, reasons_of
from stream_infer.training.samples import NEVER, Samples, score_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is measured.

    test        days; None for all that there are
    train       days that the model was fitted on: frauds from then on are known; None for none
    delay_ms    how long a label takes
    keep_known  whether customers of known frauds stay among the rows
    """

    test: DayRange | None
    train: DayRange | None
    delay_ms: int
    keep_known: bool


def pipeline_of(manifest: Manifest) -> Pipeline:
    """Return the built-in pipeline whose features a model was made for.

    Raises  ConflictError ``pipeline_not_found``
    """
    for name in built_in_pipelines():
        pipeline = load_pipeline(name)
        plan = compile_plan(pipeline)
        if manifest.features_fingerprint in {plan.fingerprint, plan.meaning}:
            return pipeline
    raise ConflictError(
        "pipeline_not_found",
        f"The model {manifest.name} {manifest.version} was made for features of no built-in "
        "pipeline.",
        "Name its pipeline: --pipeline path/to/shop.py.",
        fingerprint=manifest.features_fingerprint,
    )


def chosen_rows(samples: Samples, question: Question) -> Samples:
    """Return the rows that are measured.

    Raises  InvalidDataError ``no_rows``, ``one_class``
    """
    days = samples.day
    test = question.test or DayRange(int(days.min(initial=0)), int(days.max(initial=-1)))
    train = question.train or DayRange(test.first, test.first)
    protocol = Protocol(train, test, question.delay_ms)
    keep = question.keep_known or question.train is None
    return score_rows(samples, protocol, "test", keep_known=keep)


def evaluate(
    model: Model, plan: Plan, gathered: Gathered, question: Question, booster: str | None = None
) -> dict[str, Any]:
    """Return everything that is measured of a model on rows.

    booster  LightGBM's text of the model's trees, where it is kept: then also how the reasons that
             alerts tell agree with what the trees say
    Raises  ConflictError ``features_differ``, ``features_fingerprint_differs``; as `chosen_rows`
    """
    scorer = Scorer(model, plan.feature_names, plan.fingerprint)
    rows = chosen_rows(gathered.samples, question)
    scores = scorer.score(rows.matrix)
    found = measured(scores, rows, scorer.thresholds)
    if booster is not None:
        found["reasons"] = reason_agreement(
            booster,
            plan.pipeline.alerts,
            plan.feature_names,
            rows.matrix,
            scores,
            scorer.score,
            scorer.thresholds.review,
        )
    return _named(model, plan) | {"data": gathered.facts()} | found


def evaluate_history(
    model: Model, plan: Plan, history: Scored, question: Question
) -> dict[str, Any]:
    """Return the same of a pipeline's own history, whose rows have their scores already.

    Raises  as `chosen_rows`
    """
    if not len(history.samples):
        raise InvalidDataError(
            "no_rows",
            "No event has a label, or is so old that a missing one means that it was genuine.",
            "Wait for labels, or say that they come sooner with --delay.",
        )
    rows = chosen_rows(history.samples, question)
    # Where a model gave no number a person looked: it has no place in an order by score.
    answered = np.isfinite(rows.matrix[:, SCORE])
    missing = len(rows) - int(answered.sum())
    rows = rows.take(answered)
    served = int(rows.matrix[:, SERVED].sum())
    every = history.samples
    data = {
        "rows": len(every),
        "positives": int(every.truth.sum()),
        "unlabelled": int((every.known_at == NEVER).sum()),
    }
    scores = {"served": served, "computed": len(rows) - served, "no_number": missing}
    found = measured(np.ascontiguousarray(rows.matrix[:, SCORE]), rows, model.thresholds)
    return _named(model, plan) | {"data": data | history.facts, "scores": scores} | found


def _named(model: Model, plan: Plan) -> dict[str, Any]:
    return {
        "model": model.name,
        "version": model.version,
        "sha256": model.manifest.sha256,
        "pipeline": plan.pipeline.name,
    }


def evaluation_page(said: dict[str, Any]) -> str:
    """Return what was measured as a page with pictures."""
    title = f"{said['model']} {said['version']}"
    if "rmse" in said:
        items = "".join(
            f"<li>{name}: RMSE {said['rmse'][name]}, MAE {said['mae'][name]}; last value: "
            f"{said['last_value_rmse'][name]}; {said['in_band'][name]:.0%} in the band</li>"
            for name in said["rmse"]
        )
        return page(title, [f"<h1>{title}</h1><ul>{items}</ul>"])
    rows = "".join(
        f"<li>{name.replace('_', ' ')}: {said[name]}</li>"
        for name in ("auc", "average_precision", "card_precision_100", "rows", "positives")
    )
    return page(
        title,
        [f"<h1>{title}</h1><ul>{rows}</ul>", *figures_of(said), *reasons_of(said.get("reasons"))],
    )
