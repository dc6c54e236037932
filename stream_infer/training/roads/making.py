"""A forecasting model from readings: settings by the last days of the training, then the test.

What is forecast is the residual on the last value: the change of the measure, as a share of the
sensor's scale, at each horizon by a model of its own. Rows of the test are looked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.errors import GateFailedError, InvalidDataError
from stream_infer.models.export import INPUT
from stream_infer.models.forecasting import OUTPUT
from stream_infer.models.traffic import NOT_INPUTS
from stream_infer.models.writing import describe_model
from stream_infer.scoring.conditions import output_names
from stream_infer.scoring.manifest import Manifest, Thresholds, Training
from stream_infer.scoring.model import open_session
from stream_infer.scoring.reference import describe_rows
from stream_infer.training.making import VERSION_DIGITS
from stream_infer.training.roads.forecasters import (
    DECLARED,
    Bands,
    Regressor,
    Settings,
    answers,
    fit_bands,
    fit_regressor,
    predict,
    to_onnx,
)
from stream_infer.training.roads.readings import Readings, changes
from stream_infer.training.samples import Samples
from stream_infer.training.search import Tell

STEP_MS = 300_000
"""Errors are taken at each five minutes up to a horizon, as published ones are."""
WARM_MS = 86_400_000
"""The first day is not fitted on: no usual day is known."""
VALIDATED = 0.2
"""Of the time that is trained on: its last part, on which settings and bands are chosen."""
DIFFERENCE_MAX = 1e-4
ANOMALIES_MAX = (0.0005, 0.00005)
"""Shares of the readings that may be anomalies, and severe ones."""
ROW_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When rows serve for what, ms: those fitted on from `first` to `split`, then the test."""

    first: int
    split: int
    last: int

    @property
    def validated(self) -> int:
        """When the part of the training begins that settings are chosen on."""
        return self.split - int(VALIDATED * (self.split - self.first))


@dataclass(frozen=True, slots=True)
class MadeForecast:
    """A finished model, with what its report is made of.

    steps    ms ahead that errors were taken at
    tried    settings with their error on the validation part
    rows     (m,) int64, the readings that were measured on
    errors   (m, steps) float64, forecast less outcome in the sensor's own unit; NaN where unknown
    still    the same for saying that nothing changes
    """

    content: bytes
    manifest: Manifest
    steps: Sequence[int]
    tried: Sequence[dict[str, Any]]
    rows: NDArray[np.int64]
    errors: NDArray[np.float64]
    still: NDArray[np.float64]
    in_band: dict[str, float]
    difference: float


def cut_span(readings: Readings, share: float, until_ms: int | None = None) -> Span:
    """Return the span whose training is a share of the time that the readings cover.

    until_ms  where the training ends instead
    Raises    InvalidDataError ``too_short``
    """
    first, last = int(readings.time[0]), int(readings.time[-1])
    split = int(first + share * (last - first)) if until_ms is None else until_ms
    if split - first < 2 * WARM_MS or last - split < 3_600_000:
        raise InvalidDataError(
            "too_short",
            f"The readings leave {(split - first) / WARM_MS:.1f} days to train on and "
            f"{(last - split) / 3_600_000:.1f} hours to measure on.",
            "Give a file of three days or more, and split it later than two days in.",
        )
    return Span(first=first, split=split, last=last)


