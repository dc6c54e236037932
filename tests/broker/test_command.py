"""``stream-infer broker start|stop|status|run``, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from stream_infer.broker.ports import free_port
from stream_infer.broker.readiness import ask_broker
from support.processes import is_gone, wait_until

pytestmark = pytest.mark.kafka

PROGRAM = [sys.executable, "-c", "from stream_infer.cli import main; main()", "broker"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the commands state and temporary folders of their own; stop what they started."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("STREAM_INFER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    yield tmp_path / "state" / "brokers" / "default.json"
    broker("stop")


def broker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], check=False, capture_output=True, text=True, timeout=120
    )


def answer(*arguments: str) -> tuple[int, Any]:
    result = broker(*arguments, "--json")
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def serves(bootstrap: str) -> bool:
    host, _, port = bootstrap.rpartition(":")
    return ask_broker(host, int(port)) is not None


def test_start_status_and_stop_follow_one_broker(state: Path, tmp_path: Path) -> None:
    started = broker("start")
    assert started.returncode == 0
    bootstrap = started.stdout.strip()
    assert serves(bootstrap)

    code, found = answer("status")
    assert code == 0
    assert found["bootstrap"] == bootstrap
    assert found["serves"] is True
    assert psutil.pid_exists(found["pid"])

    code, refused = answer("start")
    assert code == 4
    assert refused["error"]["code"] == "already_running"
    assert refused["error"]["details"]["bootstrap"] == bootstrap

    assert broker("stop").returncode == 0
    assert is_gone(found["pid"])
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not state.exists()

    for command in ("status", "stop"):
        code, missing = answer(command)
        assert code == 3
        assert missing["error"]["code"] == "not_running"


def test_a_kept_folder_keeps_its_port(state: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "kept")
    port = str(free_port())
    code, first = answer("start", "--data-dir", folder, "--port", port)
    assert code == 0
    assert first["bootstrap"] == f"127.0.0.1:{port}"
    broker("stop")
    assert Path(first["log_path"]).exists()
    code, again = answer("start", "--data-dir", folder)
    assert (code, again["bootstrap"]) == (0, first["bootstrap"])


def test_two_names_are_two_brokers(state: Path) -> None:
    _, one = answer("start", "--port", str(free_port()))
    try:
        code, other = answer("start", "--name", "other", "--port", str(free_port()))
        assert code == 0
        assert other["pid"] != one["pid"]
    finally:
        assert broker("stop", "--name", "other").returncode == 0
    assert answer("status")[0] == 0


def test_a_broker_that_died_is_told_and_replaced(state: Path, tmp_path: Path) -> None:
    _, dead = answer("start", "--port", str(free_port()))
    os.kill(dead["pid"], signal.SIGKILL)
    wait_until(lambda: is_gone(dead["supervisor_pid"]))
    code, told = answer("status")
    assert (code, told["error"]["code"]) == (3, "broker_died")
    assert "Its last lines" in told["error"]["message"]
    code, fresh = answer("start", "--port", str(free_port()))
    assert code == 0
    assert not Path(dead["folder"]).exists()
    assert Path(fresh["folder"]).exists()


def test_a_reused_pid_is_never_signalled(state: Path) -> None:
    _, started = answer("start", "--port", str(free_port()))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        broker("stop")
        state.write_text(json.dumps({**started, "supervisor_pid": bystander.pid}))
        assert answer("status")[0] == 3
        code, told = answer("stop")
        assert (code, told["error"]["code"]) == (3, "broker_died")
        assert bystander.poll() is None
        assert not state.exists()
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "default"}'])
def test_a_state_file_that_cannot_be_read_stands_for_no_broker(state: Path, content: str) -> None:
    state.parent.mkdir(parents=True)
    state.write_text(content)
    assert answer("status")[0] == 3


def test_a_taken_port_is_an_error_with_a_fix(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, told = answer("start", "--port", str(other.getsockname()[1]))
    assert (code, told["error"]["code"]) == (1, "port_taken")
    assert told["error"]["fix"]


@pytest.mark.parametrize(
    "arguments",
    [("start", "--set", "nonsense"), ("start", "--name", "../up"), ("start", "--port", "0")],
)
def test_a_wrong_option_is_a_usage_error(state: Path, arguments: tuple[str, ...]) -> None:
    result = broker(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [*PROGRAM, "run", "--json", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly_on_a_signal(state: Path, number: signal.Signals) -> None:
    with running() as (process, told):
        assert serves(told["bootstrap"])
        process.send_signal(number)
        assert process.wait() == 0
    assert is_gone(told["pid"])
    assert not Path(told["folder"]).exists()


def test_run_leaves_no_orphan_when_it_is_killed(state: Path) -> None:
    with running() as (process, told):
        process.kill()
    wait_until(lambda: is_gone(told["pid"]))
    wait_until(lambda: not Path(told["folder"]).exists())


def test_run_says_why_when_the_broker_dies(state: Path) -> None:
    with running() as (process, told):
        os.kill(told["pid"], signal.SIGKILL)
        output, _ = process.communicate()
        assert process.returncode == 1
    assert json.loads(output)["error"]["code"] == "killed"
