"""What forecasts: boosted trees, one set a horizon, or one network for all of them.

Both take some of the columns, answer with a number for each output, and can write themselves into
a graph. A second one of the same kind says how far off the first is likely to be. The band is the
forecast less and plus so many times that, as held nine of ten outcomes on days that the first was
not fitted on (Lei et al., 2018, Distribution-Free Predictive Inference for Regression, section
5.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import lightgbm
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from stream_infer.training.forests import Tree, from_lightgbm
from stream_infer.training.graphs import INPUT, Layers, Part, add_layers, add_trees, model_of

Settings = Mapping[str, Any]
OUTPUT = "forecasts"

DECLARED: dict[str, tuple[Settings, ...]] = {
    "trees": (
        {"trees": 200, "leaves": 31, "rate": 0.06, "leaf_rows": 100},
        {"trees": 300, "leaves": 31, "rate": 0.05, "leaf_rows": 200},
        {"trees": 300, "leaves": 63, "rate": 0.04, "leaf_rows": 200},
    ),
    "network": ({"hidden": (96, 48), "epochs": 7},),
}
"""Kind -> settings that are tried."""
SPREAD: dict[str, Settings] = {
    "trees": {"trees": 60, "leaves": 15, "rate": 0.08, "leaf_rows": 200},
    "network": {"hidden": (32,), "epochs": 7},
}
"""Kind -> settings of what says how far off a forecast is likely to be."""
COVERAGE = 0.9
SPREAD_MIN = 0.005
"""Of the scale: half a km/h at 100. A band of no width would be a promise."""
ROWS_MAX = {"trees": 200_000, "network": 600_000}
"""Rows that are fitted on, drawn by seed: more cost time and change the second digit."""
CLIP = 8.0
"""Standard deviations at which a network's inputs are cut: beyond, it only extrapolates."""


