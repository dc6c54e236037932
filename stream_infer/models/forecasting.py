"""A network that forecasts with a band: fitted, calibrated, and written as one ONNX graph.

Two small networks share their inputs. The first answers with the change of the share at each
horizon, the second with how far the first is off in the mean. The band is the first, less and
plus so many times the second as held nine of ten outcomes on rows that neither was fitted on
(split conformal prediction with a scaled residual: Lei et al., 2018, Distribution-Free
Predictive Inference for Regression, section 5.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from stream_infer.errors import GateFailedError
from stream_infer.models.export import INPUT
from stream_infer.scoring.model import open_session

OUTPUT = "forecasts"
LAYERS = (96, 48)
SPREAD_LAYERS = (32,)
EPOCHS = 7
COVERAGE = 0.9
CLIP = 8.0
"""Standard deviations at which inputs are cut: beyond, a network only extrapolates."""
SPREAD_MIN = 0.005
"""Of the scale: half a km/h at 100. A band of no width would be a promise."""
PARITY_MAX = 1e-4

# Operators and IR of ONNX 1.8: every runtime that the project allows reads them.
_OPSET = 13
_IR_VERSION = 7

Layers = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class ForecastRows:
    """Rows to fit or measure with.

    matrix   (n, F) float32, as a scorer sees it
    changes  (n, H) float64, share at each horizon less the present one; NaN where unknown
    """

    matrix: NDArray[np.float32]
    changes: NDArray[np.float64]

    def take(self, rows: NDArray[Any]) -> ForecastRows:
        """Return the chosen rows."""
        return ForecastRows(self.matrix[rows], self.changes[rows])

    def known(self) -> ForecastRows:
        """Return the rows of which every input and outcome is known."""
        return self.take(np.flatnonzero(np.isfinite(self.changes).all(axis=1)))


@dataclass(frozen=True, slots=True)
class Forecaster:
    """Both networks, and how their answers become a band.

    columns        (k,) int64, columns of the matrix that are inputs
    centre, scale  (k,) float64
    mean, spread   layers, weights (inputs, outputs) and biases (outputs,)
    low, high      (H,) float64, spreads below and above the mean
    """

    columns: NDArray[np.int64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    mean: Layers
    spread: Layers
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def answer(self, matrix: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return (n, 3 H) float64: value, low and high of each horizon."""
        rows = (matrix[:, self.columns].astype(np.float64) - self.centre) / self.scale
        rows = np.clip(rows, -CLIP, CLIP)
        mean = _forward(self.mean, rows)
        spread = np.maximum(_forward(self.spread, rows), SPREAD_MIN)
        both = (mean, mean - self.low * spread, mean + self.high * spread)
        return np.stack(both, axis=2).reshape(len(rows), -1)


def fit_forecaster(
    train: ForecastRows, tune: ForecastRows, columns: Sequence[int], *, seed: int
) -> Forecaster:
    """Fit both networks on `train` and the band on `tune`; all rows are `known`."""
    chosen = np.array(columns, np.int64)
    inputs = train.matrix[:, chosen].astype(np.float64)
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale < 1e-6] = 1.0
    rows = np.clip((inputs - centre) / scale, -CLIP, CLIP)
    mean = _fit(rows, train.changes, LAYERS, seed)
    missed = np.abs(train.changes - _forward(mean, rows))
    spread = _fit(rows, missed, SPREAD_LAYERS, seed)
    ones = np.ones(train.changes.shape[1])
    plain = Forecaster(chosen, centre, scale, mean, spread, ones, ones)
    low, high = _calibrate(plain, tune)
    return Forecaster(chosen, centre, scale, mean, spread, low, high)


