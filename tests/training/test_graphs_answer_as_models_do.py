"""Export and its gate: real rows, every split's boundary, and what cannot be converted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from stream_infer.errors import GateFailedError
from stream_infer.scoring.manifest import Thresholds
from stream_infer.training.calibration import LOG_ODDS, Calibration, fit_calibration
from stream_infer.training.candidates import DECLARED, Boosted, Fitted, fit_candidate
from stream_infer.training.days import DAY_MS
from stream_infer.training.distilling import distil
from stream_infer.training.forests import from_lightgbm, from_sklearn
from stream_infer.training.graphs import OUTPUT, Part, finished
from stream_infer.training.making import run_graph
from stream_infer.training.parity import boundary_rows, check_parity
from stream_infer.training.samples import Samples

THRESHOLDS = Thresholds(review=0.5, decline=0.9)
QUICK: dict[str, dict[str, Any]] = {
    "logistic": {**DECLARED["logistic"][0]},
    "trees": {**DECLARED["trees"][0], "trees": 12},
    "forest": {**DECLARED["forest"][0], "trees": 8},
    "mlp": {**DECLARED["mlp"][0], "epochs": 2},
}


def rows(n: int = 1_500, *, missing: bool = False) -> Samples:
    random = np.random.default_rng(4)
    matrix = random.lognormal(0, 2, (n, 4)).astype(np.float32)
    matrix[:, 1] = np.round(matrix[:, 1])
    truth = (matrix[:, 0] > 3) & (random.random(n) < 0.7)
    if missing:
        matrix[random.random((n, 4)) < 0.1] = np.nan
    time = np.arange(n, dtype=np.int64) * DAY_MS // 100
    return Samples(matrix, truth, time, time, np.arange(n, dtype=np.int64))


def exported(model: Fitted, calibration: Calibration, width: int = 4) -> bytes:
    return finished(calibration.add_to(model.add_to(Part())).then("Sigmoid", name=OUTPUT), width)


@pytest.mark.parametrize("kind", sorted(QUICK))
@pytest.mark.parametrize("missing", ["none", "some"])
def test_each_kind_answers_the_same_in_its_graph_at_rows_and_at_splits(
    kind: str, missing: str
) -> None:
    samples = rows(missing=missing == "some")
    model = fit_candidate(kind, QUICK[kind], samples, 0, 1)
    calibration = fit_calibration(model.answer(samples.matrix), samples.truth)

    def answer(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        return calibration.apply(model.answer(matrix))

    found = check_parity(
        exported(model, calibration), answer, model.trees, samples.matrix, THRESHOLDS
    )
    assert found.difference < 2e-6
    assert found.boundary_difference < 2e-6
    assert found.boundary_rows == 3 * found.reached
    assert found.reached == found.splits
    assert (found.splits > 20) == (kind in {"trees", "forest"})


def test_a_forest_answers_the_same_bits_however_many_threads_share_the_work() -> None:
    samples = rows(6_000)
    settings = {**DECLARED["forest"][0], "trees": 60}
    alone = fit_candidate("forest", settings, samples, 0, 1).answer(samples.matrix)
    shared = fit_candidate("forest", settings, samples, 0, 4)
    for _ in range(5):
        assert (shared.answer(samples.matrix) == alone).all()


@pytest.mark.parametrize("kind", sorted(QUICK))
def test_scores_are_the_same_bits_in_batches_of_every_size(kind: str) -> None:
    samples = rows()
    # Three columns: whole vectors of four would hide what is done with the last values.
    samples = replace(samples, matrix=np.ascontiguousarray(samples.matrix[:, :3]))
    model = fit_candidate(kind, QUICK[kind], samples, 0, 1)
    content = exported(model, fit_calibration(model.answer(samples.matrix), samples.truth), 3)
    whole = run_graph(content, samples.matrix)
    for size in (1, 3, 7, 64):
        assert run_graph(content, samples.matrix, size).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", ["trees", "forest"])
def test_more_of_a_feature_that_is_declared_rising_never_lowers_an_answer(kind: str) -> None:
    samples = rows()
    # Suspicious where small: a free model learns to lower its answer with the third column.
    samples.truth[:] = samples.matrix[:, 2] < 0.5
    steps = np.repeat(samples.matrix[:50], 30, axis=0)
    steps[:, 2] = np.tile(np.geomspace(0.01, 100, 30), 50)

    def falls(*rising: int) -> int:
        model = fit_candidate(kind, QUICK[kind], samples, 0, 1, rising)
        said = model.answer(steps).reshape(50, 30)
        return int((np.diff(said, axis=1) < -1e-12).sum())

    assert falls() > 0
    assert falls(2) == 0


def test_a_threshold_that_is_rounded_up_is_caught_at_its_boundary_only() -> None:
    samples = rows()
    model = fit_candidate("trees", QUICK["trees"], samples, 0, 1)
    assert isinstance(model, Boosted)
    up = [
        replace(tree, threshold=np.nextafter(tree.threshold, np.float32(np.inf)))
        for tree in model.trees
    ]
    wrong = exported(Boosted(model.booster, up), LOG_ODDS)

    def answer(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        return LOG_ODDS.apply(model.answer(matrix))

    # Means of two seen values lie between them: hardly a real row shows the difference.
    np.testing.assert_allclose(run_graph(wrong, samples.matrix), answer(samples.matrix), atol=1e-6)
    with pytest.raises(GateFailedError) as raised:
        check_parity(wrong, answer, model.trees, samples.matrix, THRESHOLDS)
    assert raised.value.code == "export_differs"
    assert raised.value.details["boundary_difference"] > 1e-3
    assert raised.value.details["difference"] < 1e-6


def test_values_next_to_zero_go_where_the_learner_sends_zero() -> None:
    random = np.random.default_rng(0)
    matrix = random.integers(-3, 4, (600, 2)).astype(np.float32)
    truth = np.sign(matrix[:, 0]) + 0.2 * random.normal(size=600) > 0.5
    low = np.sign(matrix[:, 0]) + 0.2 * random.normal(size=600) > -0.5
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    around = np.array([-3e-35, -1e-35, -9e-36, -1e-40, 0, 1e-40, 9e-36, 1e-35, 3e-35], np.float32)
    rows = np.column_stack([around, np.ones(len(around), np.float32)])
    for labels in (truth, low):
        booster = lightgbm.train(settings, lightgbm.Dataset(matrix, labels.astype(int)), 4)
        trees = from_lightgbm(booster)
        assert any((np.abs(tree.threshold[tree.feature >= 0]) < 1e-30).any() for tree in trees)
        model = Boosted(booster, trees)
        meant = LOG_ODDS.apply(model.answer(rows))
        assert len(np.unique(meant.round(6))) > 1
        np.testing.assert_allclose(run_graph(exported(model, LOG_ODDS, 2), rows), meant, atol=1e-6)


def test_a_row_at_a_split_reaches_it() -> None:
    samples = rows()
    trees = fit_candidate("forest", QUICK["forest"], samples, 0, 1).trees
    made, splits, reached = boundary_rows(trees[:1], samples.matrix)
    assert splits == reached == len(made) // 3
    at = trees[0].rows_at(made)
    inner = np.flatnonzero(trees[0].feature >= 0)
    for place, node in enumerate(inner.tolist()):
        assert {3 * place, 3 * place + 1, 3 * place + 2} <= set(at[node].tolist())


def booster(**parameters: Any) -> Any:
    random = np.random.default_rng(0)
    matrix = random.integers(0, 6, (400, 2)).astype(np.float64)
    matrix[:, 0] += random.random(400)
    truth = (matrix[:, 1] % 2 == 0) & (matrix[:, 0] > 2)
    data = lightgbm.Dataset(
        matrix,
        truth.astype(int),
        categorical_feature=parameters.pop("categories", []),
        params={"verbose": -1},
    )
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lightgbm.train(settings | parameters, data, 3)


@pytest.mark.parametrize(
    ("parameters", "cause"),
    [
        ({"linear_tree": True}, "linear_tree"),
        ({"objective": "regression"}, "objective"),
        ({"sigmoid": 2.0}, "sigmoid"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averages"),
        ({"zero_as_missing": True}, "zeros"),
        ({"categories": [1]}, "categories"),
    ],
)
def test_what_cannot_be_converted_exactly_is_refused_by_name(
    parameters: dict[str, Any], cause: str
) -> None:
    with pytest.raises(GateFailedError, match=cause) as raised:
        from_lightgbm(booster(**parameters))
    assert raised.value.code == "not_convertible"
    assert raised.value.fix


def test_trees_of_a_forest_add_up_to_its_probability() -> None:
    samples = rows()
    forest = RandomForestClassifier(5, random_state=0).fit(samples.matrix, samples.truth)
    total = np.zeros(len(samples))
    for tree in from_sklearn(forest):
        for node, there in enumerate(tree.rows_at(samples.matrix)):
            total[there] += tree.value[node] if tree.feature[node] < 0 else 0.0
    np.testing.assert_allclose(total, forest.predict_proba(samples.matrix)[:, 1], atol=1e-12)


def test_calibration_rises_everywhere_so_that_no_order_changes() -> None:
    random = np.random.default_rng(1)
    answers = random.normal(0, 2, 20_000)
    truth = random.random(20_000) < 1 / (1 + np.exp(-3 * answers + 6))
    line = fit_calibration(answers, truth)
    assert (np.diff(line.answers) > 0).all()
    assert (np.diff(line.log_odds) > 0).all()
    said = line.apply(answers)
    meant = 1 / (1 + np.exp(-3 * answers + 6))
    assert np.abs(said - meant).mean() < 0.02
    few = fit_calibration(answers[:100], truth[:100])
    assert (np.diff(few.log_odds) > 0).all()


def test_a_network_imitates_a_model_on_rows_without_labels() -> None:
    samples = rows(6_000)
    model = fit_candidate("trees", QUICK["trees"], samples, 0, 1)
    calibration = fit_calibration(model.answer(samples.matrix), samples.truth)
    small = distil(model, calibration, samples, seed=0)
    meant = calibration.apply(model.answer(samples.matrix))
    said = run_graph(exported(small, LOG_ODDS), samples.matrix)
    assert np.abs(said - meant).mean() < 0.05
    assert np.corrcoef(said, meant)[0, 1] > 0.95
