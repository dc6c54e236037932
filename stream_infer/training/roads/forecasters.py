"""Forecasts by boosted trees: one set a horizon, and one for how far off it is likely to be.

The band is the forecast less and plus so many times the second, as held nine of ten outcomes on
days that the first was not fitted on (Lei et al., 2018, Distribution-Free Predictive Inference for
Regression, section 5.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from stream_infer.models.export import INPUT
from stream_infer.models.forecasting import OUTPUT
from stream_infer.training.forests import Tree, from_lightgbm
from stream_infer.training.graphs import Part, add_trees, model_of

Settings = Mapping[str, Any]

DECLARED: tuple[Settings, ...] = (
    {"trees": 200, "leaves": 31, "rate": 0.06, "leaf_rows": 100},
    {"trees": 300, "leaves": 31, "rate": 0.05, "leaf_rows": 200},
    {"trees": 300, "leaves": 63, "rate": 0.04, "leaf_rows": 200},
)
"""What is tried."""
SPREAD: Settings = {"trees": 60, "leaves": 15, "rate": 0.08, "leaf_rows": 200}
COVERAGE = 0.9
SPREAD_MIN = 0.005
"""Of the scale: half a km/h at 100. A band of no width would be a promise."""
ROWS_MAX = 200_000
"""Rows that are fitted on, drawn by seed: more cost time and change the second digit."""


@dataclass(frozen=True, slots=True)
class Regressor:
    """Trees for one number.

    booster  the learner's own model, on the chosen columns
    trees    the same, on all columns
    """

    booster: Any
    trees: Sequence[Tree]


@dataclass(frozen=True, slots=True)
class Bands:
    """How far off each horizon's forecast is likely to be.

    spreads    of each horizon
    low, high  (H,) float64, spreads below and above the forecast
    """

    spreads: Sequence[Regressor]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def fit_regressor(
    matrix: NDArray[np.float32],
    target: NDArray[np.float64],
    columns: NDArray[np.int64],
    settings: Settings,
    seed: int,
) -> Regressor:
    """Return trees for a target; rows whose target is unknown are left out."""
    known = np.flatnonzero(np.isfinite(target))
    if len(known) > ROWS_MAX:
        known = np.sort(np.random.default_rng(seed).choice(known, ROWS_MAX, replace=False))
    parameters = {
        "objective": "regression",
        "learning_rate": settings["rate"],
        "num_leaves": settings["leaves"],
        "min_data_in_leaf": min(settings["leaf_rows"], max(1, len(known) // 50)),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(matrix[known][:, columns], target[known])
    booster = lightgbm.train(parameters, data, num_boost_round=settings["trees"])
    trees = [
        replace(tree, feature=np.where(tree.feature < 0, tree.feature, columns[tree.feature]))
        for tree in from_lightgbm(booster, objective="regression")
    ]
    return Regressor(booster, trees)


def predict(
    regressor: Regressor, matrix: NDArray[np.float32], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the learner's own answers, (n,)."""
    said: NDArray[np.float64] = regressor.booster.predict(matrix[:, columns], num_threads=1)
    return said


def fit_bands(
    matrix: NDArray[np.float32],
    missed: NDArray[np.float64],
    columns: NDArray[np.int64],
    seed: int,
) -> Bands:
    """Return bands from how far forecasts were off on days that they were not fitted on.

    missed  (n, H) float64, outcome less forecast; NaN where unknown
    """
    spreads = [
        fit_regressor(matrix, np.abs(missed[:, at]), columns, SPREAD, seed)
        for at in range(missed.shape[1])
    ]
    tail = (1 - COVERAGE) / 2
    said = np.stack([predict(each, matrix, columns) for each in spreads], axis=1)
    low, high = np.nanquantile(missed / np.maximum(said, SPREAD_MIN), (tail, 1 - tail), axis=0)
    return Bands(spreads, np.maximum(-low, 0.0), np.maximum(high, 0.0))


def answers(
    values: Sequence[Regressor],
    bands: Bands,
    matrix: NDArray[np.float32],
    columns: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return (n, 3 H) float64: value, low and high of each horizon, by the learners' own code."""
    mean = np.stack([predict(each, matrix, columns) for each in values], axis=1)
    spread = np.stack([predict(each, matrix, columns) for each in bands.spreads], axis=1)
    spread = np.maximum(spread, SPREAD_MIN)
    both = (mean, mean - bands.low * spread, mean + bands.high * spread)
    return np.stack(both, axis=2).reshape(len(matrix), -1)


def to_onnx(values: Sequence[Regressor], bands: Bands, width: int) -> bytes:
    """Return the graph: one input (n, width), one output (n, 3 H)."""
    part = Part()
    means = [add_trees(part, each.trees).last for each in values]
    spreads = [add_trees(part, each.trees).then("Max", SPREAD_MIN).last for each in bands.spreads]
    part.nodes.append(helper.make_node("Concat", [*means, *spreads], ["both"], axis=1))
    part.last = "both"
    part.then("MatMul", _band(bands), name=OUTPUT)
    outputs = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 3 * len(values)])
    inputs = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])
    return model_of(part, "forecast", inputs, outputs)


def _band(bands: Bands) -> NDArray[np.float64]:
    """Return (2 H, 3 H): from means and spreads to value, low and high of each horizon."""
    horizons = len(bands.low)
    band = np.zeros((2 * horizons, 3 * horizons))
    for h in range(horizons):
        band[h, 3 * h : 3 * h + 3] = 1.0
        band[horizons + h, 3 * h + 1] = -bands.low[h]
        band[horizons + h, 3 * h + 2] = bands.high[h]
    return band
