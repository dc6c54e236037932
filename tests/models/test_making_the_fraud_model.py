from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.features.plan import compile_plan
from stream_infer.models.bench_models import build_bench_models
from stream_infer.models.make_ready import RISING, command, make_fraud_model
from stream_infer.models.training import (
    AlertBudget,
    AlertGoals,
    Days,
    Rows,
    card_precision,
    choose_by_precision,
    choose_thresholds,
    customer_precision,
    fit_trees,
    measure,
    split_world,
)
from stream_infer.models.writing import write_model
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import Thresholds, encode_manifest, read_manifest
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import World

SMALL = World(seed=5, customers=250, terminals=120, terminals_lost=0.002, cards_lost=0.002)
FEW = Days(cold=0, history=4, train=10, gap=7, tune=4, test=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "1"
    make_fraud_model(folder, SMALL, FEW)
    return folder


def test_the_same_seed_makes_the_same_bytes(made: Path, tmp_path: Path) -> None:
    make_fraud_model(tmp_path, SMALL, FEW)
    assert (tmp_path / "model.onnx").read_bytes() == (made / "model.onnx").read_bytes()


def test_another_seed_makes_another_model(made: Path, tmp_path: Path) -> None:
    make_fraud_model(tmp_path, replace(SMALL, seed=6), FEW)
    assert (tmp_path / "model.onnx").read_bytes() != (made / "model.onnx").read_bytes()


def test_a_model_that_was_made_serves_the_pipeline(made: Path) -> None:
    plan = compile_plan(pipeline)
    scorer = Scorer(made, plan.feature_names, plan.fingerprint)
    manifest = scorer.model.manifest
    assert (scorer.name, scorer.version) == ("fraud", "1")
    assert manifest.training.seed == SMALL.seed
    assert 0 < manifest.training.positives < manifest.training.rows
    assert manifest.metrics["auc"] > 0.6


def test_making_the_same_model_again_leaves_its_folder_as_it_is(made: Path) -> None:
    before = read_manifest(made)
    content = (made / "model.onnx").read_bytes()
    later = msgspec.structs.replace(before, created="2031-01-01T00:00:00Z")
    assert write_model(made, content, later) is False
    assert read_manifest(made) == before


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
@pytest.mark.parametrize("damage", [None, b"", b"other"])
def test_a_damaged_folder_is_made_whole(
    made: Path, tmp_path: Path, name: str, damage: bytes | None
) -> None:
    manifest, content = read_manifest(made), (made / "model.onnx").read_bytes()
    write_model(tmp_path, content, manifest)
    (tmp_path / name).unlink()
    if damage is not None:
        (tmp_path / name).write_bytes(damage)
    assert write_model(tmp_path, content, manifest) is True
    assert read_manifest(tmp_path) == manifest
    assert sorted(each.name for each in tmp_path.iterdir()) == ["manifest.json", "model.onnx"]


def test_a_manifest_of_another_fingerprint_is_refreshed(made: Path, tmp_path: Path) -> None:
    manifest, content = read_manifest(made), (made / "model.onnx").read_bytes()
    stale = json.loads(encode_manifest(manifest)) | {"features_fingerprint": "stale"}
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / "manifest.json").write_text(json.dumps(stale))
    assert write_model(tmp_path, content, manifest) is True
    assert read_manifest(tmp_path).features_fingerprint == compile_plan(pipeline).fingerprint


def test_days_serve_one_purpose_each_and_labels_arrive_in_the_gap() -> None:
    split = split_world(SMALL, FEW)
    assert sorted(set(split.train.day.tolist())) == list(range(4, 14))
    assert sorted(set(split.tune.day.tolist())) == list(range(21, 25))
    assert sorted(set(split.test.day.tolist())) == list(range(25, 29))


@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=300),
    review=st.floats(0, 1),
    decline=st.floats(0, 1),
)
def test_thresholds_keep_within_the_alert_budget(
    values: list[float], review: float, decline: float
) -> None:
    budget = AlertBudget(review=review, decline=min(review, decline))
    scores = np.array(values, np.float32)
    thresholds = choose_thresholds(scores, budget)
    below_one = scores < 1  # a threshold is at most 1: certain frauds are stopped anyhow
    for name in ("review", "decline"):
        stopped = (scores >= np.float32(getattr(thresholds, name))) & below_one
        assert stopped.sum() <= getattr(budget, name) * len(scores)


def test_thresholds_use_the_budget_up() -> None:
    scores = np.linspace(0, 1, 10_001, dtype=np.float32)
    thresholds = choose_thresholds(scores, AlertBudget(review=0.1, decline=0.01))
    assert (scores >= np.float32(thresholds.review)).sum() == 1_000
    assert (scores >= np.float32(thresholds.decline)).sum() == 100


def stopped_rows(many: int) -> tuple[NDArray[np.float32], Rows]:
    """Return scores and rows: by score ten payments of one tested card, then of each customer
    one; every second of these is a fraud from number `many` on, all before it."""
    customer = np.array([0] * 10 + list(range(1, 101)))
    truth = np.array([True] * 10 + [at < many or at % 2 == 0 for at in range(100)])
    scores = np.linspace(0.9, 0.1, len(customer)).astype(np.float32)
    return scores, Rows(np.zeros((110, 1), np.float32), truth, np.zeros(110, np.int64), customer)


