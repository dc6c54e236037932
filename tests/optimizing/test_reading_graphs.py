"""A model is read back from its graph, and believed only where it then answers the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from stream_infer.optimizing.material import checked_reading
from stream_infer.optimizing.reading import TreeSum, Unscaled, read_model
from stream_infer.training.candidates import Blend, Network
from stream_infer.training.forests import LEAF
from support.onnx_models import logistic_model
from support.optimizing import KINDS, WIDTH, fitted, graph_of, payments, run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_each_kind_that_training_writes_is_read_back_as_it_was(kind: str, missing: float) -> None:
    rows = payments(8, missing=missing)
    model, line = fitted(kind, rows)
    content = graph_of(model, line)
    reading = checked_reading(content, rows.matrix, run(content, rows.matrix))
    assert reading.why == ""
    assert reading.fitted is not None
    meant = line.apply(model.answer(rows.matrix))
    said = reading.calibration.apply(reading.fitted.answer(rows.matrix))
    np.testing.assert_allclose(said, meant, atol=1e-5)
    shown = {"trees": TreeSum, "forest": TreeSum, "blend": Blend}.get(kind, Network)
    assert isinstance(reading.fitted, shown)
    assert len(reading.fitted.trees) == len(model.trees)
    for tree in reading.fitted.trees:
        inner = np.flatnonzero(tree.feature != LEAF)
        assert (tree.left[inner] > inner).all()
        assert (tree.right[inner] > inner).all()


def test_a_network_whose_input_is_not_squeezed_is_read_too() -> None:
    rows = payments(2).matrix
    random = np.random.default_rng(0)
    layers = [(random.normal(size=(WIDTH, 4)), random.normal(size=4)),
              (random.normal(size=(4, 1)), random.normal(size=1))]  # fmt: skip
    plain = Unscaled(np.zeros(WIDTH), np.ones(WIDTH), has_nan=False)
    content = graph_of(Network(plain, layers))
    reading = checked_reading(content, rows, run(content, rows))
    assert reading.network is not None
    assert [weights.shape for weights, _ in reading.network.layers] == [(WIDTH, 4), (4, 1)]


def test_nodes_that_are_numbered_in_another_order_are_put_in_order() -> None:
    rows = payments(8)
    model, line = fitted("trees", rows)
    content = graph_of(model, line)
    loaded = onnx.load_from_string(content)
    node = next(each for each in loaded.graph.node if each.op_type == "TreeEnsembleRegressor")
    for attribute in node.attribute:
        if attribute.name in {"nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids",
                              "target_nodeids"}:  # fmt: skip
            turned = [1_000 - value for value in attribute.ints]
            del attribute.ints[:]
            attribute.ints.extend(turned)
    reading = checked_reading(loaded.SerializeToString(), rows.matrix, run(content, rows.matrix))
    assert reading.why == ""
    np.testing.assert_allclose(
        reading.sums[0].answer(rows.matrix), model.answer(rows.matrix), atol=1e-5
    )


def changed(content: bytes, operator: str, **attributes: Any) -> bytes:
    model = onnx.load_from_string(content)
    node = next(each for each in model.graph.node if each.op_type == operator)
    kept = [each for each in node.attribute if each.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(name, v) for name, v in attributes.items())
    made: bytes = model.SerializeToString()
    return made


@pytest.mark.parametrize(
    ("operator", "attributes", "words"),
    [
        ("TreeEnsembleRegressor", {"aggregate_function": "AVERAGE"}, "not summed"),
        ("TreeEnsembleRegressor", {"post_transform": "LOGISTIC"}, "transform"),
        ("TreeEnsembleRegressor", {"base_values": [0.5]}, "base value"),
        ("TreeEnsembleRegressor", {"n_targets": 2}, "targets"),
    ],
)
def test_trees_of_another_form_are_named_not_guessed(
    operator: str, attributes: dict[str, Any], words: str
) -> None:
    model, line = fitted("trees", payments(8))
    reading = read_model(changed(graph_of(model, line), operator, **attributes))
    assert reading.fitted is None
    assert words in reading.why


def test_a_graph_of_another_kind_says_what_stands_in_the_way() -> None:
    assert "MatMul" in read_model(logistic_model()).why
    assert "2 outputs" in read_model(logistic_model(columns=2)).why
    assert "Sigmoid" in read_model(logistic_model(activation="Tanh")).why


def test_a_reading_that_answers_otherwise_is_not_believed() -> None:
    rows = payments(4).matrix
    model, line = fitted("trees", payments(8))
    content = graph_of(model, line)
    reading = checked_reading(content, rows, run(content, rows) + np.float32(1e-3))
    assert reading.fitted is None
    assert "apart" in reading.why
