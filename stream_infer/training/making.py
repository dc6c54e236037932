"""A model from samples: chosen on folds, calibrated, fitted, exported, compared, measured.

The test days are looked at once, by the finished model. Everything that is chosen (kind,
settings, calibration, thresholds) is chosen on folds that end with the last training day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import UsageError
from stream_infer.features.plan import Plan
from stream_infer.models.writing import describe_model
from stream_infer.scoring.manifest import Manifest, Thresholds, Training
from stream_infer.scoring.model import open_session
from stream_infer.scoring.reference import Calibration as CalibrationFacts
from stream_infer.scoring.reference import describe_rows
from stream_infer.training.averaging import distil_mean
from stream_infer.training.calibration import LOG_ODDS, Calibration, fit_calibration
from stream_infer.training.candidates import (
    DECLARED,
    RISING_KINDS,
    Blend,
    Boosted,
    Fitted,
    Network,
    Settings,
    fit_candidate,
)
from stream_infer.training.days import DAY_MS, Protocol, validation_folds
from stream_infer.training.distilling import distil
from stream_infer.training.figures import calibration_figures, measure
from stream_infer.training.graphs import INPUT, OUTPUT, Part, finished
from stream_infer.training.parity import DIFFERENCE_MAX, Parity, check_parity
from stream_infer.training.samples import Samples, fit_rows, score_rows
from stream_infer.training.search import Fold, Means, Tell, Tried, cut_folds, search
from stream_infer.training.thresholds import Aim

TREE_ROW_CHUNK = 256
NETWORK_ROW_CHUNK = 1_024
NETWORK_DIFFERENCE_MAX = 5e-5
"""Sums of some fifty products in float32 and in float64 part by up to 1e-5; trees by 4e-7."""
VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made.

    protocol    days to fit and to measure on
    kinds       which kinds of model are tried
    aim         what the thresholds keep
    seed        of every learner
    threads     for learners whose result does not depend on it
    distil      whether a small network that imitates the chosen model is what is written
    networks    of which that network is the mean; see `distil` for one, `distil_mean` for more
    rising      features of which more never lowers the score; a network that imitates such a model
                (`distil`) does nearly so, and promises nothing
    keep_known  whether customers of known frauds stay among the rows that are measured on
    source      one sentence: which data
    """

    protocol: Protocol
    kinds: Sequence[str] = tuple(DECLARED)
    aim: Aim = field(default_factory=Aim)
    seed: int = 0
    threads: int = 1
    distil: bool = False
    networks: int = 1
    rising: Sequence[str] = ()
    keep_known: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A finished model, with what its report is made of.

    content, manifest  what is written
    tried              the search, the best first
    folds              days and rows of the validation
    parity             graph against model
    fit, test          rows
    scores             (m,) float32 of the test rows, by the graph
    figures            of the test rows
    calibrated         how far the test scores are from probabilities
    teacher            figures of the model that was imitated, None without one
    booster            LightGBM's text of the boosted trees of the model, or of the one that it
                       imitates; of a blend, those of its boosted half; None where it has none
    """

    content: bytes
    manifest: Manifest
    tried: Sequence[Tried]
    folds: Sequence[Fold]
    parity: Parity
    fit: Samples
    test: Samples
    scores: NDArray[np.float32]
    figures: dict[str, float]
    calibrated: dict[str, float]
    teacher: dict[str, float] | None
    booster: str | None


def make_model(samples: Samples, plan: Plan, order: Order, tell: Tell) -> Made:
    """Search, fit, calibrate, export, compare and measure.

    Raises  UsageError ``test_before_labels``, ``feature_unknown``, ``kind_not_rising``;
            InvalidDataError ``no_rows``, ``one_class``,
            ``no_folds``; GateFailedError ``export_differs``, ``not_convertible``
    """
    protocol = order.protocol
    protocol.check()
    until = protocol.test.first * DAY_MS
    fit = fit_rows(samples, protocol.train, until, "training")
    test = score_rows(samples, protocol, "test", keep_known=order.keep_known)
    first_day = int(samples.day.min())
    folds = cut_folds(samples, validation_folds(protocol, first_day), keep_known=order.keep_known)
    means = _means(order, plan.feature_names)
    tried = search(folds, order.kinds, means, tell)
    best = tried[0]
    tell(f"fitting {best.kind} on {len(fit):,} rows")
    model = fit_candidate(best.kind, best.settings, fit, means.seed, means.threads, means.rising)
    validation = _together(folds)
    calibration = fit_calibration(best.answers, validation.truth)
    thresholds = order.aim.choose(calibration.apply(best.answers).astype(np.float32), validation)
    teacher = None
    boosted = model.boosted if isinstance(model, Blend) else model
    booster = boosted.booster.model_to_string() if isinstance(boosted, Boosted) else None
    if order.distil:
        tell("distilling")
        teacher = measure(calibration.apply(model.answer(test.matrix)), test)
        model = _imitation(model, calibration, _pool(samples, protocol), order)
        calibration = LOG_ODDS
    tell("comparing graph and model")
    content, parity = _export(model, calibration, fit, thresholds)
    scores = run_graph(content, test.matrix)
    figures = measure(scores, test)
    calibrated = calibration_figures(scores, test)
    manifest = _describe(
        content, plan, order, best, thresholds, fit, folds, figures, calibrated, model
    )
    return Made(
        content,
        manifest,
        tried,
        folds,
        parity,
        fit,
        test,
        scores,
        figures,
        calibrated,
        teacher,
        booster,
    )


def _means(order: Order, names: Sequence[str]) -> Means:
    """Return how models are fitted; refuse what cannot keep the promise of `rising`."""
    unknown = [name for name in order.rising if name not in names]
    if unknown:
        raise UsageError(
            "feature_unknown",
            f"The pipeline has no feature {unknown[0]!r}.",
            f"Name some of: {', '.join(names)}.",
            feature=unknown[0],
        )
    kinds = [kind for kind in order.kinds if kind not in RISING_KINDS]
    if order.rising and kinds:
        raise UsageError(
            "kind_not_rising",
            f"Models of kind {kinds[0]!r} cannot promise that a score only rises with a feature.",
            f"Use --kinds {','.join(RISING_KINDS)} with --rising.",
        )
    return Means(order.seed, order.threads, [names.index(name) for name in order.rising])


def _together(folds: Sequence[Fold]) -> Samples:
    parts = [fold.validate for fold in folds]
    return Samples(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Samples.__slots__)
    )


def _imitation(model: Fitted, calibration: Calibration, pool: Samples, order: Order) -> Network:
    if order.networks == 1:
        return distil(model, calibration, pool, seed=order.seed)
    return distil_mean(model, calibration, pool, count=order.networks, seed=order.seed)


POOL_DAYS = 56


def _pool(samples: Samples, protocol: Protocol) -> Samples:
    """Return the rows on which a model is imitated: all before the test, whatever their truth."""
    day = samples.day
    return samples.take((day >= protocol.train.first - POOL_DAYS) & (day < protocol.test.first))


def _export(
    model: Fitted, calibration: Calibration, fit: Samples, thresholds: Thresholds
) -> tuple[bytes, Parity]:
    """Return the graph, compared with the model on the rows it was fitted on."""
    part = calibration.add_to(model.add_to(Part()))
    content = finished(part.then("Sigmoid", name=OUTPUT), fit.matrix.shape[1])

    def answer(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return calibration.apply(model.answer(rows))

    limit = DIFFERENCE_MAX if model.trees else NETWORK_DIFFERENCE_MAX
    found = check_parity(content, answer, model.trees, fit.matrix, thresholds, difference_max=limit)
    return content, found


def run_graph(
    content: bytes, matrix: NDArray[np.float32], rows: int = 4_096
) -> NDArray[np.float32]:
    """Return the graph's probabilities, (n,) float32."""
    session = open_session(content)
    parts = [
        session.run([OUTPUT], {INPUT: matrix[start : start + rows]})[0][:, 0]
        for start in range(0, len(matrix), rows)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _describe(
    content: bytes,
    plan: Plan,
    order: Order,
    best: Tried,
    thresholds: Thresholds,
    fit: Samples,
    folds: Sequence[Fold],
    figures: dict[str, float],
    calibrated: dict[str, float],
    model: Fitted,
) -> Manifest:
    name = plan.pipeline.model or plan.pipeline.name
    manifest = describe_model(
        content,
        name=name,
        version="new",
        features=plan.feature_names,
        fingerprint=plan.fingerprint,
        thresholds=thresholds,
        row_chunk=TREE_ROW_CHUNK if model.trees else NETWORK_ROW_CHUNK,
        training=Training(
            source=order.source,
            digest=fit.digest,
            rows=len(fit),
            positives=int(fit.truth.sum()),
            seed=order.seed,
        ),
        metrics=figures,
    )
    validation = _together(folds)
    scores = run_graph(content, validation.matrix)
    return msgspec.structs.replace(
        manifest,
        version=manifest.sha256[:VERSION_DIGITS],
        calibration=CalibrationFacts(
            method="imitated" if order.distil else "piecewise",
            expected_error=calibrated["calibration_error"],
            brier=calibrated["brier"],
        ),
        reference=describe_rows(
            plan.feature_names, validation.matrix, scores, review=thresholds.review
        ),
        protocol={key: str(value) for key, value in order.protocol.facts().items()}
        | {
            "chosen_on": ", ".join(
                f"{fold.protocol.train} then {fold.protocol.test}" for fold in folds
            ),
            "kind": _kind_text(order, best.kind),
            "settings": _settings_text(best.settings),
            "thresholds": order.aim.words(),
        },
        made_with={each: version(each) for each in ("lightgbm", "numpy", "onnx", "scikit-learn")},
    )


def _kind_text(order: Order, found: str) -> str:
    if not order.distil:
        return found
    mean = f"mean of {order.networks} " if order.networks > 1 else ""
    return f"{mean}mlp imitating {found}"


def _settings_text(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
