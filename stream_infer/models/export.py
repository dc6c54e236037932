"""From fitted models to ONNX graphs that a scorer runs quickly.

A graph has one float input ``features`` (n, F) and one float output ``probability``
(n, 1), and nothing else: no label, no second column, no map. For 100 trees that alone
took 0.95 µs a row instead of 1.35 (64 rows a call, one core).

Each conversion is compared with what it came from before it is handed out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from stream_infer.errors import GateFailedError
from stream_infer.scoring.model import open_session

INPUT = "features"
OUTPUT = "probability"
PARITY_MAX = 1e-5

# Opsets and IR of ONNX 1.8: every runtime that the project allows reads them.
_OPSETS = (("", 13), ("ai.onnx.ml", 3))
_IR_VERSION = 7


def trees_to_onnx(booster: Any, rows: NDArray[np.float32]) -> bytes:
    """Return a binary LightGBM booster as ONNX.

    booster  `lightgbm.Booster` with the objective ``binary``
    rows     (n, F) float32 on which the graph must answer what the booster answers
    Raises   GateFailedError ``export_differs``
    """
    converted = convert_lightgbm(
        _in_float32(booster),
        initial_types=[(INPUT, FloatTensorType([None, rows.shape[1]]))],
        zipmap=False,
        target_opset=13,
    )
    classifier = next(
        node for node in converted.graph.node if node.op_type == "TreeEnsembleClassifier"
    )
    known = {each.name: helper.get_attribute_value(each) for each in classifier.attribute}
    # The classifier writes a label and two columns; as a regressor of the same trees it writes
    # one. Its own post_transform LOGISTIC is not used: ONNX Runtime ignores it for regressors.
    trees = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["logit"],
        domain="ai.onnx.ml",
        n_targets=1,
        target_ids=[0] * len(known["class_ids"]),
        target_nodeids=known["class_nodeids"],
        target_treeids=known["class_treeids"],
        target_weights=known["class_weights"],
        **{name: value for name, value in known.items() if name.startswith("nodes_")},
    )
    content = _graph([trees, helper.make_node("Sigmoid", ["logit"], [OUTPUT])], [], rows.shape[1])
    check_parity(content, rows, booster.predict(rows, num_threads=1))
    return content


def _in_float32(booster: Any) -> Any:
    """Return the booster with each threshold as the largest float32 that is not above it.

    A float32 lies below such a threshold where it lies below the original, always. The converter
    rounds to the nearest instead, which may be the very next value that was seen in training:
    two means of the same payments, added up in another order, went to the wrong side.
    """

    def rounded(line: re.Match[str]) -> str:
        exact = np.array(line[1].split(), np.float64)
        nearest = exact.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
        found = np.where(nearest > exact, below, nearest).astype(np.float64)
        return "threshold=" + " ".join(map(repr, found.tolist()))

    text = re.sub(r"^threshold=(.*)$", rounded, booster.model_to_string(), flags=re.MULTILINE)
    return lightgbm.Booster(model_str=_with_sizes(text))


def _with_sizes(text: str) -> str:
    """Return a booster's text with the lengths of its trees, by which it is read, put right."""
    begins = [found.start() for found in re.finditer(r"^Tree=", text, re.MULTILINE)]
    ends = [*begins[1:], text.index("end of trees")]
    sizes = " ".join(str(end - begin) for begin, end in zip(begins, ends, strict=True))
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", text, flags=re.MULTILINE)


def network_to_onnx(
    layers: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    centre: NDArray[np.float64],
    scale: NDArray[np.float64],
    rows: NDArray[np.float32],
) -> bytes:
    """Return a network of dense layers as ONNX: ReLU between them, a sigmoid at the end.

    layers         (weights (inputs, outputs), biases (outputs,)) per layer
    centre, scale  (F,) standardisation of the inputs; it is folded into the first layer
    rows           (n, F) float32 on which the graph must answer what the layers answer
    Raises         GateFailedError ``export_differs``
    """
    first, bias = layers[0]
    folded = [(first / scale[:, None], bias - (centre / scale) @ first), *layers[1:]]
    nodes, constants, name = [], [], INPUT
    for at, (weights, biases) in enumerate(folded):
        last = at == len(folded) - 1
        constants += [
            numpy_helper.from_array(weights.astype(np.float32), f"weights_{at}"),
            numpy_helper.from_array(biases.astype(np.float32), f"biases_{at}"),
        ]
        nodes += [
            helper.make_node("Gemm", [name, f"weights_{at}", f"biases_{at}"], [f"sum_{at}"]),
            helper.make_node(
                "Sigmoid" if last else "Relu", [f"sum_{at}"], [OUTPUT if last else f"layer_{at}"]
            ),
        ]
        name = f"layer_{at}"
    content = _graph(nodes, constants, len(centre))
    check_parity(content, rows, _forward(layers, (rows - centre) / scale))
    return content


def check_parity(content: bytes, rows: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    """Return the largest difference between the graph's answers and `expected`.

    Raises  GateFailedError ``export_differs`` when it is above `PARITY_MAX` or not a number
    """
    answers = open_session(content).run([OUTPUT], {INPUT: rows})[0][:, 0]
    difference = float(np.abs(answers - expected).max(initial=0.0))
    if not difference <= PARITY_MAX:
        raise GateFailedError(
            "export_differs",
            f"The exported graph differs by up to {difference:g} from the model it came from.",
            "Do not serve it: report the case with the model's parameters.",
            difference=difference,
        )
    return difference


def _forward(
    layers: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what the layers answer, in float64."""
    for weights, biases in layers[:-1]:
        rows = np.maximum(rows @ weights + biases, 0)
    weights, biases = layers[-1]
    logits: NDArray[np.float64] = (rows @ weights + biases)[:, 0]
    # As a tanh, since exp(-x) overflows for a confident "no".
    return 0.5 + 0.5 * np.tanh(0.5 * logits)


def _graph(nodes: list[Any], constants: list[Any], width: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "score",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 1])],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS],
        ir_version=_IR_VERSION,
        producer_name="stream-infer",
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
