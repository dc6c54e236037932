"""A bare ONNX file serves when it fits the pipeline's features in number, and says which it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.features.plan import compile_plan
from stream_infer.models.adopt import adopt_model
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import Thresholds
from stream_infer.scoring.session import Scorer
from support.commands import run_command
from support.onnx_models import logistic_model

PLAN = compile_plan(pipeline)
WIDTH = len(PLAN.feature_names)
THRESHOLDS = Thresholds(review=0.25, decline=0.75)


def file_of(folder: Path, width: int = WIDTH, name: str = "My Model.onnx") -> Path:
    path = folder / name
    path.write_bytes(logistic_model(weights=np.full((width, 1), 0.01, np.float32)))
    return path


def test_it_scores_with_the_thresholds_of_the_settings(tmp_path: Path) -> None:
    model = adopt_model(file_of(tmp_path), pipeline, THRESHOLDS)
    scorer = Scorer(model, PLAN.feature_names, PLAN.fingerprint)
    scores = scorer.score(np.zeros((2, WIDTH)))
    assert scores.tolist() == [0.5, 0.5]
    assert scorer.decisions(scores) == ["review", "review"]
    assert scorer.name == "my-model"
    assert model.thresholds == THRESHOLDS


def test_its_version_is_another_when_its_content_is(tmp_path: Path) -> None:
    one = adopt_model(file_of(tmp_path), pipeline, THRESHOLDS)
    again = adopt_model(file_of(tmp_path, name="other.onnx"), pipeline, THRESHOLDS)
    content = logistic_model(weights=np.full((WIDTH, 1), 0.02, np.float32))
    (tmp_path / "new.onnx").write_bytes(content)
    new = adopt_model(tmp_path / "new.onnx", pipeline, THRESHOLDS)
    assert one.version == again.version != new.version


def test_another_number_of_columns_is_refused_with_the_features_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError) as raised:
        adopt_model(file_of(tmp_path, 3), pipeline, THRESHOLDS)
    assert raised.value.code == "model_inputs_differ"
    assert "TX_AMOUNT, TX_DURING_WEEKEND" in raised.value.message
    assert f"(rows, {WIDTH})" in raised.value.fix


def test_what_is_no_model_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InvalidDataError, match="no ONNX model"):
        adopt_model(tmp_path / "text.onnx", pipeline, THRESHOLDS)
    with pytest.raises(NotFoundError):
        adopt_model(tmp_path / "none.onnx", pipeline, THRESHOLDS)


def test_thresholds_in_the_wrong_order_are_a_wrong_setting(tmp_path: Path) -> None:
    config = tmp_path / "stream-infer.toml"
    file_of(tmp_path)
    config.write_text('[model]\npath = "My Model.onnx"\nreview = 0.9\ndecline = 0.5\n')
    options = ("--config", config, "--bootstrap", "127.0.0.1:1", "--json")
    checks = {c["name"]: c for c in run_command("check", "fraud", *options).json["checks"]}
    assert checks["model"]["status"] == "failed"
    assert "model.review" in checks["model"]["detail"]


def test_a_folder_with_a_manifest_serves_as_its_manifest_says(tmp_path: Path) -> None:
    config, shipped = tmp_path / "stream-infer.toml", ready_model_dir("fraud")
    config.write_text(f'[model]\npath = "{shipped}"\nreview = 0.9\n')
    options = ("--config", config, "--bootstrap", "127.0.0.1:1", "--json")
    checks = {c["name"]: c for c in run_command("check", "fraud", *options).json["checks"]}
    assert checks["model"]["detail"] == f"fraud version {shipped.name} fits and scored one event."
