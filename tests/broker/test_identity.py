"""A process is known by its pid and its start."""

from __future__ import annotations

import os
import subprocess

from stream_infer.broker.identity import started_at, terminate


def test_a_process_keeps_its_identity_and_two_have_two() -> None:
    mine = started_at(os.getpid())
    assert mine is not None
    assert started_at(os.getpid()) == mine
    with subprocess.Popen(["/bin/sleep", "600"]) as other:
        assert started_at(other.pid) not in (None, mine)
        other.kill()


def test_only_the_very_process_is_terminated() -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        moment = started_at(process.pid)
        assert moment is not None
        assert not terminate(process.pid, moment + "0")
        assert process.poll() is None
        assert terminate(process.pid, moment)
        process.wait()
        assert not terminate(process.pid, moment)


def test_a_process_that_ended_and_was_not_collected_does_not_run() -> None:
    with subprocess.Popen(["/bin/true"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # at its end when the process has
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert started_at(process.pid) is None
    assert started_at(process.pid) is None
