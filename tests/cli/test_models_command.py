"""The life of a model from the command line: published, promoted, rolled back, cleared."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_infer.events.topic_names import models_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics
from stream_infer.registry.control_topic import read_told
from support.commands import Ran, run_command
from support.onnx_models import write_model
from support.pipelines import own_pipeline, written
from support.registries import model_content

Models = Callable[..., Ran]


@pytest.fixture
def models(tmp_path: Path) -> Models:
    registry = tmp_path / "registry"
    for version in ("1", "2"):
        write_model(tmp_path / version, model_content(int(version)), version=version)

    def run(what: str, *words: str) -> Ran:
        return run_command("models", what, *words, "--registry", str(registry))

    assert run("publish", str(tmp_path / "1")).code == 0
    assert run("publish", str(tmp_path / "2")).code == 0
    return run


def test_the_life_of_a_model(models: Models) -> None:
    assert models("promote", "tiny", "1", "--who", "ada", "--why", "the first").code == 0
    assert models("assign", "tiny", "challenger", "2", "--share", "0.05").code == 0
    assert models("promote", "tiny", "challenger", "--expect", "1").code == 0
    assert models("rollback", "tiny", "--why", "too many alerts").code == 0
    listed = models("list", "--json").json["versions"]
    assert [(each["version"], each["aliases"], each["barred"]) for each in listed] == [
        ("1", ["champion"], False),
        ("2", ["previous"], True),
    ]
    refused = models("promote", "tiny", "2")
    assert (refused.code, "barred" in refused.err) == (4, True)
    assert models("clear", "tiny", "2").code == 2
    assert models("clear", "tiny", "2", "--why", "the feed was broken").code == 0
    assert models("promote", "tiny", "2").code == 0
    told = models("history", "tiny", "--json").json["history"]
    assert [each["action"] for each in told] == [
        "promote",
        "assign",
        "promote",
        "rollback",
        "clear",
        "promote",
    ]
    assert (told[0]["who"], told[0]["why"]) == ("ada", "the first")
    at = told[3]["when"]
    assert models("as-of", "tiny", at, "--json").json["aliases"]["champion"] == "1"
    assert models("as-of", "tiny", "30d", "--json").json["aliases"] == {}
    assert "rollback: champion 2 -> 1" in models("history", "tiny").out


def test_a_version_is_shown_by_its_alias(models: Models) -> None:
    assert models("show", "tiny").code == 3
    models("promote", "tiny", "2")
    shown = models("show", "tiny", "--json").json
    assert (shown["manifest"]["version"], shown["aliases"]) == ("2", ["champion"])
    assert "0.5, 0.9" in models("show", "tiny", "champion").out


def test_publishing_again_is_said_and_a_changed_version_refused(
    models: Models, tmp_path: Path
) -> None:
    assert models("publish", str(tmp_path / "1"), "--json").json["new"] is False
    write_model(tmp_path / "1", model_content(3), version="1")
    assert models("publish", str(tmp_path / "1")).code == 4
    assert models("publish", str(tmp_path / "1"), "--next", "--json").json["version"] == "3"


def test_a_version_that_was_damaged_fails_to_verify_with_exit_6(
    models: Models, tmp_path: Path
) -> None:
    assert models("verify", "tiny").code == 0
    (tmp_path / "registry/tiny/2/model.onnx").write_bytes(b"cut")
    ran = models("verify", "tiny", "--json")
    assert ran.code == 6
    found = {each["version"]: each["error"] for each in ran.json["versions"]}
    assert found["1"] is None
    assert found["2"]["code"] == "model_checksum_differs"
    assert models("promote", "tiny", "2").code == 5


def test_a_registry_that_is_not_there_or_not_named_is_said(tmp_path: Path) -> None:
    missing = run_command("models", "list", "--registry", str(tmp_path / "gone"))
    assert (missing.code, "gone" in missing.err) == (1, True)
    assert run_command("models", "list").code == 2
    config = tmp_path / "stream-infer.toml"
    config.write_text('[model]\nregistry = "here"\n')
    (tmp_path / "here").mkdir()
    assert run_command("models", "list", "--config", str(config), "--json").json["versions"] == []


@pytest.mark.kafka
def test_workers_are_told_what_serves(models: Models, kafka: str, tmp_path: Path) -> None:
    pipeline = dataclasses.replace(own_pipeline(), model="tiny")
    file = written(pipeline, tmp_path)
    file.write_text(file.read_text().replace("    fraud,\n", "    fraud,\n    model='tiny',\n"))
    connection, topic = Connection(bootstrap=kafka), models_topic(pipeline) or ""
    asyncio.run(create_topics(connection, pipeline, partitions=2))
    options = ("--pipeline", str(file), "--bootstrap", kafka)
    assert models("promote", "tiny", "1", *options).code == 0
    models("assign", "tiny", "challenger", "2", "--share", "0.1")
    told = asyncio.run(read_told(connection, topic, "tiny"))
    assert told is not None
    assert (told.number, told.served["champion"].version) == (1, "1")
    again = models("tell", "tiny", str(file), "--bootstrap", kafka, "--json")
    assert again.json["number"] == 2
    told = asyncio.run(read_told(connection, topic, "tiny"))
    assert told is not None
    assert (told.share, told.served["challenger"].version) == (0.1, "2")
    assert models("tell", "other", str(file), "--bootstrap", kafka).code == 3
