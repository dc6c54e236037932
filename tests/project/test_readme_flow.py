"""The README's own-data lines do what they say, on a fresh machine with a fresh Kafka."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream_infer.broker.ports import free_port
from support.documents import FENCE, ROOT
from support.processes import wait_until

ROWS = 50
HEADING = "## Your own data, in five lines"


@dataclass(frozen=True)
class Machine:
    """A folder with a file of payments, and ``stream-infer`` on the path."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-ec", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    port = free_port()
    program = tmp_path / "bin" / "stream-infer"
    program.parent.mkdir()
    # The only difference from the README: the broker's port, so that tests never collide.
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "broker start" ] && set -- "$@" --port {port}\n'
        f'exec "{sys.executable}" -c "from stream_infer.cli import main; main()" "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "STREAM_INFER_STATE": str(tmp_path / "state"),
        "STREAM_INFER_BOOTSTRAP": f"127.0.0.1:{port}",
    }
    rows = [
        f"t{i},2026-03-01 {8 + i // 10:02}:{i % 60:02}:00,c{i % 7},m{i % 5},{i}.50"
        for i in range(ROWS)
    ]
    header = "transaction_id,TX_DATETIME,customer_id,terminal_id,TX_AMOUNT"
    (tmp_path / "payments.csv").write_text("\n".join([header, *rows]) + "\n")
    made = Machine(tmp_path, environment)
    yield made
    made.run("[ ! -f worker.pid ] || kill -TERM $(cat worker.pid); stream-infer broker stop")


def lines_of_the_readme() -> list[str]:
    text = (ROOT / "README.md").read_text()
    fence = FENCE.search(text[text.index(HEADING) :])
    assert fence is not None
    return [line for line in fence[2].splitlines() if not line.startswith("make install")]


def test_the_five_lines_score_a_file_of_ones_own(machine: Machine) -> None:
    lines = lines_of_the_readme()
    assert any("worker" in line for line in lines)
    # In a script of its own the worker's output must not hold the pipe open.
    script = "\n".join(re.sub(r" &$", " >worker.log 2>&1 & echo $! >worker.pid", x) for x in lines)
    machine.run(script)

    def is_audited() -> bool:
        audit = json.loads(machine.run("stream-infer audit fraud --json || true"))
        return bool(audit.get("scored") == ROWS and audit["verdict"] == "proven")

    wait_until(is_audited)
    tailed = machine.run("stream-infer tail scored-transactions --from beginning --limit 1 --json")
    assert "score" in tailed
    machine.run("stream-infer features fraud payments.csv features.parquet --fields " + fields())
    assert (machine.folder / "features.parquet").exists()


def fields() -> str:
    replay = next(line for line in lines_of_the_readme() if "replay" in line)
    return replay.split("--fields ")[1]
