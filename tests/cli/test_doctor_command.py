from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.kafka.connection import Connection
from stream_infer.settings.loading import Settings
from support.commands import run_command
from support.pipelines import own_pipeline, written


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAM_INFER_BOOTSTRAP", raising=False)


def examined(*words: str) -> tuple[int, dict[str, Any]]:
    ran = run_command("doctor", *words, "--json")
    said = ran.json
    counted = [check["status"] for check in said["checks"]]
    for word in ("passed", "warning", "failed", "skipped"):
        assert said[word] == counted.count(word)
    assert said["ok"] is (ran.code == 0) is (said["failed"] == 0)
    return ran.code, {check["name"]: check for check in said["checks"]}


def test_a_kafka_that_was_named_and_does_not_answer_fails_and_the_rest_is_looked_at() -> None:
    code, checks = examined("fraud", "--bootstrap", "127.0.0.1:1")
    assert code == 1
    assert checks["kafka"]["status"] == "failed"
    assert "broker start" in checks["kafka"]["fix"]
    for name in ("clock", "topics", "group"):
        assert checks[name]["status"] == "skipped"
    for name in ("python", "kernels", "configuration", "pipeline", "model"):
        assert checks[name]["status"] == "passed"


def test_without_any_kafka_named_its_absence_is_skipped_and_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The usual place, moved to where nothing listens.
    closed = Connection(bootstrap="127.0.0.1:1")
    monkeypatch.setattr(Settings, "connection", lambda _self: closed)
    code, checks = examined()
    assert (code, checks["kafka"]["status"]) == (0, "skipped")
    assert "fraud (none was named and none is here)" in checks["pipeline"]["detail"]


def test_a_broken_configuration_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "stream-infer.toml").write_text("[kafka]\nbootstrp = 'x'\n")
    code, checks = examined()
    assert code == 1
    assert "kafka.bootstrap" in checks["configuration"]["fix"]
    assert {checks[name]["status"] for name in ("pipeline", "model", "kafka")} == {"skipped"}


def test_a_broken_pipeline_and_a_model_that_does_not_fit_fail_with_their_fix(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    _, checks = examined("broken.py", "--bootstrap", "127.0.0.1:1")
    assert "line 1: ZeroDivisionError" in checks["pipeline"]["detail"]
    assert checks["model"]["status"] == "skipped"
    (tmp_path / "x.toml").write_text('[model]\npath = "none.onnx"\n')
    _, checks = examined("fraud", "--bootstrap", "127.0.0.1:1", "--config", "x.toml")
    assert checks["model"]["status"] == "failed"


@pytest.mark.kafka
def test_with_kafka_everything_is_looked_at(kafka: str, tmp_path: Path) -> None:
    pipeline = own_pipeline()
    file = str(written(pipeline, tmp_path))
    place = ("--bootstrap", kafka)
    _, before = examined(file, *place)
    assert before[f"topic {pipeline.events.topic}"]["status"] == "failed"
    assert run_command("topics", "create", file, *place).code == 0
    _, checks = examined(file, *place, "--write")
    assert {checks[name]["status"] for name in ("kafka", "clock", "topics")} == {"passed"}
    assert checks["group"]["status"] == "skipped"
    shown = run_command("doctor", file, *place)
    assert "skipped  clock: Kafka tells its time only" in shown.out
    assert "skipped" in shown.out.splitlines()[-1]
