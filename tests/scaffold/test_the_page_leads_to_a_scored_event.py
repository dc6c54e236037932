"""Every command of docs/own-pipeline.md, in its order, in an empty folder beside a Kafka."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from stream_infer.records.partitioner import KeyPartitioner
from support.documents import ROOT, commands_of
from support.kafka import produce, read_all
from support.onnx_models import logistic_model
from support.processes import wait_until

PAGE = (ROOT / "docs" / "own-pipeline.md").read_text(encoding="utf-8")
OURS = (sys.executable, "-c", "from stream_infer.cli import main; main()")
FEATURES = 9
EVENTS = 10
PARTITION_OF_U_1 = KeyPartitioner(4).place(["u-1"])[0][1]


class Reader:
    """Somebody who does what the page says, in one terminal after the other."""

    def __init__(self, folder: Path, kafka: str, open_processes: ExitStack) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "STREAM_INFER_BOOTSTRAP": kafka,
            # Any free one: tests beside this one have workers, too.
            "STREAM_INFER_WEB__PORT": "0",
        }
        self._processes = open_processes
        self.done: list[str] = []

    def follow(self, text: str) -> None:
        """Do every command of a part of the page."""
        for command in commands_of(text, "page"):
            program, *words = command.words
            if program == "cd":
                self.folder /= words[0]
            elif words[0] == "dev":
                self._dev()
            elif words[0] == "tail":
                self._tail(words)
            else:
                self._run(words)
            self.done.append(words[0])

    def _run(self, words: list[str]) -> None:
        ran = subprocess.run(
            [*OURS, *words],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"

    def _dev(self) -> None:
        log = self.folder / "dev.log"
        self._processes.enter_context(self._running(["dev"], log))
        wait_until(lambda: "in production:" in log.read_text())

    def _tail(self, words: list[str]) -> None:
        # It never ends by itself.
        log = self.folder / "tail.log"
        with self._running(words, log):
            wait_until(lambda: len(log.read_text().splitlines()) >= EVENTS)
        assert '"orders_7d"' in log.read_text()

    @contextmanager
    def _running(self, words: list[str], log: Path) -> Iterator[None]:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*OURS, *words],
                cwd=self.folder,
                env={**self._environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def edits_explained(text: str) -> str:
    """Return the paragraph that follows the two lines, on one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


def models_of(kafka: str) -> set[str | None]:
    return {json.loads(record.value or b"")["model"] for record in read_all(kafka, "shop-scored")}


@pytest.mark.kafka
def test_each_command_does_what_the_page_says(kafka: str, tmp_path: Path) -> None:
    before, edits, after = re.split(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    to_the_end, production = after.split("## Production")
    with ExitStack() as open_processes:
        reader = Reader(tmp_path, kafka, open_processes)
        reader.follow(before)
        config = reader.folder / "stream-infer.toml"
        fields, path = edits.splitlines()
        text = re.sub(r"^fields = .*$", fields, config.read_text(), flags=re.MULTILINE)
        model = logistic_model(weights=np.zeros((FEATURES, 1), np.float32))
        (reader.folder / "mine.onnx").write_bytes(model)
        config.write_text(text.replace('# path = "model.onnx"', path))
        log = reader.folder / "dev.log"
        wait_until(lambda: "starting the worker anew" in log.read_text())
        [event] = re.findall(r"`({\"id\".*?}})`", edits_explained(after))
        produce(kafka, "shop-events", [(b"u-1", event.encode(), PARTITION_OF_U_1, ())])
        wait_until(lambda: "mine" in models_of(kafka))
        reader.follow(to_the_end)
    assert reader.done == ["init", "shop", "dev", "replay", "tail", "features", "config", "check"]
    assert "stream-infer worker pipeline.py" in production
