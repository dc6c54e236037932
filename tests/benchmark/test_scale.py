"""Two processes beside one: the same load, their own cores, and what Kafka used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stream_infer.benchmark.cores import Cores, choose_cores
from stream_infer.benchmark.load import single_load
from stream_infer.benchmark.scale import TOGETHER, ScaleSession, cores_used, scale_figures
from stream_infer.benchmark.scenarios import single_scenario
from stream_infer.benchmark.subject import Subject
from stream_infer.benchmark.throughput import Throughput
from stream_infer.broker import EmbeddedBroker
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection
from support.kafka import BROKER_CONFIG
from support.processes import wait_until

BUSY_CHILD = """
import subprocess, sys
busy = "import os; parent = os.getppid()\\nwhile os.getppid() == parent: pass"
subprocess.run([sys.executable, "-c", busy])
"""
"""The child ends with its parent: nobody else would end it."""


def logs_of(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("*.log")]


def run_of(events_per_s: float) -> tuple[Throughput, float | None]:
    return Throughput(events_per_s, 5.0, None, None, 1_000, 1.0), 0.5


def test_the_ratio_is_that_of_two_processes_to_one() -> None:
    events, *_ = scale_figures("x", [run_of(100.0), run_of(110.0)], [run_of(190.0), run_of(220.0)])
    assert events.ratio("one") == pytest.approx(1.95)


def test_what_a_process_used_is_unknown_without_two_samples() -> None:
    assert cores_used([]) is None
    assert cores_used([(0.0, 1.0)]) is None
    assert cores_used([(0.0, None), (1.0, None)]) is None


def test_too_few_cores_are_said_instead_of_measured(tmp_path: Path) -> None:
    with pytest.raises(GateFailedError) as raised:
        ScaleSession(
            Connection(),
            Cores(None, None),
            tmp_path,
            repeat=1,
            broker_pid=None,
            show=lambda _what, _done, _total: None,
        )
    assert raised.value.code == "cores_too_few"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_two_subjects_get_two_cores_that_nothing_else_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 5})
    assert choose_cores(2) == Cores(frozenset({2, 5}), frozenset({0, 1}))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    assert choose_cores(2) == Cores(None, None)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc on this system")
def test_what_children_use_counts_for_their_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUSY_CHILD]
    with Subject("parent", command, None, tmp_path / "log") as subject:

        def is_busy() -> bool:
            used = subject.usage()
            return used is not None and used.processor_s > 0.3

        wait_until(is_busy)


@pytest.mark.kafka
@pytest.mark.skipif((os.cpu_count() or 1) < 3, reason="two processes and Kafka need three cores")
async def test_a_short_run_compares_two_processes_with_one(tmp_path: Path) -> None:
    with EmbeddedBroker(config=BROKER_CONFIG | TOGETHER) as broker:
        session = ScaleSession(
            Connection(bootstrap=broker.bootstrap),
            choose_cores(2),
            tmp_path,
            repeat=1,
            broker_pid=os.getpid(),
            show=lambda _what, _done, _total: None,
        )
        figures = await session.measure(single_scenario("trees"), single_load(2_000))
    assert [list(figure.baselines) for figure in figures] == [["one"]] * 3
    kafka_used = figures[2]
    assert all(value is not None for value in kafka_used.worker.values)
    logs = logs_of(tmp_path)
    assert sorted("[2] " in log for log in logs) == [False, True]
    assert all("[1] " in log for log in logs)
