"""``stream-infer optimize`` from files to a challenger, on generated payments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from stream_infer.registry.registry import Registry
from stream_infer.scoring.model import load_model
from stream_infer.training import candidates
from support.commands import Ran, run_command
from support.onnx_models import write_model
from support.payments import DAYS, FIELDS, write_payments

LENIENT = ("--drop-max", "0.5", "--flips-max", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_payments(tmp_path_factory.mktemp("payments"))


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of trees by the command itself, published as version 1 and champion."""
    folder = tmp_path_factory.mktemp("trained")
    few = {"trees": 12, "leaves": 7, "rate": 0.2, "inputs": 0.5, "weight": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(candidates.DECLARED, "trees", (few,))
        ran = run_command(
            "train", "fraud", "--data", data, "--fields", FIELDS, "--labels", "bad", *DAYS,
            "--kinds", "trees", "--out", folder, "--registry", folder / "registry", "--json",
        )  # fmt: skip
    assert ran.code == 0, ran.out
    Registry.open(folder / "registry").promote("fraud-history", "1", why="a test")
    made: str = ran.json["folder"]
    return Path(made)


def optimize(model: object, data: Path, out: Path, *more: object, days: bool = False) -> Ran:
    given = ("--data", data, "--fields", FIELDS, "--labels", "bad", "--out", out)
    return run_command("optimize", model, *given, *(DAYS if days else ("--delay", "2d")), *more)


def test_the_adopted_one_is_written_published_and_becomes_the_challenger(
    model: Path, data: Path, tmp_path: Path
) -> None:
    registry = model.parents[1] / "registry"
    ran = optimize(
        "fraud-history@champion", data, tmp_path / "out", "--registry", registry, "--publish",
        "--only", "half-leaves,half-trees", "--json", "--report", tmp_path / "page.html", *LENIENT,
    )  # fmt: skip
    assert ran.code == 0, ran.out
    said = ran.json
    assert said["days"]["train"] == "2026-01-22..2026-01-28"  # as the manifest says
    assert said["published"] == {
        "registry": str(registry), "version": "2", "alias": "challenger",
    }  # fmt: skip
    assert "making 1 of 2" in ran.err

    opened = Registry.open(registry)
    assert opened.standing("fraud-history").aliases["challenger"] == "2"
    assert opened.standing("fraud-history").champion == "1"
    manifest = opened.manifest("fraud-history", "2")
    assert manifest.parent == "1"
    assert manifest.protocol["made_by"].startswith(said["recommended"])
    assert (
        manifest.features_fingerprint == opened.manifest("fraud-history", "1").features_fingerprint
    )
    assert manifest.reference is not None
    assert said["recommended"] in opened.history("fraud-history")[-1].why
    assert json.loads(opened.attachment("fraud-history", "2", "optimize.json"))["model"]
    assert "<svg" in (tmp_path / "page.html").read_text()

    folder = load_model(said["folder"])
    assert folder.manifest.sha256 == said["sha256"] == manifest.sha256
    measured = run_command(
        "evaluate", said["folder"], "--data", data, "--fields", FIELDS, "--labels", "bad", *DAYS,
        "--json",
    ).json  # fmt: skip
    chosen = next(each for each in said["candidates"] if each["name"] == said["recommended"])
    assert measured["average_precision"] == chosen["test"]["average_precision"]


def test_a_person_gets_a_table_and_every_refusal_with_its_reason(
    model: Path, data: Path, tmp_path: Path
) -> None:
    ran = optimize(model, data, tmp_path / "out", "--only", "half-leaves,dynamic-int8", *LENIENT)
    assert ran.code == 0, ran.err
    assert "half-leaves" in ran.out
    assert "adopt" in ran.out
    assert "dynamic-int8: does not apply: its graph has no matrix product" in ran.err


def test_where_nothing_qualifies_nothing_is_written_and_the_exit_code_is_6(
    model: Path, data: Path, tmp_path: Path
) -> None:
    ran = optimize(model, data, tmp_path / "out", "--only", "dynamic-int8", "--json")
    assert ran.code == 6
    assert ran.json["recommended"] is None
    assert not (tmp_path / "out").exists()


WRONG: dict[str, tuple[tuple[object, ...], int, str, str]] = {
    "publish": (("--publish",), 2, "registry_missing", "--registry"),
    "only": (("--only", "magic"), 2, "unknown_candidate", "distilled"),
    "labels": (("--labels", "nothing"), 2, "labels_unknown", "bad"),
    "days": (("--test", "2026-01-29..2026-01-30"), 2, "test_before_labels", "2026-01-31"),
    "pipeline": (("--pipeline", "fraud"), 4, "features_differ", "Train the model again"),
    "data": (("--data", "gone.parquet"), 3, "file_missing", "path"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_cannot_be_done_is_named_with_its_cure(
    case: str, model: Path, data: Path, tmp_path: Path
) -> None:
    words, code, error, cure = WRONG[case]
    ran = optimize(model, data, tmp_path / "out", *words, "--json")
    assert ran.code == code
    said: dict[str, Any] = ran.json["error"]
    assert said["code"] == error
    assert cure in said["fix"]
    assert not (tmp_path / "out").exists()


def test_a_registry_that_cannot_be_read_is_told_before_the_work(
    model: Path, data: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "registry" / "fraud-history" / "_history"
    broken.mkdir(parents=True)
    (broken / "0000000001.json").write_text("{")
    ran = optimize(
        model, data, tmp_path / "out", "--registry", tmp_path / "registry", "--publish", "--json"
    )
    assert ran.code == 5
    assert ran.json["error"]["code"] == "history_damaged"
    assert ran.err == ""


def test_models_that_cannot_be_optimised_are_named(model: Path, data: Path, tmp_path: Path) -> None:
    gone = optimize("models/gone", data, tmp_path / "out", "--json", days=True)
    assert gone.json["error"]["code"] == "model_not_found"
    unregistered = optimize("fraud-history@champion", data, tmp_path / "out", "--json", days=True)
    assert unregistered.json["error"]["code"] == "registry_missing"
    stranger = write_model(tmp_path / "stranger")
    unknown = optimize(stranger, data, tmp_path / "out", "--json", days=True)
    assert unknown.json["error"]["code"] == "pipeline_not_found"
    dayless = optimize(stranger, data, tmp_path / "out", "--json")
    assert dayless.json["error"]["code"] == "days_unknown"
    opset = tmp_path / "opset"
    content = (model / "model.onnx").read_bytes()
    later = write_model(opset, _with_opset(content, 99))
    assert optimize(later, data, tmp_path, "--json").json["error"]["code"] == (
        "model_opset_unsupported"
    )


def _with_opset(content: bytes, version: int) -> bytes:
    model = onnx.load_from_string(content)
    model.opset_import[0].version = version
    made: bytes = model.SerializeToString()
    return made