def make_forecast(
    readings: Readings, span: Span, *, seed: int, tell: Tell, source: str
) -> MadeForecast:
    """Choose settings, fit each step, export the served horizons, compare and measure.

    Raises  GateFailedError ``export_differs``; InvalidDataError ``no_rows``
    """
    served = [parse_duration(horizon) for horizon in readings.conditions.horizons]
    steps = sorted({*range(STEP_MS, max(served) + 1, STEP_MS), *served})
    names = readings.plan.feature_names
    columns = np.array([at for at, name in enumerate(names) if name not in NOT_INPUTS], np.int64)
    outcomes = changes(readings, steps)
    settings, tried = _choose(readings, outcomes, steps, served, columns, span, seed, tell)
    fit = _rows(readings, span.first + WARM_MS, span.split - max(steps))
    values = []
    for at, step in enumerate(steps):
        tell(f"fitting {step // 60_000} minutes, {at + 1} of {len(steps)}")
        values.append(
            fit_regressor(readings.matrix[fit], outcomes[fit, at], columns, settings, seed)
        )
    bands = _bands(readings, outcomes, steps, served, columns, settings, span, seed)
    chosen = [values[steps.index(each)] for each in served]
    content = to_onnx(chosen, bands, readings.matrix.shape[1])
    # An hour in, as published figures have it: their models look at twelve readings.
    test = _rows(readings, span.split + max(served) - STEP_MS, span.last + 1)
    if not len(test):
        raise InvalidDataError("no_rows", "No reading is left to measure on.", "Split earlier.")
    difference = _compare(content, chosen, bands, readings.matrix[test], columns)
    errors, still = _errors(readings, outcomes, values, columns, test)
    inside = _inside(readings, content, outcomes, steps, served, test)
    manifest = _describe(content, readings, settings, fit, span, seed, source)
    figures = flat(by_horizon(errors, steps, served))
    manifest = msgspec.structs.replace(manifest, metrics=figures)
    return MadeForecast(content, manifest, steps, tried, test, errors, still, inside, difference)


def _rows(readings: Readings, first_ms: int, until_ms: int) -> NDArray[np.int64]:
    """Return readings of a time with a value: those at its end are not in it."""
    inside = (readings.time >= first_ms) & (readings.time < until_ms)
    known = np.isfinite(readings.share) & np.isfinite(readings.base)
    return np.flatnonzero(inside & known)


def _choose(
    readings: Readings,
    outcomes: NDArray[np.float64],
    steps: Sequence[int],
    served: Sequence[int],
    columns: NDArray[np.int64],
    span: Span,
    seed: int,
    tell: Tell,
) -> tuple[Settings, list[dict[str, Any]]]:
    """Return the settings with the least error at the served horizons, and all that were tried."""
    fit = _rows(readings, span.first + WARM_MS, span.validated - max(steps))
    validate = _rows(readings, span.validated, span.split - max(steps))
    tried = []
    for number, settings in enumerate(DECLARED):
        tell(f"{number + 1} of {len(DECLARED)}: trees {dict(settings)}")
        missed = []
        for step in (served[0], served[-1]):
            at = steps.index(step)
            model = fit_regressor(readings.matrix[fit], outcomes[fit, at], columns, settings, seed)
            said = predict(model, readings.matrix[validate], columns)
            missed.append(float(np.sqrt(np.nanmean((said - outcomes[validate, at]) ** 2))))
        tried.append({"settings": dict(settings), "validation_rmse": [round(m, 5) for m in missed]})
    # Relative to the best at each horizon: the far one would outweigh the near one.
    all_missed = np.array([each["validation_rmse"] for each in tried])
    best = int((all_missed / all_missed.min(axis=0)).mean(axis=1).argmin())
    return DECLARED[best], tried


def _bands(
    readings: Readings,
    outcomes: NDArray[np.float64],
    steps: Sequence[int],
    served: Sequence[int],
    columns: NDArray[np.int64],
    settings: Settings,
    span: Span,
    seed: int,
) -> Bands:
    """Return bands from models that have not seen the last part of the training."""
    fit = _rows(readings, span.first + WARM_MS, span.validated - max(steps))
    validate = _rows(readings, span.validated, span.split - max(steps))
    matrix = readings.matrix
    missed = []
    for step in served:
        at = steps.index(step)
        model = fit_regressor(matrix[fit], outcomes[fit, at], columns, settings, seed)
        missed.append(outcomes[validate, at] - predict(model, matrix[validate], columns))
    return fit_bands(matrix[validate], np.stack(missed, axis=1), columns, seed)


