"""``stream-infer worker --processes`` on a real Kafka: what comes out, and what is given up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

import stream_infer
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.skips import read_skips
from stream_infer.pipelines.loading import load_pipeline
from support import crashing_pipeline, quick_worker
from support.kafka import Message, aproduce, aread_all, unique
from support.processes import is_gone
from support.worker import WorkerProcess, make_topics, until

pytestmark = pytest.mark.kafka

PIPELINE = Path(crashing_pipeline.__file__)
NOON_MS = 1_735_732_800_000
POISON = 40


def payments(count: int, poison: int | None = None) -> list[Message]:
    """Return payments of one customer, all in partition 0; one of them kills."""
    return [
        (
            b"c-1",
            json.dumps(
                {
                    "payment_id": f"p-{index}",
                    "event_time": NOON_MS + 1_000 * index,
                    "customer_id": "c-1",
                    "amount": 666.0 if index == poison else 1.0,
                }
            ).encode(),
            0,
            [],
        )
        for index in range(count)
    ]


def started(
    kafka: str, folder: Path, program: object, *options: str, monkeypatch: pytest.MonkeyPatch
) -> WorkerProcess:
    """Start a supervisor with the program of a support module."""
    roots = [Path(__file__).parents[1], Path(stream_infer.__file__).parents[1]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, roots)))
    return WorkerProcess(
        PIPELINE,
        kafka,
        "--log-format",
        "json",
        *options,
        log=folder / "log",
        settings={"commit_interval_ms": "50"},
        command=(sys.executable, str(getattr(program, "__file__", None))),
    )


def lines(worker: WorkerProcess, event: str) -> list[dict[str, object]]:
    """Return the log lines of one kind."""
    found = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    made = unique("crash")
    monkeypatch.setenv("TEST_PIPELINE", made)
    return made


async def test_two_processes_share_the_partitions_survive_a_kill_and_stop_cleanly(
    kafka: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_topics(kafka, load_pipeline(str(PIPELINE)), 2)
    worker = started(kafka, tmp_path, quick_worker, "--processes", "2", monkeypatch=monkeypatch)
    try:

        def one_each() -> bool:
            newest = {line["process"]: line["partitions"] for line in lines(worker, "assigned")}
            topics = [f"{name}-payments-0", f"{name}-payments-1"]
            return sorted(map(str, newest.values())) == [str([topic]) for topic in topics]

        await until(one_each, alive=worker.alive)
        [summary] = lines(worker, "processes")
        each = summary["each"]
        assert isinstance(each, dict)
        urls = {line["process"]: line["url"] for line in lines(worker, "web_port_open")}
        assert urls == {number: facts["web"] for number, facts in each.items()}
        assert not heavy_libraries(worker)
        os.kill(each["1"]["pid"], signal.SIGKILL)
        await worker.says('"event":"process_started"')
        await aproduce(kafka, f"{name}-payments", payments(20))
        await until(lambda: scored(kafka, name, 20), alive=worker.alive)
        assert lines(worker, "trying") == []
        assert await worker.stop() == 0
        again = [line["pid"] for line in lines(worker, "process_started")]
        assert all(is_gone(pid) for pid in [*(facts["pid"] for facts in each.values()), *again])
        assert [line["unclean"] for line in lines(worker, "processes_stopped")] == [[]]
    finally:
        worker.kill()


async def test_processes_are_replaced_under_load_and_each_event_comes_out_once(
    kafka: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_topics(kafka, load_pipeline(str(PIPELINE)), 2)
    worker = started(kafka, tmp_path, quick_worker, "--processes", "2", monkeypatch=monkeypatch)
    sent = payments(400)
    try:
        await aproduce(kafka, f"{name}-payments", sent[:20])
        await until(lambda: scored(kafka, name, 20), alive=worker.alive)
        os.kill(worker._process.pid, signal.SIGUSR2)
        for start in range(20, 400, 20):
            await aproduce(kafka, f"{name}-payments", sent[start : start + 20])
            await asyncio.sleep(0.1)
        await until(lambda: len(lines(worker, "process_replaced")) == 2, alive=worker.alive)
        await until(lambda: scored(kafka, name, 400), alive=worker.alive)
        assert await worker.stop() == 0
    finally:
        worker.kill()
    found = await outputs(kafka, name)
    assert sorted(each["payment_id"] for each in found) == sorted(f"p-{n}" for n in range(400))
    # The fold went on where the one before had stopped.
    assert sorted(each["features"]["count_7d"] for each in found) == list(range(1, 401))
    [summary] = lines(worker, "processes")
    assert isinstance(summary["each"], dict)
    assert all(is_gone(facts["pid"]) for facts in summary["each"].values())
    assert lines(worker, "process_ended") == []


def heavy_libraries(worker: WorkerProcess) -> list[str]:
    """Return what the supervisor has loaded of kernels and models."""
    maps = {Path(each.path).name for each in psutil.Process(worker._process.pid).memory_maps()}
    return [each for each in maps if "onnxruntime" in each or "llvmlite" in each]


async def scored(kafka: str, name: str, count: int) -> bool:
    """Say whether so many events came out."""
    ids = {each["payment_id"] for each in await outputs(kafka, name)}
    return len(ids) >= count


async def outputs(kafka: str, name: str) -> list[dict[str, Any]]:
    """Return the scored events."""
    return [json.loads(record.value or b"") for record in await aread_all(kafka, f"{name}-scored")]


async def test_a_wrong_declaration_is_said_once_and_ends_all(
    kafka: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = started(kafka, tmp_path, quick_worker, "--processes", "2", monkeypatch=monkeypatch)
    try:
        assert await worker.exit_code() == 3
        assert worker.log.count("does not exist") == 1
        assert worker.log.count("fix: Create it with") == 1
    finally:
        worker.kill()


async def test_the_record_that_kills_becomes_a_dead_letter_and_all_others_come_out(
    kafka: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load_pipeline(str(PIPELINE))
    await make_topics(kafka, pipeline, 2)
    await aproduce(kafka, f"{name}-payments", payments(100, POISON))
    worker = started(
        kafka,
        tmp_path,
        quick_worker,
        "--processes",
        "1",
        "--web-port",
        "off",
        monkeypatch=monkeypatch,
    )
    try:
        await until(lambda: scored(kafka, name, 99), alive=worker.alive)
        assert await worker.stop() == 0
    finally:
        worker.kill()
    source = f"{name}-payments-0"
    crashes = lines(worker, "crashed_at")
    assert len(crashes) == 2
    assert all(line["source"] == source for line in crashes)
    assert all(int(str(c["first"])) <= POISON <= int(str(c["last"])) for c in crashes)
    [poison] = lines(worker, "poison_record")
    assert (poison["source"], poison["first"], poison["signal"]) == (source, POISON, "SIGSEGV")
    [skip] = await read_skips(Connection(bootstrap=kafka), pipeline)
    assert (skip.position, skip.signal, skip.code) == (f"{source}-{POISON}", "SIGSEGV", "poison")
    letters = [
        (record, facts)
        for record in await aread_all(kafka, "dead-letters")
        if (facts := read_dead_letter(record.headers)).topic == f"{name}-payments"
    ]
    [(record, facts)] = letters
    assert (facts.offset, facts.error_code, facts.stage) == (POISON, "poison", "customer")
    assert "SIGSEGV" in str(facts.message)
    assert record.value == payments(100, POISON)[POISON][1]
    # The fold goes on as if the record had never been: counts are those of 99 payments.
    counts = [each["features"]["count_7d"] for each in await outputs(kafka, name)]
    assert max(counts) == 99
