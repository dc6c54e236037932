"""What is said about readings: anomaly, level of service and forecasts, from their features.

The first two are features; the third is the answer of a model with several outputs, which
are differences to the present share of the scale. The model is bound as a `Scorer`'s is,
but for the sensor table: what was learnt on one road serves another (see `Plan.meaning`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.errors import ConfigError, ConflictError
from stream_infer.events.scored_readings import FORECAST_DECIMALS, NO_LEVEL
from stream_infer.features.plan import Plan
from stream_infer.pipeline import Conditions
from stream_infer.scoring.model import Model, load_model
from stream_infer.scoring.session import check_fit

CONGESTION = "congestion"
FORECAST_CONGESTION = "forecast_congestion"
FORECAST_SHARE = "forecast_share"
FORECAST_SPEED = "forecast_speed"
FORECAST_MINUTES = "forecast_minutes"
ROAD_LEVELS = (CONGESTION, FORECAST_CONGESTION, FORECAST_SHARE, FORECAST_SPEED, FORECAST_MINUTES)
"""What alerts on readings may be declared on, and tell: see `Judged.alert_levels`."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said about ``n`` readings.

    anomaly    (n,) float32, 0 to 1
    levels     (n,) int8, index into `LEVELS`, or `NO_LEVEL`
    shares     (n,) float64, present share of the scale; NaN where nothing is forecast
    forecasts  (n, 3 * horizons) float64, value, low and high of each horizon in the measure's
               unit; NaN where there is none. None without a model
    scale      (n,) float64, what shares are of
    ahead      (horizons,) float64, minutes from a reading to each horizon
    """

    anomaly: NDArray[np.float32]
    levels: NDArray[np.int8]
    shares: NDArray[np.float64]
    forecasts: NDArray[np.float64] | None
    scale: NDArray[np.float64]
    ahead: NDArray[np.float64]

    def alert_levels(self) -> dict[str, NDArray[np.float64]]:
        """Return `ROAD_LEVELS` by name, (n,) float64 each; NaN where nothing can be told.

        congestion           how much of the scale is missing now
        forecast_congestion  how much of it will be missing at the worst horizon
        forecast_share       how much of it will be left then
        forecast_speed       what is forecast for then, in the measure's unit
        forecast_minutes     how far ahead the worst horizon is
        """
        if self.forecasts is None:
            worst = np.full(len(self.shares), np.nan)
            minutes = worst
        else:
            values = self.forecasts[:, ::3]
            at = values.argmin(axis=1)
            worst = values[np.arange(len(values)), at]
            minutes = np.where(np.isnan(worst), np.nan, self.ahead[at])
        share = worst / self.scale
        return {
            CONGESTION: 1.0 - self.shares,
            FORECAST_CONGESTION: 1.0 - share,
            FORECAST_SHARE: share,
            FORECAST_SPEED: worst,
            FORECAST_MINUTES: minutes,
        }


class ConditionScorer:
    """Judges the readings of one pipeline, with a model for the forecasts or without.

    Holds no buffer that is written in `judge`, so threads may share it.

    plan    of a pipeline with `conditions`
    model   a model or its folder; None for a pipeline without one
    Raises  ConfigError ``no_conditions``, ``unknown_feature``; ConflictError
            ``outputs_differ`` and what a `Scorer` raises; what `load_model` raises
    """

    def __init__(self, plan: Plan, model: Model | Path | str | None) -> None:
        conditions = plan.pipeline.conditions
        if conditions is None:
            raise ConfigError(
                "no_conditions",
                f"Pipeline {plan.pipeline.name!r} declares no conditions.",
                "Declare them, or score its events by a probability.",
            )
        names = plan.feature_names
        self._columns = {
            name: _column(names, name)
            for name in (conditions.anomaly, conditions.level, conditions.base, conditions.scale)
        }
        self._conditions = conditions
        self._ahead = np.array(
            [parse_duration(horizon) / 60_000 for horizon in conditions.horizons]
        )
        self.model = model if isinstance(model, Model | None) else load_model(model)
        if self.model is not None:
            check_fit(self.model.manifest, names, plan.meaning)
            _check_outputs(self.model, conditions)
        self._width = len(names)

    @property
    def name(self) -> str | None:
        """The model's name."""
        return None if self.model is None else self.model.name

    @property
    def version(self) -> str | None:
        """The model's version."""
        return None if self.model is None else self.model.version

    def judge(self, matrix: NDArray[np.float64]) -> Judged:
        """Return what is said about each row.

        matrix  (n, features) float64, columns in the plan's order
        Cost    O(n); rows go to the runtime `row_chunk` at a time
        """
        if matrix.ndim != 2 or matrix.shape[1] != self._width:
            raise ConflictError(
                "matrix_width_differs",
                f"The pipeline has {self._width} features; the matrix has shape {matrix.shape}.",
                "Judge with the plan that the scorer was made for.",
            )
        conditions, at = self._conditions, self._columns
        level = matrix[:, at[conditions.level]]
        shares, scale = matrix[:, at[conditions.base]], matrix[:, at[conditions.scale]]
        return Judged(
            anomaly=matrix[:, at[conditions.anomaly]].astype(np.float32),
            levels=np.where(np.isnan(level), NO_LEVEL, level).astype(np.int8),
            shares=shares,
            forecasts=None if self.model is None else self._forecasts(matrix, shares, scale),
            scale=scale,
            ahead=self._ahead,
        )

    def _forecasts(
        self, matrix: NDArray[np.float64], shares: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the model's answers as values of the measure, none below 0."""
        if self.model is None:
            raise ValueError("there is no model")
        n, step = len(matrix), self.model.row_chunk
        rows = matrix.astype(np.float32)
        answers = np.empty((n, len(self.model.manifest.outputs)), np.float32)
        for start in range(0, n, step):
            answers[start : start + step] = self.model.run_all(rows[start : start + step])
        # NaN where the present share is: no measure, no forecast.
        values: NDArray[np.float64] = (answers + shares[:, None]) * scale[:, None]
        # Plus zero: what rounds to minus zero is written as zero.
        return np.maximum(values, 0.0).round(FORECAST_DECIMALS) + 0.0


def output_names(conditions: Conditions) -> tuple[str, ...]:
    """Return the names of a model's outputs: value, low and high of each horizon.

    >>> output_names(Conditions(horizons=("15m",), anomaly="", level="", base="", scale="", of=""))
    ('15m', '15m_low', '15m_high')
    """
    return tuple(
        name for horizon in conditions.horizons for name in (horizon, f"{horizon}_low",
                                                             f"{horizon}_high")
    )  # fmt: skip


def _column(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise ConfigError(
            "unknown_feature",
            f"The conditions name the feature {name!r}, which the pipeline does not compute.",
            f"Name one of: {', '.join(names)}.",
        )
    return names.index(name)


def _check_outputs(model: Model, conditions: Conditions) -> None:
    wanted = output_names(conditions)
    if model.manifest.outputs != wanted:
        found = ", ".join(model.manifest.outputs) or "a probability"
        raise ConflictError(
            "outputs_differ",
            f"The model {model.name} {model.version} answers with {found}; the pipeline's "
            f"conditions want {', '.join(wanted)}.",
            "Train a model with these outputs, in this order.",
        )