def _compare(
    content: bytes,
    values: Sequence[Regressor],
    bands: Bands,
    matrix: NDArray[np.float32],
    columns: NDArray[np.int64],
) -> float:
    """Return the largest difference between graph and learners."""
    some = matrix[:: max(1, len(matrix) // 20_000)]
    said = open_session(content).run([OUTPUT], {INPUT: some})[0]
    difference = float(np.abs(said - answers(values, bands, some, columns)).max(initial=0.0))
    if not difference <= DIFFERENCE_MAX:
        raise GateFailedError(
            "export_differs",
            f"The exported graph differs by up to {difference:g} from the trees it came from.",
            "Do not serve it: report the case with the model's parameters.",
            difference=difference,
        )
    return difference


def _errors(
    readings: Readings,
    outcomes: NDArray[np.float64],
    values: Sequence[Regressor],
    columns: NDArray[np.int64],
    test: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return errors in the sensors' own unit: of the model, and of saying that nothing changes."""
    unit = (readings.scale / readings.factor)[test, None]
    said = np.stack([predict(each, readings.matrix[test], columns) for each in values], axis=1)
    return (said - outcomes[test]) * unit, -outcomes[test] * unit


def _inside(
    readings: Readings,
    content: bytes,
    outcomes: NDArray[np.float64],
    steps: Sequence[int],
    served: Sequence[int],
    test: NDArray[np.int64],
) -> dict[str, float]:
    """Return the share of outcomes within the band of each served horizon, by the graph."""
    session = open_session(content)
    inside = {}
    said = np.concatenate(
        [
            session.run([OUTPUT], {INPUT: readings.matrix[part]})[0]
            for part in np.array_split(test, max(1, len(test) // 4_096))
        ]
    )
    for at, step in enumerate(served):
        outcome = outcomes[test, steps.index(step)]
        known = np.isfinite(outcome)
        within = (outcome >= said[:, 3 * at + 1]) & (outcome <= said[:, 3 * at + 2])
        inside[f"{step // 60_000}m"] = round(float(within[known].mean()), 4)
    return inside


def by_horizon(
    errors: NDArray[np.float64], steps: Sequence[int], served: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Return root mean square and mean absolute error over all steps up to each horizon.

    Of the readings whose outcomes up to that horizon are all known.
    """
    said: dict[str, dict[str, float]] = {"rmse": {}, "mae": {}}
    for horizon in served:
        upto = errors[:, [at for at, step in enumerate(steps) if step <= horizon]]
        upto = upto[np.isfinite(upto).all(axis=1)]
        name = f"{horizon // 60_000}m"
        said["rmse"][name] = round(float(np.sqrt((upto**2).mean())), 4)
        said["mae"][name] = round(float(np.abs(upto).mean()), 4)
    return said


def flat(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the figures as a manifest holds them: ``rmse_15m`` and so on."""
    return {
        f"{kind}_{name}": value for kind, each in figures.items() for name, value in each.items()
    }


def _describe(
    content: bytes,
    readings: Readings,
    settings: Settings,
    fit: NDArray[np.int64],
    span: Span,
    seed: int,
    source: str,
) -> Manifest:
    plan = readings.plan
    anomaly = readings.matrix[fit, plan.feature_names.index(readings.conditions.anomaly)]
    review, decline = (
        min(1.0, float(np.ceil(np.quantile(anomaly, 1 - share) * 1e4) / 1e4))
        for share in ANOMALIES_MAX
    )
    rows = Samples(readings.matrix[fit], np.zeros(len(fit), np.bool_), fit, fit, fit)
    manifest = describe_model(
        content,
        name=plan.pipeline.model or plan.pipeline.name,
        version="new",
        features=plan.feature_names,
        fingerprint=plan.meaning,
        thresholds=Thresholds(review=review, decline=max(review, decline)),
        row_chunk=ROW_CHUNK,
        training=Training(source=source, digest=rows.digest, rows=len(fit), positives=0, seed=seed),
        metrics={},
        outputs=output_names(readings.conditions),
    )
    return msgspec.structs.replace(
        manifest,
        version=manifest.sha256[:VERSION_DIGITS],
        reference=describe_rows(plan.feature_names, readings.matrix[fit]),
        protocol={
            "split_ms": str(span.split),
            "chosen_on": f"the last {VALIDATED:.0%} of the training",
            "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
        },
        made_with={each: version(each) for each in ("lightgbm", "numpy", "onnx")},
    )
