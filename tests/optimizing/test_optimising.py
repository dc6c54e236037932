"""From a model to judged candidates: what applies, what decides, and the same bytes again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_infer.errors import InvalidDataError, UsageError
from stream_infer.optimizing import optimising
from stream_infer.optimizing.material import validation_rows
from stream_infer.optimizing.optimising import Optimised, Request, optimise
from stream_infer.optimizing.recipes import RECIPES, chosen_recipes
from stream_infer.optimizing.report import optimising_report, report_page
from stream_infer.optimizing.verdicts import Tolerance
from stream_infer.scoring.model import load_model
from stream_infer.training import distilling
from stream_infer.training.days import DayRange, Protocol
from stream_infer.training.samples import Samples
from support.onnx_models import logistic_model
from support.optimizing import fitted, graph_of, payments, written

PROTOCOL = Protocol(DayRange(20, 26), DayRange(29, 35), 2 * 86_400_000)
LENIENT = Tolerance(drop_max=0.2, flips_max=0.9, gain_min=0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimising, "ROUNDS", 3)
    monkeypatch.setattr(distilling, "FULL_PACE_EPOCHS", 6)
    monkeypatch.setattr(distilling, "FINE_TUNING_EPOCHS", 3)


@pytest.fixture(scope="module")
def rows() -> Samples:
    return payments(a_day=160)


def optimised(
    folder: Path, rows: Samples, kind: str, *only: str, tolerance: Tolerance = LENIENT
) -> Optimised:
    train = rows.take(PROTOCOL.train.holds(rows.day))
    content = logistic_model() if kind == "foreign" else graph_of(*fitted(kind, train))
    model = load_model(written(folder / kind, content))
    request = Request(protocol=PROTOCOL, tolerance=tolerance, only=only or None)
    return optimise(content, model, rows, request, lambda text: None)


def test_trees_are_cut_fitted_anew_and_imitated_and_neurons_have_nothing_to_do(
    tmp_path: Path, rows: Samples
) -> None:
    made = optimised(tmp_path, rows, "trees")
    said = optimising_report(made)
    by_name = {each["name"]: each for each in said["candidates"]}
    assert set(by_name) == {recipe.name for recipe in RECIPES}
    for name in ("dynamic-int8", "static-int8", "half-neurons", "refitted-forest"):
        assert not by_name[name]["applies"]
        assert by_name[name]["verdict"] == "don't"
        assert by_name[name]["reasons"][0].startswith("does not apply")
    assert "half-neurons does not apply" in by_name["half-neurons+static-int8"]["reasons"][0]

    shape, original = {n: e.get("shape") for n, e in by_name.items()}, said["original"]["shape"]
    assert shape["half-trees"]["trees"] == original["trees"] // 2
    assert shape["quarter-trees"]["trees"] == original["trees"] // 4
    assert 0.4 * original["leaves"] < shape["half-leaves"]["leaves"] <= original["leaves"] // 2
    assert shape["shallow-trees"]["depth"] < original["depth"]
    assert shape["distilled"] == {"neurons": [64, 32]}
    assert shape["distilled+half-neurons"] == {"neurons": [32, 16]}
    for name in ("half-trees", "half-leaves", "shallow-trees", "distilled-small"):
        assert by_name[name]["bytes"] < said["original"]["bytes"] or name == "distilled-small"
        assert by_name[name]["parity"]["flips"] == 0
        assert by_name[name]["parity"]["boundary_flips"] == 0
    assert by_name["distilled+static-int8"]["speedup_over_float"] is not None

    assert said["original"]["speedup"] == 1
    assert said["original"]["validation"]["flips"]["flips"] == 0
    assert said["original"]["test"]["average_precision_drop"]["high"] == 0
    assert set(said["pareto"]) <= {"original", *by_name}
    assert said["recommended"] in said["adopted"]
    page = report_page(said)
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_network_loses_neurons_and_bits_and_has_no_trees_to_cut(
    tmp_path: Path, rows: Samples
) -> None:
    made = optimised(
        tmp_path, rows, "mlp", "half-neurons+static-int8", "dynamic-int8", "half-leaves",
        "distilled-log", "distilled", "distilled-small",
    )  # fmt: skip
    said = {each["name"]: each for each in optimising_report(made)["candidates"]}
    assert said["half-neurons"]["shape"] == {"neurons": [32, 16]}
    assert said["half-neurons+static-int8"]["made_of"] == "half-neurons"
    assert "layers, not of trees" in said["half-leaves"]["reasons"][0]
    assert "as small as this already" in said["distilled-log"]["reasons"][0]
    assert said["distilled"]["shape"] == {"neurons": [64, 32]}  # its inputs are cheaper
    assert said["distilled-small"]["shape"] == {"neurons": [32, 16]}
    over = said["dynamic-int8"]["speedup_over_float"]
    assert over == pytest.approx(said["dynamic-int8"]["speedup"])
    if over < 1.01:
        assert said["dynamic-int8"]["verdict"] == "don't"


def test_verdicts_and_choice_come_from_the_validation_days_whatever_the_test_days_say(
    tmp_path: Path, rows: Samples
) -> None:
    truth = rows.truth.copy()
    test = PROTOCOL.test.holds(rows.day)
    truth[test] = np.random.default_rng(0).random(int(test.sum())) < 0.1
    broken = Samples(rows.matrix, truth, rows.known_at, rows.time, rows.customer)
    only = ("half-trees", "half-leaves", "distilled")
    one, two = (optimised(tmp_path, each, "trees", *only) for each in (rows, broken))
    for a, b in zip(one.candidates, two.candidates, strict=True):
        assert a.measured is not None
        assert b.measured is not None
        assert a.measured.draft.content == b.measured.draft.content
        assert a.measured.validation == b.measured.validation
        assert a.measured.test.figures != b.measured.test.figures
        assert a.verdict.adopt == b.verdict.adopt


def test_the_same_data_and_seed_give_the_same_bytes(tmp_path: Path, rows: Samples) -> None:
    only = ("quarter-leaves", "distilled-augmented", "distilled+static-int8", "half-trees")
    one, two = (optimised(tmp_path, rows, "trees", *only) for _ in range(2))
    sums = [
        {c.recipe.name: c.measured.manifest.sha256 for c in each.candidates if c.measured}
        for each in (one, two)
    ]
    assert sums[0] == sums[1]
    assert len(set(sums[0].values())) == len(one.candidates)


def test_nothing_is_recommended_where_nothing_keeps_the_tolerance(
    tmp_path: Path, rows: Samples
) -> None:
    strict = Tolerance(drop_max=-1.0)
    made = optimised(tmp_path, rows, "trees", "half-trees", tolerance=strict)
    assert made.recommended is None
    assert optimising_report(made)["adopted"] == []
    assert "nothing qualifies" in report_page(optimising_report(made))


def test_validation_days_lie_before_the_training_days_and_are_not_learnt_from(
    rows: Samples,
) -> None:
    folds, chosen, unseen = validation_rows(rows, PROTOCOL, keep_known=True)
    assert unseen
    assert [str(fold.test) for fold in folds] == ["1970-01-14..1970-01-20"]
    assert set(chosen.day.tolist()) == set(range(13, 20))


def test_data_that_begin_with_the_training_are_validated_inside_of_it_and_it_is_said(
    rows: Samples,
) -> None:
    late = rows.take(rows.day >= 20)
    _, chosen, unseen = validation_rows(late, PROTOCOL, keep_known=True)
    assert not unseen
    assert PROTOCOL.train.holds(chosen.day).all()


def test_days_without_labels_are_named(tmp_path: Path, rows: Samples) -> None:
    none = Samples(
        rows.matrix, np.zeros(len(rows), np.bool_), rows.known_at, rows.time, rows.customer
    )
    content = graph_of(*fitted("trees", rows))
    model = load_model(written(tmp_path, content))
    with pytest.raises(InvalidDataError) as raised:
        optimise(content, model, none, Request(protocol=PROTOCOL), lambda text: None)
    assert raised.value.code == "one_class"
    assert "--labels" in raised.value.fix


def test_a_candidate_brings_those_it_is_made_of() -> None:
    names = [recipe.name for recipe in chosen_recipes(("distilled+half-neurons+static-int8",))]
    assert names == ["distilled", "distilled+half-neurons", "distilled+half-neurons+static-int8"]
    with pytest.raises(UsageError, match="magic"):
        chosen_recipes(("magic",))