def test_thresholds_are_the_lowest_at_which_so_many_customers_are_stopped_rightly() -> None:
    scores, rows = stopped_rows(40)
    found = choose_by_precision(scores, rows, AlertGoals(review=0.5, decline=0.92))
    assert found.review == 0.0  # all of them together are right often enough
    assert customer_precision(scores, rows, found.decline) >= 0.92
    lower = scores[scores < np.float32(found.decline)]
    assert all(customer_precision(scores, rows, float(score)) < 0.92 for score in lower)
    # The ten payments of the tested card are one right answer, not ten.
    assert customer_precision(scores, rows, float(scores[10 + 42])) == 43 / 44


def test_where_no_threshold_is_right_often_enough_nothing_is_declined() -> None:
    scores, rows = stopped_rows(0)
    found = choose_by_precision(scores, rows, AlertGoals(review=0.4, decline=0.99))
    assert found.decline == 1.0
    assert found.review < 0.2


def test_equal_scores_are_stopped_together_or_not_at_all() -> None:
    _, rows = stopped_rows(100)
    scores = np.full(110, 0.5, np.float32)
    rows.truth[60:] = False
    assert choose_by_precision(scores, rows, AlertGoals(review=0.9, decline=0.9)).review == 1.0
    assert choose_by_precision(scores, rows, AlertGoals(review=0.5, decline=0.9)).review == 0.0


def test_a_larger_payment_alone_never_lowers_the_score(made: Path) -> None:
    plan = compile_plan(pipeline)
    scorer = Scorer(made, plan.feature_names, plan.fingerprint)
    matrix = split_world(SMALL, FEW).test.matrix[:300].astype(np.float64)
    amounts = [plan.feature_names.index(name) for name in RISING]
    before = scorer.score(matrix)
    for cents in (0.5, 3.0, 40.0, 900.0):
        matrix[:, amounts] += cents
        after = scorer.score(matrix)
        assert (after >= before).all()
        before = after


def test_figures_are_those_of_a_case_worked_out_by_hand() -> None:
    rows = Rows(
        matrix=np.zeros((4, 1), np.float32),
        truth=np.array([True, False, True, False]),
        day=np.array([0, 0, 1, 1]),
        customer=np.array([1, 2, 1, 2]),
    )
    scores = np.array([0.9, 0.8, 0.3, 0.1], np.float32)
    figures = measure(scores, rows, Thresholds(review=0.5, decline=0.85))
    assert figures == {
        "auc": 0.75,
        "average_precision": 0.8333,  # (1 + 2/3) / 2
        "card_precision_100": 0.5,
        "review_share": 0.5,
        "review_precision": 0.5,
        "review_recall": 0.5,
        "decline_share": 0.25,
        "decline_precision": 1.0,
        "decline_recall": 0.5,
    }


def test_card_precision_is_of_the_customers_with_the_highest_scores_of_each_day() -> None:
    rows = Rows(
        matrix=np.zeros((6, 1), np.float32),
        truth=np.array([False, True, False, True, False, False]),
        day=np.array([0, 0, 0, 0, 1, 1]),
        customer=np.array([1, 1, 2, 3, 1, 2]),
    )
    # Day 0: customer 1 has the fraud and, on another payment, the highest score; 3 the lowest.
    scores = np.array([0.9, 0.2, 0.5, 0.1, 0.4, 0.3], np.float32)
    assert card_precision(scores, rows, 1) == 0.5
    assert card_precision(scores, rows, 3) == pytest.approx((2 / 3 + 0) / 2)


def test_rows_of_one_class_are_refused() -> None:
    rows = Rows(
        np.zeros((5, 2), np.float32), np.zeros(5, np.bool_), np.zeros(5, int), np.zeros(5, int)
    )
    with pytest.raises(ConfigError) as caught:
        fit_trees(rows)
    assert caught.value.code == "rows_of_one_class"


def test_the_command_writes_where_it_is_told_and_says_so(tmp_path: Path) -> None:
    small = ["--customers", "150", "--terminals", "100", "--seed", "3", "--out"]
    result = CliRunner().invoke(command, [*small, str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}: written, sha256 {read_manifest(tmp_path).sha256}" in result.output


def test_models_for_benchmarks_serve_the_pipeline(tmp_path: Path) -> None:
    models = build_bench_models(tmp_path, SMALL, FEW)
    plan = compile_plan(pipeline)
    matrix = split_world(SMALL, FEW).test.matrix[:500]
    for folder, name in ((models.trees, "fraud-trees"), (models.network, "fraud-mlp")):
        scorer = Scorer(folder, plan.feature_names, plan.fingerprint)
        assert scorer.name == name
        alone = np.concatenate([scorer.score(row[None, :]) for row in matrix])
        assert alone.tobytes() == scorer.score(matrix).tobytes()
        assert len(np.unique(alone)) > 20
