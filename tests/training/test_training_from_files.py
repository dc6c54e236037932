"""`train` and `evaluate` from files to figures, on generated payments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stream_infer.cli import main
from stream_infer.optimizing.reading import read_model
from stream_infer.scoring.model import load_model
from stream_infer.training import averaging, candidates, distilling
from stream_infer.training.distilling import hidden_sizes
from support.payments import DAYS, FIELDS, write_payments


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_payments(tmp_path_factory.mktemp("payments"))


@pytest.fixture(autouse=True)
def _small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"trees": 10, "leaves": 7, "rate": 0.2, "inputs": 0.5, "weight": 1}
    monkeypatch.setitem(candidates.DECLARED, "trees", (few,))
    monkeypatch.setitem(candidates.DECLARED, "logistic", candidates.DECLARED["logistic"][:1])


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in (*words, "--json")])
    code = ended.value.code
    assert isinstance(code, int)
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, said


def train(
    capsys: pytest.CaptureFixture[str], data: Path, out: Path, *more: object
) -> tuple[int, dict[str, Any]]:
    given = ("--data", data, "--fields", FIELDS, "--labels", "bad", *DAYS, "--out", out)
    return run(capsys, "train", "fraud", *given, "--kinds", "trees,logistic", *more)


def test_a_model_is_made_the_same_twice_and_measured_the_same_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = train(capsys, data, tmp_path / "one", "--registry", tmp_path / "registry")
    assert code == 0
    assert said["auc"] > 0.7
    assert said["parity"]["flips"] == said["parity"]["boundary_flips"] == 0
    assert {each["kind"] for each in said["tried"]} == {"trees", "logistic"}
    assert all(fold["test"] <= "2026-01-22..2026-01-28" for fold in said["folds"])
    assert said["published"]["version"] == "1"

    _, again = train(capsys, data, tmp_path / "two")
    assert again["sha256"] == said["sha256"]
    assert again["training"]["digest"] == said["training"]["digest"]

    folder = Path(said["folder"])
    manifest = load_model(folder).manifest
    assert manifest.training.digest == said["training"]["digest"]
    assert manifest.calibration is not None
    assert manifest.reference is not None
    assert manifest.protocol["train"] == "2026-01-22..2026-01-28"
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert json.loads((folder / "report.json").read_text())["sha256"] == said["sha256"]

    given = ("--data", data, "--fields", FIELDS, "--labels", "bad", *DAYS)
    code, measured = run(capsys, "evaluate", folder, *given, "--report", tmp_path / "page.html")
    assert code == 0
    for name in ("auc", "average_precision", "card_precision_100"):
        assert measured[name] == said[name]
    assert "<svg" in (tmp_path / "page.html").read_text()
    _, kept = run(
        capsys, "evaluate", "fraud-history@1", "--registry", tmp_path / "registry", *given
    )
    assert kept["auc"] == said["auc"]


def test_a_small_network_may_be_written_in_place_of_the_model_it_imitates(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = train(capsys, data, tmp_path, "--distil", "--kinds", "trees", "--precision", "0.6")
    assert code == 0
    assert said["kind"] == "mlp imitating trees"
    assert said["teacher"]["auc"] > 0.7
    assert abs(said["auc"] - said["teacher"]["auc"]) < 0.1
    assert "60%" in said["thresholds"]["chosen"]


def test_the_mean_of_several_networks_may_be_written_in_place_of_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distilling, "FULL_PACE_EPOCHS", 6)
    monkeypatch.setattr(distilling, "FINE_TUNING_EPOCHS", 2)
    monkeypatch.setattr(averaging, "HIDDEN", (8, 5))
    given = ("--distil", "--kinds", "trees")
    _, one = train(capsys, data, tmp_path / "one", *given)
    _, also_one = train(capsys, data, tmp_path / "also-one", *given, "--networks", "1")
    assert also_one["sha256"] == one["sha256"]
    code, said = train(capsys, data, tmp_path / "three", *given, "--networks", "3")
    assert code == 0
    assert said["kind"] == "mean of 3 mlp imitating trees"
    assert said["teacher"] == one["teacher"]
    assert abs(said["auc"] - said["teacher"]["auc"]) < 0.1
    read = read_model((Path(said["folder"]) / "model.onnx").read_bytes()).network
    assert read is not None
    assert hidden_sizes(read) == (24, 15)
    # The blocks of the layer between: no network listens to another one's neurons.
    assert np.count_nonzero(read.layers[1][0]) == 3 * 8 * 5


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"--test": "2026-01-29..2026-01-30"}, "test_before_labels", "2026-01-31"),
        ({"--train": "2025-01-22..2025-01-28"}, "no_rows", "days"),
        ({"--labels": "nothing"}, "labels_unknown", "bad"),
        ({"--labels": "value"}, "label_format", "true"),
        ({"--fields": "transaction_id=id"}, "column_missing", "--fields"),
        ({"--data": "gone.parquet"}, "file_missing", "path"),
        ({"--pipeline": "traffic"}, "pipeline_without_labels", "pipeline"),
        ({"--budget": "2"}, "no_share", "between"),
        ({"--budget": "0.1", "--precision": "0.5"}, "two_aims", "one"),
        ({"--kinds": "oracle"}, "usage", "trees"),
        ({"--networks": "3"}, "networks_without_distil", "--distil"),
        ({"--networks": "6"}, "usage", "1<=x<=5"),
        ({"--rising": "TX_AMOUNT"}, "kind_not_rising", "--kinds"),
        ({"--rising": "SIZE", "--kinds": "trees"}, "feature_unknown", "TX_AMOUNT"),
    ],
)
def test_what_cannot_be_trained_is_named_with_its_cure(
    changed: dict[str, str],
    code: str,
    words: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exit_code, said = train(
        capsys, data, tmp_path, *(word for pair in changed.items() for word in pair)
    )
    error = said["error"]
    assert exit_code > 0
    assert error["code"] == code
    assert words in error["fix"] + error["message"]
    assert not list(tmp_path.iterdir())


def test_training_days_without_a_fraud_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = tmp_path / "honest.parquet"
    pl.read_parquet(data).with_columns(pl.lit(0).alias("bad")).write_parquet(honest)
    _, said = train(capsys, honest, tmp_path / "out")
    assert said["error"]["code"] == "one_class"
    assert "positive" in said["error"]["message"]


def test_labels_from_a_file_count_from_when_they_were_known(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = pl.read_parquet(data).select(
        transaction_id="id",
        event_time="at",
        customer_id="who",
        terminal_id="where",
        is_fraud="bad",
        label_time=pl.col("at") + 2 * 86_400_000,
    )  # fmt: skip
    path = tmp_path / "labels.jsonl"
    labels.with_columns(
        pl.col("transaction_id", "customer_id", "terminal_id").cast(pl.String)
    ).write_ndjson(path)
    _, by_file = train(capsys, data, tmp_path / "a", "--labels", path)
    _, by_column = train(capsys, data, tmp_path / "b")
    assert by_file["training"]["digest"] == by_column["training"]["digest"]
    assert by_file["auc"] == by_column["auc"]

    labels.filter(pl.col("is_fraud")).write_parquet(tmp_path / "frauds.parquet")
    _, only_frauds = train(capsys, data, tmp_path / "c", "--labels", tmp_path / "frauds.parquet")
    assert only_frauds["data"]["unlabelled"] > 0
    assert only_frauds["training"]["positives"] == by_file["training"]["positives"]
