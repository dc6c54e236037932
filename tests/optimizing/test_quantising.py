"""8 bits: products between layers only, the same bytes each time, and trees have none."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from stream_infer.optimizing.quantising import dynamic_int8, inner_products, static_int8
from stream_infer.scoring.model import open_session
from support.optimizing import fitted, graph_of, payments, run


def initializers(content: bytes) -> dict[str, int]:
    return {each.name: each.data_type for each in onnx.load_from_string(content).graph.initializer}


@pytest.mark.parametrize("how", ["dynamic", "static"])
def test_a_network_in_8_bits_is_smaller_and_answers_nearly_the_same(how: str) -> None:
    rows = payments(8)
    model, line = fitted("mlp", rows)
    content = graph_of(model, line)

    def made() -> bytes:
        return static_int8(content, rows.matrix) if how == "static" else dynamic_int8(content)

    small = made()
    assert small == made()
    assert len(small) < len(content)
    eight = onnx.TensorProto.INT8
    assert sum(kind == eight for kind in initializers(small).values()) >= 2
    apart = np.abs(run(small, rows.matrix) - run(content, rows.matrix))
    assert 0 < apart.mean() < 0.02


def test_the_last_product_and_the_calibration_stay_in_float() -> None:
    rows = payments(8)
    model, line = fitted("mlp", rows)
    content = graph_of(model, line)
    nodes = onnx.load_from_string(content).graph.node
    gemms = [f"Gemm_{at}" for at, node in enumerate(nodes) if node.op_type == "Gemm"]
    assert len(gemms) == 4  # three layers and the calibration
    assert inner_products(content) == gemms[:2]


@pytest.mark.parametrize("kind", ["trees", "forest", "logistic"])
def test_what_has_no_product_between_layers_has_nothing_to_quantise(kind: str) -> None:
    model, line = fitted(kind, payments(8))
    assert inner_products(graph_of(model, line)) == []


def test_a_quantised_graph_keeps_the_names_of_its_input_and_output() -> None:
    rows = payments(8)
    model, line = fitted("mlp", rows)
    session = open_session(static_int8(graph_of(model, line), rows.matrix))
    assert [each.name for each in session.get_inputs()] == ["features"]
    assert [each.name for each in session.get_outputs()] == ["probability"]
