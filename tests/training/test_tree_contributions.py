"""Contributions by the trees themselves, and how told reasons agree with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.alerts.spec import Alerts, Reason, UsualConstant
from stream_infer.errors import GateFailedError, InvalidDataError
from stream_infer.simulators.fraud import World
from stream_infer.training import candidates, contributions
from stream_infer.training.contributions import (
    TreeContributions,
    rank_agreement,
    reason_agreement,
    tree_contributions,
)
from support.commands import run_command
from support.payments import DAYS, FIELDS, write_payments

NAMES = ("amount", "count", "risk", "noise")


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(2).gamma(2.0, 1.0, (4_000, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def booster(rows: NDArray[np.float32]) -> lightgbm.Booster:
    truth = (rows[:, 0] + 0.5 * rows[:, 1] + 2 * rows[:, 2] > 9).astype(np.int8)
    parameters = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, truth), num_boost_round=20)


def test_base_and_contributions_are_the_raw_score(
    booster: lightgbm.Booster, rows: NDArray[np.float32]
) -> None:
    found = tree_contributions(booster.model_to_string(), rows[:200])
    assert found.values.shape == (200, 4)
    assert found.sum_error <= 1e-6
    raw = booster.predict(rows[:200], raw_score=True)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), raw, atol=1e-6)
    assert np.abs(found.values[:, 2]).mean() > np.abs(found.values[:, 3]).mean() * 5


def test_contributions_that_do_not_add_up_are_refused(
    booster: lightgbm.Booster, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = TreeContributions(np.zeros(1), np.ones((1, 4)), np.full(1, 4.0 + 2e-6))
    assert found.sum_error > contributions.SUM_DIFFERENCE_MAX
    monkeypatch.setattr(contributions, "SUM_DIFFERENCE_MAX", -1.0)
    with pytest.raises(GateFailedError, match="apart"):
        tree_contributions(booster.model_to_string(), rows[:5])


def test_trees_of_another_model_are_named(
    booster: lightgbm.Booster, rows: NDArray[np.float32]
) -> None:
    with pytest.raises(InvalidDataError) as other:
        tree_contributions(booster.model_to_string(), rows[:5, :3])
    assert other.value.code == "booster_of_other_features"
    with pytest.raises(InvalidDataError) as broken:
        tree_contributions("no trees", rows[:5])
    assert broken.value.code == "booster_unreadable"


def test_ranks_are_compared_row_by_row() -> None:
    one = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    two = np.array([[9.0, 8.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    said = rank_agreement(one, two)
    # The second row tells nothing apart by the first method: it has no rank correlation.
    assert said["spearman"] == pytest.approx(0.8)
    assert said["kendall"] == pytest.approx(0.6667, abs=1e-4)
    assert said["top_1"] == 0.5
    assert rank_agreement(one[:0], two[:0])["spearman"] is None


def test_reasons_that_follow_the_trees_agree_with_them(
    booster: lightgbm.Booster, rows: NDArray[np.float32]
) -> None:
    def score(matrix: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(booster.predict(matrix), np.float32)

    alerts = Alerts(
        topic="a",
        kinds=(),
        usual={"risk": UsualConstant(value=1.0), "amount": UsualConstant(value=1.0)},
        reasons=(Reason(feature="risk"), Reason(feature="amount", along=("count",))),
    )
    text = booster.model_to_string()
    said = reason_agreement(text, alerts, NAMES, rows, score(rows), score, 0.5)
    assert said["rows"] > 50
    assert said["sum_error_max"] <= 1e-6
    assert said["score_and_raw_score"] > 0.99
    assert said["by_feature"]["spearman"] > 0.5
    assert said["by_feature"]["top_3"] > 0.7
    assert said["by_reason"]["top_1"] > 0.7
    by_nobody = reason_agreement(text, None, NAMES, rows, score(rows), score, 0.5)
    assert "by_reason" not in by_nobody
    assert reason_agreement(text, alerts, NAMES, rows, score(rows), score, 1.1) == {"rows": 0}


def test_training_keeps_the_trees_and_evaluating_says_the_same_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"trees": 10, "leaves": 7, "rate": 0.2, "inputs": 0.5, "weight": 1}
    monkeypatch.setitem(candidates.DECLARED, "trees", (few,))
    world = World(seed=3, customers=200, terminals=200, days=34, accounts_lost=0.003)
    data = write_payments(tmp_path, world)
    given = ("--data", data, "--fields", FIELDS, "--labels", "bad", *DAYS, "--json")
    registry = tmp_path / "registry"
    out = ("--out", tmp_path / "models", "--registry", registry)
    ran = run_command("train", "fraud", *given, "--kinds", "trees", "--budget", "0.2", *out)
    assert ran.code == 0, ran.out + ran.err
    said = ran.json["reasons"]
    assert said["trees_of"] == "the model"
    assert said["rows"] > 10
    assert said["sum_error_max"] <= 1e-6
    assert said["score_and_raw_score"] == pytest.approx(1.0, abs=0.01)
    for name in ("by_feature", "by_reason"):
        assert -1 <= said[name]["spearman"] <= 1
    folder = Path(ran.json["folder"])
    assert "baseline substitution beside tree contributions" in (folder / "report.html").read_text()
    again = run_command("evaluate", folder, *given).json["reasons"]
    of_registry = run_command("evaluate", "fraud-history@1", "--registry", registry, *given).json[
        "reasons"
    ]
    for each in (again, of_registry):
        assert each["by_feature"] == said["by_feature"]
        assert each["by_reason"] == said["by_reason"]
