from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest

from support.processes import is_gone, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

COMMAND = (sys.executable, "-c", "from stream_infer.cli import main; main()", "demo")


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--seconds", "2", "--json"], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def summary(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 1, "one object and nothing else stands on stdout"
    told: dict[str, Any] = json.loads(lines[0])
    return told


def test_nothing_is_lost_and_nothing_scored_twice(summary: dict[str, Any]) -> None:
    assert (summary["audit"], summary["lost"], summary["scored_twice"]) == ("proven", 0, 0)
    assert summary["scored"] + summary["dead_letters"] == summary["events"]
    for part in summary["pipelines"].values():
        assert part["audit"] == "proven"
        assert part["scored"] + part["dead_letters"] == part["events"] > 10_000
    assert sum(summary["decisions"].values()) == summary["pipelines"]["fraud"]["scored"]


def test_what_was_true_stands_beside_what_was_caught(summary: dict[str, Any]) -> None:
    assert summary["frauds"] >= summary["frauds_caught"] >= 0
    assert summary["frauds"] == sum(each["happened"] for each in summary["frauds_by_kind"].values())
    assert summary["incidents"] + summary["incidents_undecided"] >= 1
    judged = (summary[f"alerts_{word}"] for word in ("right", "wrong", "undecided"))
    assert sum(judged) == summary["alerts"]


def test_latency_is_measured_while_one_watches(summary: dict[str, Any]) -> None:
    latency = summary["latency_ms"]
    assert 0 <= latency["p50"] <= latency["p99"] <= latency["p999"]


def test_alerts_could_be_read(summary: dict[str, Any]) -> None:
    assert summary["first_alert_s"] > 0
    assert not summary["interrupted"]


def test_ctrl_c_ends_with_the_summary_and_leaves_no_process_behind() -> None:
    # A process group of its own, as a terminal makes one: the signal goes to all of it.
    process = subprocess.Popen(
        [*COMMAND, "--seconds", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("scoring the past"):
                break
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert "audit: proven" in out
    assert "frauds caught" in out
    assert len(started) >= 3
    wait_until(lambda: all(is_gone(each.pid) for each in started))
