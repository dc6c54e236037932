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
from stream_infer.models.writing import describe_model
from stream_infer.scoring.conditions import output_names
from stream_infer.scoring.manifest import Manifest, Thresholds, Training
from stream_infer.scoring.model import open_session
from stream_infer.scoring.reference import describe_rows
from stream_infer.training.graphs import INPUT
from stream_infer.training.making import VERSION_DIGITS
from stream_infer.training.roads.forecasters import (
    DECLARED,
    OUTPUT,
    Bands,
    Forecaster,
    Settings,
    answers,
    fit_bands,
    fit_forecaster,
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
ANOMALIES_MAX = 0.0005
"""Share of the readings that may be anomalies; a tenth of them may be severe ones."""
ROW_CHUNK = {"trees": 256, "network": 1_024}
"""Kind -> rows a call of ONNX Runtime. Of a network 64 cost 0.60 µs a row, 256 0.45, 1,024 0.40."""
NOT_INPUTS = ("level_of_service", "anomaly", "scale", "speed_now", "usual", "stuck_readings")
"""What a forecaster is not given: what may be NaN, what says nothing about what comes, and what
other inputs say already."""


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
    readings: Readings,
    span: Span,
    kinds: Sequence[str],
    *,
    seed: int,
    tell: Tell,
    source: str,
    budget: float = ANOMALIES_MAX,
) -> MadeForecast:
    """Choose kind and settings, fit each step, export the served horizons, compare and measure.

    budget  share of the readings that may be anomalies
    Raises  GateFailedError ``export_differs``; InvalidDataError ``no_rows``
    """
    served = [parse_duration(horizon) for horizon in readings.conditions.horizons]
    steps = sorted({*range(STEP_MS, max(served) + 1, STEP_MS), *served})
    outputs = [steps.index(each) for each in served]
    names = readings.plan.feature_names
    columns = np.array([at for at, name in enumerate(names) if name not in NOT_INPUTS], np.int64)
    work = _Work(readings, span, changes(readings, steps), max(steps), columns, seed)
    kind, settings, tried = _choose(work, kinds, [outputs[0], outputs[-1]], tell)
    tell(f"fitting {kind} for {len(steps)} steps")
    fit = work.rows(span.first + WARM_MS, span.split - max(steps))
    forecaster = work.fitted(kind, settings, fit, range(len(steps)))
    tell("fitting the band")
    bands = _bands(work, kind, settings, outputs)
    content = to_onnx(forecaster, bands, outputs, readings.matrix.shape[1])
    # An hour in, as published figures have it: their models look at twelve readings.
    test = work.rows(span.split + max(served) - STEP_MS, span.last + 1)
    if not len(test):
        raise InvalidDataError("no_rows", "No reading is left to measure on.", "Split earlier.")
    matrix = readings.matrix[test]
    difference = _compare(content, forecaster, bands, outputs, matrix)
    unit = (readings.scale / readings.factor)[test, None]
    errors = (forecaster.say(matrix) - work.outcomes[test]) * unit
    still = -work.outcomes[test] * unit
    inside = _inside(content, matrix, work.outcomes[test][:, outputs], served)
    manifest = _describe(content, readings, kind, settings, fit, span, seed, source, budget)
    figures = flat(by_horizon(errors, steps, served)) | flat({"in_band": inside})
    last = flat(by_horizon(still, steps, served))
    figures |= {f"last_{name}": value for name, value in last.items()}
    manifest = msgspec.structs.replace(manifest, metrics=figures)
    return MadeForecast(content, manifest, steps, tried, test, errors, still, inside, difference)


@dataclass(frozen=True, slots=True)
class _Work:
    """What models are fitted on.

    outcomes    (n, steps) float64, change of the share at each step; NaN where unknown
    longest_ms  the last step: rows so close to an end have outcomes behind it
    columns     (k,) int64, the inputs
    """

    readings: Readings
    span: Span
    outcomes: NDArray[np.float64]
    longest_ms: int
    columns: NDArray[np.int64]
    seed: int

    def rows(self, first_ms: int, until_ms: int) -> NDArray[np.int64]:
        """Return readings of a time with a value: those at its end are not in it."""
        readings = self.readings
        inside = (readings.time >= first_ms) & (readings.time < until_ms)
        known = np.isfinite(readings.share) & np.isfinite(readings.base)
        return np.flatnonzero(inside & known)

    @property
    def early(self) -> NDArray[np.int64]:
        """Readings of the training before its last part."""
        return self.rows(self.span.first + WARM_MS, self.span.validated - self.longest_ms)

    @property
    def validated(self) -> NDArray[np.int64]:
        """Readings of the last part of the training."""
        return self.rows(self.span.validated, self.span.split - self.longest_ms)

    def fitted(
        self, kind: str, settings: Settings, rows: NDArray[np.int64], steps: Sequence[int]
    ) -> Forecaster:
        """Return a forecaster of these steps, fitted on these rows."""
        targets = self.outcomes[rows][:, list(steps)]
        matrix = self.readings.matrix[rows]
        return fit_forecaster(kind, settings, matrix, targets, self.columns, self.seed)


