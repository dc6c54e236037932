"""A model's folder is written whole, and left alone where nothing changed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_infer.features.plan import compile_plan
from stream_infer.models.bench_models import build_bench_models, world_samples
from stream_infer.models.writing import write_model
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import encode_manifest, read_manifest
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import World

SMALL = World(seed=5, customers=250, terminals=120, terminals_lost=0.002, cards_lost=0.002, days=75)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    build_bench_models(folder, SMALL)
    return folder


@pytest.fixture
def made(bench: Path) -> Path:
    return bench / "fraud-trees" / "1"


def test_models_for_benchmarks_serve_the_pipeline(bench: Path) -> None:
    plan = compile_plan(pipeline)
    matrix = world_samples(SMALL).matrix[-500:]
    for name in ("fraud-trees", "fraud-mlp"):
        scorer = Scorer(bench / name / "1", plan.feature_names, plan.fingerprint)
        assert scorer.name == name
        alone = np.concatenate([scorer.score(row[None, :]) for row in matrix])
        assert alone.tobytes() == scorer.score(matrix).tobytes()
        assert len(np.unique(alone)) > 20


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