class Forecaster(Protocol):
    """Answers with a number for each of its outputs."""

    def say(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the learner's own answers, (n, outputs)."""

    def add_to(self, part: Part, outputs: Sequence[int]) -> Part:
        """Add it to a graph; (n, len(outputs)) answers come out."""


@dataclass(frozen=True, slots=True)
class Boosted:
    """Boosted trees, one set for each output.

    columns   (k,) int64, columns of the matrix that are inputs
    boosters  the learner's own models, on those columns
    trees     the same, on all columns
    """

    columns: NDArray[np.int64]
    boosters: Sequence[Any]
    trees: Sequence[Sequence[Tree]]

    def say(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the learner's own answers."""
        chosen = matrix[:, self.columns]
        return np.stack([each.predict(chosen, num_threads=1) for each in self.boosters], axis=1)

    def add_to(self, part: Part, outputs: Sequence[int]) -> Part:
        """Add the trees of the outputs."""
        made = [add_trees(part, self.trees[at]).last for at in outputs]
        return _joined(part, made)


@dataclass(frozen=True, slots=True)
class Network:
    """Dense layers over inputs that are cut, centred and scaled.

    columns        (k,) int64
    centre, scale  (k,) float64
    layers         weights (inputs, outputs) and biases (outputs,)
    """

    columns: NDArray[np.int64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    layers: Layers

    def say(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the answers in float64."""
        rows = (matrix[:, self.columns].astype(np.float64) - self.centre) / self.scale
        rows = np.clip(rows, -CLIP, CLIP)
        for weights, biases in self.layers[:-1]:
            rows = np.maximum(rows @ weights + biases, 0.0)
        weights, biases = self.layers[-1]
        said: NDArray[np.float64] = rows @ weights + biases
        return said

    def add_to(self, part: Part, outputs: Sequence[int]) -> Part:
        """Add the layers; of the last one what the outputs need."""
        # Not all columns are inputs: the level of service may be NaN, and 0 times NaN is NaN.
        name = f"columns_{len(part.constants)}"
        part.constants.append(numpy_helper.from_array(self.columns, name))
        part.last = INPUT
        part.then("Gather", name, axis=1)
        part.then("Max", self.centre - CLIP * self.scale)
        part.then("Min", self.centre + CLIP * self.scale)
        part.then("Sub", self.centre).then("Mul", 1.0 / self.scale)
        weights, biases = self.layers[-1]
        chosen = list(outputs)
        return add_layers(part, [*self.layers[:-1], (weights[:, chosen], biases[chosen])])


@dataclass(frozen=True, slots=True)
class Bands:
    """How far off each horizon's forecast is likely to be.

    spread     an output for each horizon
    low, high  (H,) float64, spreads below and above the forecast
    """

    spread: Forecaster
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def fit_forecaster(
    kind: str,
    settings: Settings,
    matrix: NDArray[np.float32],
    targets: NDArray[np.float64],
    columns: NDArray[np.int64],
    seed: int,
) -> Forecaster:
    """Return a forecaster of a kind.

    targets  (n, outputs) float64; rows whose target is unknown (NaN) are left out, by a network
             those that lack any
    """
    if kind == "network":
        return _fit_network(matrix, targets, columns, settings, seed)
    fitted = [
        _fit_trees(matrix, targets[:, at], columns, settings, seed)
        for at in range(targets.shape[1])
    ]
    boosters, trees = zip(*fitted, strict=True)
    return Boosted(columns, boosters, trees)


def _drawn(known: NDArray[np.int64], kind: str, seed: int) -> NDArray[np.int64]:
    if len(known) <= ROWS_MAX[kind]:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, ROWS_MAX[kind], replace=False))


def _fit_trees(
    matrix: NDArray[np.float32],
    target: NDArray[np.float64],
    columns: NDArray[np.int64],
    settings: Settings,
    seed: int,
) -> tuple[Any, list[Tree]]:
    known = _drawn(np.flatnonzero(np.isfinite(target)), "trees", seed)
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
    return booster, trees


def _fit_network(
    matrix: NDArray[np.float32],
    targets: NDArray[np.float64],
    columns: NDArray[np.int64],
    settings: Settings,
    seed: int,
) -> Network:
    known = _drawn(np.flatnonzero(np.isfinite(targets).all(axis=1)), "network", seed)
    inputs = matrix[known][:, columns].astype(np.float64)
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale < 1e-6] = 1.0
    rows = np.clip((inputs - centre) / scale, -CLIP, CLIP)
    size = targets[known].std(axis=0)
    size[size < 1e-9] = 1.0
    learner = MLPRegressor(
        hidden_layer_sizes=settings["hidden"],
        batch_size=min(256, len(known)),
        learning_rate_init=1e-3,
        max_iter=settings["epochs"],
        random_state=seed,
    )
    # One thread: sums that are cut over threads depend on how many, and products of 256 rows
    # gain nothing from more.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A few epochs are meant: more fit these rows better and others worse.
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner.fit(rows, targets[known] / size)
    layers = list(zip(learner.coefs_, learner.intercepts_, strict=True))
    last, bias = layers[-1]
    return Network(columns, centre, scale, [*layers[:-1], (last * size, bias * size)])


def fit_bands(
    kind: str,
    matrix: NDArray[np.float32],
    missed: NDArray[np.float64],
    columns: NDArray[np.int64],
    seed: int,
) -> Bands:
    """Return bands from how far forecasts were off on days that they were not fitted on.

    missed  (n, H) float64, outcome less forecast; NaN where unknown
    """
    spread = fit_forecaster(kind, SPREAD[kind], matrix, np.abs(missed), columns, seed)
    tail = (1 - COVERAGE) / 2
    said = np.maximum(spread.say(matrix), SPREAD_MIN)
    low, high = np.nanquantile(missed / said, (tail, 1 - tail), axis=0)
    return Bands(spread, np.maximum(-low, 0.0), np.maximum(high, 0.0))


def answers(
    forecaster: Forecaster, bands: Bands, outputs: Sequence[int], matrix: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return (n, 3 H) float64: value, low and high of each horizon, by the learners' own code.

    outputs  of the forecaster, one a horizon
    """
    mean = forecaster.say(matrix)[:, list(outputs)]
    spread = np.maximum(bands.spread.say(matrix), SPREAD_MIN)
    both = (mean, mean - bands.low * spread, mean + bands.high * spread)
    return np.stack(both, axis=2).reshape(len(matrix), -1)


def to_onnx(forecaster: Forecaster, bands: Bands, outputs: Sequence[int], width: int) -> bytes:
    """Return the graph: one input (n, width), one output (n, 3 H)."""
    horizons = len(outputs)
    part = Part()
    mean = forecaster.add_to(part, outputs).last
    spread = bands.spread.add_to(part, range(horizons)).then("Max", SPREAD_MIN).last
    _joined(part, [mean, spread]).then("MatMul", _band(bands), name=OUTPUT)
    made = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 3 * horizons])
    taken = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])
    return model_of(part, "forecast", taken, made)


def _joined(part: Part, names: Sequence[str]) -> Part:
    """Add the named columns beside each other."""
    part.last = f"joined_{len(part.nodes)}"
    part.nodes.append(helper.make_node("Concat", list(names), [part.last], axis=1))
    return part


def _band(bands: Bands) -> NDArray[np.float64]:
    """Return (2 H, 3 H): from means and spreads to value, low and high of each horizon."""
    horizons = len(bands.low)
    band = np.zeros((2 * horizons, 3 * horizons))
    for h in range(horizons):
        band[h, 3 * h : 3 * h + 3] = 1.0
        band[horizons + h, 3 * h + 1] = -bands.low[h]
        band[horizons + h, 3 * h + 2] = bands.high[h]
    return band
