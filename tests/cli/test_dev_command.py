from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer.broker.ports import free_port
from support.commands import run_command
from support.documents import ROOT, fault_of
from support.kafka import produce, read_all, unique
from support.onnx_models import logistic_model

PATIENCE_S = 90.0
NOT_OURS = "192.0.2.1:9092"
"""An address for documents (RFC 5737): no Kafka of this machine."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / unique("shop")
    assert run_command("init", place).code == 0
    monkeypatch.chdir(place)
    return place


def dry_run(*words: str) -> Any:
    return run_command("dev", "--dry-run", "--json", *words).json


def test_it_says_what_it_loaded_from_where_and_the_production_command(folder: Path) -> None:
    said = dry_run()
    assert said["pipeline"] == folder.name
    assert (said["file"], said["found"]) == ("pipeline.py", "named by the configuration")
    assert said["config"] == "stream-infer.toml"
    assert (said["input"], said["output"]) == (f"{folder.name}-events", f"{folder.name}-scored")
    assert len(said["features"]) == 9
    assert said["model"] is None
    assert said["production"][-1].startswith("stream-infer worker pipeline.py --config")
    text = run_command("dev", "--dry-run").out
    # The port is another one each time where somebody else has the usual one.
    web, _, _ = said["web"].rpartition(":")
    for line in (*said["production"], web, said["kafka"], *said["features"]):
        assert line in text


def test_the_production_commands_are_command_lines(folder: Path) -> None:
    for line in dry_run()["production"]:
        assert fault_of(tuple(line.split())) is None


def test_a_bare_model_is_loaded_and_named_before_anything_starts(folder: Path) -> None:
    config = folder / "stream-infer.toml"
    config.write_text(config.read_text().replace('# path = "model.onnx"', 'path = "mine.onnx"'))
    (folder / "mine.onnx").write_bytes(logistic_model(weights=np.zeros((9, 1), np.float32)))
    said = dry_run()
    assert said["model"].startswith("mine ")
    assert said["thresholds"] == [0.5, 0.9]
    (folder / "mine.onnx").write_bytes(logistic_model(weights=np.zeros((8, 1), np.float32)))
    assert run_command("dev", "--json").json["error"]["code"] == "model_inputs_differ"


def test_without_a_configuration_the_only_pipeline_of_the_folder_is_taken(folder: Path) -> None:
    (folder / "stream-infer.toml").unlink()
    (folder / "imports.py").write_text("from stream_infer import Pipeline\n")
    assert dry_run()["found"] == "the only one in this folder"
    (folder / "second.py").write_text((folder / "pipeline.py").read_text())
    error = dry_run()["error"]
    assert error["code"] == "several_pipelines"
    assert "pipeline.py" in error["message"]
    assert dry_run("second.py")["found"] == "named on the command line"


def test_a_folder_without_a_pipeline_points_at_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_command("dev", "--json")
    assert ran.code == 3
    assert "stream-infer init" in ran.json["error"]["fix"]


@pytest.mark.usefixtures("folder")
def test_a_kafka_elsewhere_that_does_not_answer_is_not_replaced_by_one_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAM_INFER_KAFKA__CONNECT_TIMEOUT", "50ms")
    ran = run_command("dev", "--bootstrap", NOT_OURS, "--json")
    assert ran.code == 1
    assert ran.json["error"]["code"] in {"broker_unreachable", "broker_refused"}


class Dev:
    """``stream-infer dev`` as a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.errors = folder / "dev.log"
        with self.errors.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from stream_infer.cli import main; main()", "dev", *words],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "STREAM_INFER_WEB__PORT": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def first_line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or "null")

    def until(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not met():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.1)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(folder: Path, *words: str) -> Iterator[Dev]:
    dev = Dev(folder, *words)
    try:
        yield dev
    finally:
        if dev.process.poll() is None:
            dev.end()
        if dev.process.stdout is not None:
            dev.process.stdout.close()


@pytest.mark.kafka
def test_it_starts_a_kafka_makes_topics_scores_and_starts_anew_on_a_change(
    folder: Path,
) -> None:
    address = f"127.0.0.1:{free_port()}"
    with running(folder, "--json", "--bootstrap", address, "--partitions", "1") as dev:
        _live_through_a_change(folder, dev, address)


def _live_through_a_change(folder: Path, dev: Dev, address: str) -> None:
    said = dev.first_line()
    assert (said["kafka"], said["kafka_started"]) == (address, True)
    assert f"{folder.name}-events" in said["topics_created"]
    events = (folder / "events.jsonl").read_bytes().splitlines()
    produce(said["kafka"], said["input"], [(b"c", value, 0, ()) for value in events[:4]])
    dev.until(lambda: len(read_all(said["kafka"], said["output"])) == 4)
    config = folder / "stream-infer.toml"
    config.write_text(config.read_text() + "publish_features = true\n")
    dev.until(lambda: "stream-infer.toml changed" in dev.errors.read_text())
    produce(said["kafka"], said["input"], [(b"c", value, 0, ()) for value in events[4:]])
    dev.until(lambda: len(read_all(said["kafka"], said["output"])) == len(events))
    assert dev.end() == 0
    gone = run_command("tail", said["output"], "--no-follow", "--bootstrap", address, "--json")
    assert gone.json["error"]["code"] == "broker_refused"


@pytest.mark.kafka
def test_a_worker_that_stops_by_itself_ends_it_with_its_exit_code(folder: Path, kafka: str) -> None:
    with running(folder, "--json", "--bootstrap", kafka, "--partitions", "4") as dev:
        said = dev.first_line()
        assert said["kafka_started"] is False
        # No hash puts one customer into every partition.
        event = (folder / "events.jsonl").read_bytes().splitlines()[0]
        for partition in range(4):
            produce(kafka, said["input"], [(b"c-1", event, partition, ())] * 20)
        assert dev.process.wait(PATIENCE_S) == 4, dev.errors.read_text()
        assert "--partitioning rekey" in dev.errors.read_text()