def _calibrate(
    plain: Forecaster, tune: ForecastRows
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many spreads hold the outcomes below and above, a half of the rest each."""
    answers = plain.answer(tune.matrix)
    mean, spread = answers[:, ::3], answers[:, 2::3] - answers[:, ::3]
    missed = (tune.changes - mean) / spread
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(missed, (tail, 1 - tail), axis=0)
    return np.maximum(-low, 0.0), np.maximum(high, 0.0)


def _fit(
    rows: NDArray[np.float64], targets: NDArray[np.float64], layers: tuple[int, ...], seed: int
) -> Layers:
    """Return a fitted network's layers, in the targets' own unit."""
    size = targets.std(axis=0)
    size[size < 1e-9] = 1.0
    network = MLPRegressor(
        hidden_layer_sizes=layers,
        batch_size=256,
        learning_rate_init=1e-3,
        max_iter=EPOCHS,
        random_state=seed,
    )
    # One thread: sums that are cut over threads depend on how many, and products of 256 rows
    # gain nothing from more.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A few epochs are meant: more fit these rows better and others worse.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(rows, targets / size)
    fitted = list(zip(network.coefs_, network.intercepts_, strict=True))
    last, bias = fitted[-1]
    return [*fitted[:-1], (last * size, bias * size)]


def _forward(layers: Layers, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    for weights, biases in layers[:-1]:
        rows = np.maximum(rows @ weights + biases, 0.0)
    weights, biases = layers[-1]
    answer: NDArray[np.float64] = rows @ weights + biases
    return answer


def forecaster_to_onnx(forecaster: Forecaster, rows: NDArray[np.float32]) -> bytes:
    """Return both networks as one graph with one output (n, 3 H).

    rows    (n, F) float32 on which the graph must answer what the networks answer
    Raises  GateFailedError ``export_differs``
    """
    constants = [
        numpy_helper.from_array(forecaster.columns, "columns"),
        _constant(forecaster.centre, "centre"),
        _constant(1.0 / forecaster.scale, "inverse_scale"),
        _constant(np.array(-CLIP), "clip_low"),
        _constant(np.array(CLIP), "clip_high"),
        _constant(np.array(SPREAD_MIN), "spread_min"),
        _constant(_band(forecaster), "band"),
    ]
    nodes = [
        # Not all columns are inputs: the level of service may be NaN, and 0 times NaN is NaN.
        helper.make_node("Gather", [INPUT, "columns"], ["chosen"], axis=1),
        helper.make_node("Sub", ["chosen", "centre"], ["centred"]),
        helper.make_node("Mul", ["centred", "inverse_scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "clip_low", "clip_high"], ["clipped"]),
    ]
    for name, layers in (("mean", forecaster.mean), ("raw_spread", forecaster.spread)):
        more_nodes, more_constants = _dense(name, layers)
        nodes += more_nodes
        constants += more_constants
    nodes += [
        helper.make_node("Max", ["raw_spread", "spread_min"], ["spread"]),
        helper.make_node("Concat", ["mean", "spread"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "band"], [OUTPUT]),
    ]
    content = _graph(nodes, constants, rows.shape[1], 3 * len(forecaster.low))
    answers = open_session(content).run([OUTPUT], {INPUT: rows})[0]
    difference = float(np.abs(answers - forecaster.answer(rows)).max(initial=0.0))
    if not difference <= PARITY_MAX:
        raise GateFailedError(
            "export_differs",
            f"The exported graph differs by up to {difference:g} from the networks it came from.",
            "Do not serve it: report the case with the model's parameters.",
            difference=difference,
        )
    return content


def _band(forecaster: Forecaster) -> NDArray[np.float64]:
    """Return (2 H, 3 H): from means and spreads to value, low and high of each horizon."""
    horizons = len(forecaster.low)
    band = np.zeros((2 * horizons, 3 * horizons))
    for h in range(horizons):
        band[h, 3 * h : 3 * h + 3] = 1.0
        band[horizons + h, 3 * h + 1] = -forecaster.low[h]
        band[horizons + h, 3 * h + 2] = forecaster.high[h]
    return band


def _dense(name: str, layers: Layers) -> tuple[list[Any], list[Any]]:
    nodes, constants, taken = [], [], "clipped"
    for at, (weights, biases) in enumerate(layers):
        last = at == len(layers) - 1
        made = name if last else f"{name}_{at}"
        constants += [
            _constant(weights, f"{name}_weights_{at}"),
            _constant(biases, f"{name}_biases_{at}"),
        ]
        nodes.append(
            helper.make_node(
                "Gemm",
                [taken, f"{name}_weights_{at}", f"{name}_biases_{at}"],
                [made if last else f"{made}_sum"],
            )
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"{made}_sum"], [made]))
        taken = made
    return nodes, constants


def _constant(values: NDArray[np.float64], name: str) -> Any:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def _graph(nodes: list[Any], constants: list[Any], width: int, outputs: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "forecast",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, outputs])],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="stream-infer",
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