def _choose(
    work: _Work, kinds: Sequence[str], steps: Sequence[int], tell: Tell
) -> tuple[str, Settings, list[dict[str, Any]]]:
    """Return the kind and settings with the least error at two steps, and all that were tried."""
    validate = work.validated
    outcomes = work.outcomes[validate][:, list(steps)]
    chosen = [(kind, settings) for kind in kinds for settings in DECLARED[kind]]
    tried = []
    for number, (kind, settings) in enumerate(chosen):
        tell(f"{number + 1} of {len(chosen)}: {kind} {dict(settings)}")
        model = work.fitted(kind, settings, work.early, steps)
        wrong = model.say(work.readings.matrix[validate]) - outcomes
        missed = np.sqrt(np.nanmean(wrong**2, axis=0)).round(5).tolist()
        tried.append({"kind": kind, "settings": dict(settings), "validation_rmse": missed})
    # Relative to the best at each horizon: the far one would outweigh the near one.
    all_missed = np.array([each["validation_rmse"] for each in tried])
    best = int((all_missed / all_missed.min(axis=0)).mean(axis=1).argmin())
    return *chosen[best], tried


def _bands(work: _Work, kind: str, settings: Settings, outputs: Sequence[int]) -> Bands:
    """Return bands from models that have not seen the last part of the training."""
    matrix, validate = work.readings.matrix, work.validated
    model = work.fitted(kind, settings, work.early, outputs)
    missed = work.outcomes[validate][:, list(outputs)] - model.say(matrix[validate])
    return fit_bands(kind, matrix[validate], missed, work.columns, work.seed)


def _compare(
    content: bytes,
    forecaster: Forecaster,
    bands: Bands,
    outputs: Sequence[int],
    matrix: NDArray[np.float32],
) -> float:
    """Return the largest difference between graph and learners."""
    some = matrix[:: max(1, len(matrix) // 20_000)]
    said = open_session(content).run([OUTPUT], {INPUT: some})[0]
    difference = float(np.abs(said - answers(forecaster, bands, outputs, some)).max(initial=0.0))
    if not difference <= DIFFERENCE_MAX:
        raise GateFailedError(
            "export_differs",
            f"The exported graph differs by up to {difference:g} from the model it came from.",
            "Do not serve it: report the case with the model's parameters.",
            difference=difference,
        )
    return difference


def _inside(
    content: bytes,
    matrix: NDArray[np.float32],
    outcomes: NDArray[np.float64],
    served: Sequence[int],
) -> dict[str, float]:
    """Return the share of outcomes within the band of each served horizon, by the graph."""
    session = open_session(content)
    parts = np.array_split(matrix, max(1, len(matrix) // 4_096))
    said = np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts])
    inside = {}
    for at, step in enumerate(served):
        outcome = outcomes[:, at]
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
    kind: str,
    settings: Settings,
    fit: NDArray[np.int64],
    span: Span,
    seed: int,
    source: str,
    budget: float,
) -> Manifest:
    plan = readings.plan
    anomaly = readings.matrix[fit, plan.feature_names.index(readings.conditions.anomaly)]
    review, decline = (
        min(1.0, float(np.ceil(np.quantile(anomaly, 1 - share) * 1e4) / 1e4))
        for share in (budget, budget / 10)
    )
    rows = Samples(readings.matrix[fit], np.zeros(len(fit), np.bool_), fit, fit, fit)
    manifest = describe_model(
        content,
        name=plan.pipeline.model or plan.pipeline.name,
        version="new",
        features=plan.feature_names,
        fingerprint=plan.meaning,
        thresholds=Thresholds(review=review, decline=max(review, decline)),
        row_chunk=ROW_CHUNK[kind],
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
            "kind": kind,
            "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
        },
        made_with={each: version(each) for each in ("lightgbm", "numpy", "onnx")},
    )
