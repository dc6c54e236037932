"""What a supervisor owns ends with its owner, whatever ends the owner."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_infer.broker.process import BrokerProcess
from stream_infer.errors import EmbeddedBrokerError
from support.processes import is_gone, wait_until

STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "owned" / "logs").mkdir(parents=True)
    return tmp_path / "owned"


@pytest.fixture
def sleeper(folder: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(["/bin/sleep", "600"], folder, remove=True)
    yield process
    process.close()


def owner(body: str, folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Run a process that owns a sleeper; return it, and the pids that it prints.

    body  what the owner does before it prints the pids of supervisor and sleeper
    """
    code = (
        "import os, threading, time; from pathlib import Path\n"
        "from stream_infer.broker.process import BrokerProcess\n"
        f"process = BrokerProcess(['/bin/sleep', '600'], Path({str(folder)!r}), remove=True)\n"
        "process.start()\n"
        f"{body}\n"
        "print(process.supervisor_pid, process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    return running, [int(word) for word in running.stdout.readline().split()]


def killed(running: subprocess.Popen[str]) -> None:
    running.kill()
    running.wait()
    assert running.stdout is not None
    running.stdout.close()


def test_the_child_runs_until_it_is_stopped(sleeper: BrokerProcess) -> None:
    sleeper.start()
    assert sleeper.pid is not None
    assert not is_gone(sleeper.pid)
    assert sleeper.poll() is None
    pid = sleeper.pid
    sleeper.stop()
    sleeper.stop()
    assert is_gone(pid)
    assert sleeper.exit_code == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(folder: Path) -> None:
    process = BrokerProcess(STUBBORN, folder, remove=False)
    process.start()
    wait_until(lambda: "ready" in (folder / "logs/jvm.log").read_text())
    process.stop(grace_s=0.2)
    assert process.exit_code == -signal.SIGKILL
    process.close()
    assert folder.exists()


def test_a_child_that_ends_by_itself_is_noticed(folder: Path) -> None:
    process = BrokerProcess(["/bin/sh", "-c", "exit 7"], folder, remove=False)
    process.start()
    wait_until(lambda: process.poll() is not None)
    assert process.exit_code == 7
    process.stop()
    assert process.exit_code == 7
    process.start()
    wait_until(lambda: process.poll() is not None)
    process.close()


def test_a_command_that_cannot_be_executed_is_named(folder: Path) -> None:
    # What the system says of a binary whose loader is missing, as on musl.
    process = BrokerProcess([str(folder / "java")], folder, remove=True)
    with pytest.raises(EmbeddedBrokerError) as refused:
        process.start()
    process.close()
    assert refused.value.code == "java_cannot_run"


def test_child_and_folder_are_gone_when_the_owner_is_killed(folder: Path) -> None:
    running, (supervisor_pid, pid) = owner("", folder)
    assert not is_gone(pid)
    killed(running)
    wait_until(lambda: is_gone(pid) and is_gone(supervisor_pid))
    assert not folder.exists()


def test_a_forked_copy_of_the_pipe_does_not_keep_the_child(folder: Path) -> None:
    # A worker forked by multiprocessing holds every descriptor of its parent.
    fork = "forked = os.fork()\nif forked == 0:\n    time.sleep(600)\nprint(forked, end=' ')"
    running, (forked_pid, supervisor_pid, pid) = owner(fork, folder)
    try:
        killed(running)
        wait_until(lambda: is_gone(pid) and is_gone(supervisor_pid))
        assert not is_gone(forked_pid)
        assert not folder.exists()
    finally:
        os.kill(forked_pid, signal.SIGKILL)


def test_the_end_of_the_thread_that_started_it_does_not_end_the_child(folder: Path) -> None:
    # PR_SET_PDEATHSIG follows the thread: asked for by the owner, this test would fail.
    processes: list[BrokerProcess] = []

    def start() -> None:
        processes.append(BrokerProcess(["/bin/sleep", "600"], folder, remove=True))
        processes[0].start()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert processes[0].poll() is None
    processes[0].close()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_the_child_does_not_outlive_a_killed_supervisor(sleeper: BrokerProcess) -> None:
    sleeper.start()
    assert sleeper.pid is not None
    pid = sleeper.pid
    os.kill(sleeper.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid))
    wait_until(lambda: sleeper.poll() is not None)
    sleeper.stop()
    with pytest.raises(EmbeddedBrokerError) as refused:
        sleeper.start()
    assert refused.value.code == "supervisor_lost"


def test_sigterm_to_the_supervisor_stops_the_child(sleeper: BrokerProcess, folder: Path) -> None:
    sleeper.start()
    os.kill(sleeper.supervisor_pid, signal.SIGTERM)
    wait_until(lambda: sleeper.poll() is not None)
    sleeper.close()
    assert not folder.exists()


def test_a_detached_child_outlives_its_owner(folder: Path) -> None:
    running, (supervisor_pid, pid) = owner("process.detach()", folder)
    killed(running)
    time.sleep(1.5)  # longer than the supervisor takes to look at its parent
    assert not is_gone(pid)
    os.kill(supervisor_pid, signal.SIGTERM)
    wait_until(lambda: is_gone(pid) and is_gone(supervisor_pid))
    assert not folder.exists()


def test_ctrl_c_reaches_the_owner_alone(folder: Path) -> None:
    # A terminal sends SIGINT to its whole process group.
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    running, (supervisor_pid, pid) = owner(ignore, folder)
    os.killpg(running.pid, signal.SIGINT)
    time.sleep(0.3)
    assert not is_gone(pid)
    killed(running)
    wait_until(lambda: is_gone(pid) and is_gone(supervisor_pid))


def test_the_lock_is_held_until_the_supervisor_ends(folder: Path) -> None:
    with (folder / "lock").open("w") as lock, (folder / "lock").open("w") as rival:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = BrokerProcess(["/bin/sleep", "600"], folder, remove=False, lock=lock.fileno())
        lock.close()
        with pytest.raises(BlockingIOError):
            fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.close()
        fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_java_options_of_the_environment_do_not_reach_the_child(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    process = BrokerProcess(["/bin/sh", "-c", "env"], folder, remove=False)
    process.start()
    wait_until(lambda: process.poll() is not None)
    process.close()
    assert "JAVA_TOOL_OPTIONS" not in (folder / "logs/jvm.log").read_text()
