"""`check` and `config check` load the model that a worker would serve, as it would; no Kafka."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from stream_infer.models.ready import ready_model_dir
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import read_manifest
from support.commands import run_command

NOWHERE = ("--bootstrap", "127.0.0.1:1", "--json")
SHOP = """\
import dataclasses
from stream_infer.pipelines.fraud import pipeline as fraud

pipeline = dataclasses.replace(fraud, name="shop", model="shop")
"""


def model_of(*words: object) -> dict[str, Any]:
    checks = run_command("check", *words, *NOWHERE).json["checks"]
    [found] = [check for check in checks if check["name"] == "model"]
    return dict(found)


def shop(folder: Path) -> Path:
    """Write a pipeline whose model does not ship, and a registry with a champion of that name."""
    file = folder / "shop.py"
    file.write_text(SHOP)
    shipped = ready_model_dir("fraud")
    manifest = msgspec.structs.replace(read_manifest(shipped), name="shop", version="7")
    registry = Registry.open(folder / "registry")
    registry.publish((shipped / "model.onnx").read_bytes(), manifest)
    registry.promote("shop", "7")
    return file


def test_a_model_of_forecasts_is_judged_by_what_it_is_bound_to() -> None:
    found = model_of("traffic")
    assert found["status"] == "ok", found
    assert "judged one event" in found["detail"]


def test_the_champion_of_a_registry_is_what_is_loaded(tmp_path: Path) -> None:
    file = shop(tmp_path)
    config = tmp_path / "stream-infer.toml"
    config.write_text('[model]\nregistry = "registry"\n')
    found = model_of(file, "--config", config)
    assert found["status"] == "ok", found
    assert found["detail"].startswith("shop version 7")
    shutil.rmtree(tmp_path / "registry/shop/7")
    assert model_of(file, "--config", config)["status"] == "failed"


def test_a_provider_that_cannot_be_fails_the_check(tmp_path: Path) -> None:
    config = tmp_path / "stream-infer.toml"
    config.write_text('[model]\nproviders = ["abacus"]\n')
    found = model_of("fraud", "--config", config)
    assert found["status"] == "failed"
    assert "'abacus'" in found["detail"]
    assert "cpu" in found["fix"]
