"""A supervisor and real child processes: ends, signals, orphans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import is_gone, wait_until
from support.supervising import supervising


def test_a_killed_child_comes_back_and_the_others_stay(tmp_path: Path) -> None:
    with supervising(tmp_path, "serve") as running:
        running.all_serve(2)
        pids = dict(running.starts())
        os.kill(pids[1], signal.SIGKILL)
        wait_until(lambda: len(running.starts()) == 3)
        assert running.starts()[2][0] == 1
        assert not is_gone(pids[2])
        running.says('"process_ended"')
        assert '"how":"SIGKILL"' in running.log
        assert running.stop() == 0


def test_a_child_that_failed_is_started_again(tmp_path: Path) -> None:
    with supervising(tmp_path, "fail-once", processes=1) as running:
        running.all_serve(1)
        assert [number for number, _ in running.starts()] == [1, 1]
        assert running.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_children_cleanly_with_exit_code_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with supervising(tmp_path, "serve") as running:
        running.all_serve(2)
        assert running.stop(number) == 0
        assert all(is_gone(pid) for _, pid in running.starts())
        assert len(running.starts()) == 2
        assert '"processes_stopped"' in running.log


def test_a_second_signal_kills_what_does_not_stop(tmp_path: Path) -> None:
    with supervising(tmp_path, "stubborn") as running:
        running.all_serve(2)
        running.process.send_signal(signal.SIGINT)
        running.says('"stopping"')
        assert running.stop(signal.SIGINT) == 130
        assert all(is_gone(pid) for _, pid in running.starts())


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    with supervising(tmp_path, "stubborn") as running:
        running.all_serve(2)
        running.process.kill()
        running.process.wait()
        for _, pid in running.starts():
            wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]


def test_the_end_of_the_leash_ends_a_child_where_the_kernel_does_not(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from stream_infer.dataplane import at_work\n"
        "from stream_infer.supervisor.member import Member\n"
        "member = Member(number=1, folder=Path(sys.argv[1]), leash=0)\n"
        "at_work.create(member.work_path); member.begin(); print('begun', flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"begun\n"
        child.stdin.close()
        assert child.wait(30) == -signal.SIGKILL


def test_an_error_that_no_restart_cures_stops_all_and_is_said_once(tmp_path: Path) -> None:
    with supervising(tmp_path, "refuse", processes=3) as running:
        assert running.process.wait(30) == 2
        said = [json.loads(line) for line in running.log.splitlines()]
        raised = [line["raised"] for line in said if "raised" in line]
        assert raised == [
            {
                "code": "bad_declaration",
                "message": "The declaration is wrong.",
                "fix": "Mend it.",
                "details": {"line": 3},
            }
        ]
        assert running.log.count("bad_declaration") == 1
        assert len(running.starts()) <= 3


def test_lines_of_children_carry_their_number(tmp_path: Path) -> None:
    with supervising(tmp_path, "talk") as running:
        running.all_serve(2)
        running.says('{"event":"a line"}', times=2)
        assert running.stop() == 0
        lines = running.log.splitlines()
        assert sorted(line for line in lines if "plain" in line) == ["[1] plain", "[2] plain"]
        # A line of JSON stays one: its writer has put the number into it.
        assert lines.count('{"event":"a line"}') == 2


def test_one_line_names_the_processes(tmp_path: Path) -> None:
    with supervising(tmp_path, "serve") as running:
        running.all_serve(2)
        [line] = [each for each in running.log.splitlines() if '"event":"processes"' in each]
        facts = json.loads(line)
        assert {int(k): v["pid"] for k, v in facts["each"].items()} == dict(running.starts())
        assert facts["running"] == 2
        assert running.stop() == 0
