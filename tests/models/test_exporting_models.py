from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from stream_infer.errors import GateFailedError
from stream_infer.models.export import INPUT, check_parity, network_to_onnx, trees_to_onnx
from stream_infer.scoring.model import open_session


def answers(content: bytes, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = open_session(content).run(None, {INPUT: rows})[0][:, 0]
    return scores


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(5).gamma(1, 50, (3_000, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def booster(rows: NDArray[np.float32]) -> Any:
    truth = (rows[:, 0] > 90) | (rows[:, 1] * rows[:, 2] > 9_000)
    parameters = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, truth.astype(int)), 20)


def test_exported_trees_answer_what_the_booster_answers(
    booster: Any, rows: NDArray[np.float32]
) -> None:
    content = trees_to_onnx(booster, rows[:100])
    unseen = np.random.default_rng(6).gamma(1, 60, (5_000, 4)).astype(np.float32)
    np.testing.assert_allclose(answers(content, unseen), booster.predict(unseen), atol=1e-6)


def test_exported_trees_have_one_probability_and_nothing_else(
    booster: Any, rows: NDArray[np.float32]
) -> None:
    outputs = onnx.load_from_string(trees_to_onnx(booster, rows[:10])).graph.output
    assert [each.name for each in outputs] == ["probability"]
    assert answers(trees_to_onnx(booster, rows[:10]), rows).shape == (3_000,)


def test_an_exported_network_answers_what_its_layers_answer(rows: NDArray[np.float32]) -> None:
    random = np.random.default_rng(7)
    layers = [
        (random.normal(0, 1, shape), random.normal(0, 1, shape[1]))
        for shape in ((4, 6), (6, 3), (3, 1))
    ]
    centre, scale = rows.mean(axis=0).astype(np.float64), rows.std(axis=0).astype(np.float64)
    values: NDArray[np.float64] = (rows - centre) / scale
    for weights, biases in layers[:2]:
        values = np.maximum(values @ weights + biases, 0)
    expected = 1 / (1 + np.exp(-(values @ layers[2][0] + layers[2][1])[:, 0]))
    content = network_to_onnx(layers, centre, scale, rows)
    np.testing.assert_allclose(answers(content, rows), expected, atol=1e-5)


def test_a_graph_that_answers_otherwise_is_not_handed_out(
    booster: Any, rows: NDArray[np.float32]
) -> None:
    content = trees_to_onnx(booster, rows[:10])
    expected = booster.predict(rows)
    assert check_parity(content, rows, expected) < 1e-6
    expected[1_234] += 1e-4
    with pytest.raises(GateFailedError) as caught:
        check_parity(content, rows, expected)
    assert caught.value.code == "export_differs"
    expected[1_234] = np.nan
    with pytest.raises(GateFailedError):
        check_parity(content, rows, expected)


def test_a_threshold_between_two_neighbouring_float32_values_parts_them_in_the_graph_too() -> None:
    low = np.float32(47.85)
    high = np.nextafter(low, np.float32(100))
    rows = np.repeat(np.array([[low], [high]], np.float32), 200, axis=0)
    parameters = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}
    data = lightgbm.Dataset(rows, (rows[:, 0] == high).astype(np.int8))
    booster = lightgbm.train(parameters, data, num_boost_round=3)
    assert np.ptp(booster.predict(rows)) > 0.1
    trees_to_onnx(booster, rows)  # raises where the graph takes the two for one
