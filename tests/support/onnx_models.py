"""Tiny ONNX models and manifests, written by hand, for tests of what surrounds a model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stream_infer.scoring.manifest import Manifest, Thresholds, Training, encode_manifest

FEATURES = ("amount", "count", "mean")
FINGERPRINT = "f" * 64
WEIGHTS = np.array([[0.02], [-0.5], [0.01]], np.float32)


def logistic_model(
    *,
    weights: NDArray[np.float32] = WEIGHTS,
    columns: int = 1,
    activation: str = "Sigmoid",
    input_type: int = TensorProto.FLOAT,
    rows: int | None = None,
) -> bytes:
    """Return a logistic regression; `columns` 2 repeats the answer as converters do."""
    width = len(weights)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node(activation, ["z"], ["p"]),
    ]
    outputs = [helper.make_tensor_value_info("p", input_type, [rows, 1])]
    if columns == 2:
        nodes += [
            helper.make_node("Sub", ["one", "p"], ["q"]),
            helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        outputs = [
            helper.make_tensor_value_info("label", TensorProto.INT64, [rows]),
            helper.make_tensor_value_info("probabilities", input_type, [rows, 2]),
        ]
    number = helper.tensor_dtype_to_np_dtype(input_type)
    constants = [
        numpy_helper.from_array(weights.astype(number), "w"),
        numpy_helper.from_array(np.ones(1, number), "one"),
    ]
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("x", input_type, [rows, width])],
        outputs,
        constants,
    )
    return serialise(graph)


def serialise(graph: onnx.GraphProto) -> bytes:
    """Return the graph as a model that old and new runtimes read."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def make_manifest(content: bytes, **changes: Any) -> Manifest:
    """Return a manifest that fits `content`, but for `changes`."""
    fitting = Manifest(
        name="tiny",
        version="1",
        sha256=hashlib.sha256(content).hexdigest(),
        features=FEATURES,
        features_fingerprint=FINGERPRINT,
        thresholds=Thresholds(review=0.5, decline=0.9),
        row_chunk=8,
        created="2026-01-01T00:00:00Z",
        training=Training(source="by hand", digest="0" * 64, rows=0, positives=0, seed=0),
    )
    return msgspec.structs.replace(fitting, **changes)


def write_model(folder: Path, content: bytes | None = None, **changes: Any) -> Path:
    """Write a model folder and return it."""
    content = logistic_model() if content is None else content
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "manifest.json").write_bytes(encode_manifest(make_manifest(content, **changes)))
    return folder
