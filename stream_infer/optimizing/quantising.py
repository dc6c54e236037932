"""Matrix products in 8 bits, by the tools of ONNX Runtime.

The last product stays in float: its sums are the log odds, and 256 steps of them would put
thousands of rows on one score. So do the products of the calibration behind it.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

PRODUCTS = ("Gemm", "MatMul")
ROWS_PER_CALL = 512


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # the runtime's tools have no types
    """Rows for the tool that looks how far values reach."""

    def __init__(self, name: str, rows: NDArray[np.float32]) -> None:
        parts = range(0, len(rows), ROWS_PER_CALL)
        self._calls = iter([{name: rows[start : start + ROWS_PER_CALL]} for start in parts])

    def get_next(self) -> Any:
        return next(self._calls, None)


def inner_products(content: bytes) -> list[str]:
    """Return the products that are quantised: stored weights, and sums that go through a ReLU.

    Names are the operator's and the place in the graph, ``Gemm_5``: nodes need have none.
    """
    return _named(content)[1]


def dynamic_int8(content: bytes) -> bytes:
    """Return the graph with weights in 8 bits; how far inputs reach is looked at in each call."""
    model, names = _named(content)
    with _quiet(), tempfile.TemporaryDirectory(prefix="stream-infer-int8-") as folder:
        made = Path(folder) / "made.onnx"
        # The tool makes a MatMul of each Gemm first, and gives it this name.
        names += [f"{name}_MatMul" for name in names]
        quantize_dynamic(
            _written(model, folder), made, weight_type=QuantType.QInt8, nodes_to_quantize=names
        )
        return _content(made)


def static_int8(content: bytes, rows: NDArray[np.float32]) -> bytes:
    """Return the graph with weights and inputs of products in 8 bits, scaled beforehand.

    rows  (n, F) float32, of the training days: how far their values reach is what is scaled to
    """
    model, names = _named(content)
    with _quiet(), tempfile.TemporaryDirectory(prefix="stream-infer-int8-") as folder:
        made = Path(folder) / "made.onnx"
        quantize_static(
            _written(model, folder),
            made,
            _Rows(model.graph.input[0].name, rows),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=names,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return _content(made)


def _named(content: bytes) -> tuple[Any, list[str]]:
    """Return the model with a name for each node, and the names of those to quantise."""
    model = onnx.load_from_string(content)
    for at, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{at}"
    constants = {each.name for each in model.graph.initializer}
    relus = {node.input[0] for node in model.graph.node if node.op_type == "Relu"}
    shifted = {
        node.input[0] for node in model.graph.node
        if node.op_type == "Add" and node.output[0] in relus
    }  # fmt: skip
    return model, [
        node.name for node in model.graph.node
        if node.op_type in PRODUCTS and node.input[1] in constants
        and node.output[0] in relus | shifted
    ]  # fmt: skip


def _written(model: Any, folder: str) -> Path:
    path = Path(folder) / "given.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _content(path: Path) -> bytes:
    model = onnx.load(path)
    model.producer_name, model.producer_version = "stream-infer", ""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' advice to whoever runs them by hand off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
