from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from stream_infer.demo.members import Members, worker_processes
from stream_infer.errors import StreamInferError
from support.processes import is_gone, wait_until

MEMBER = "stream_infer.demo.member"


def pids_below(parent: psutil.Process, count: int) -> list[int]:
    """Return the workers' pids once all of them run the worker's module, and not a copy of us."""
    found: list[int] = []

    def there() -> bool:
        children = parent.children(recursive=True)
        found[:] = [child.pid for child in children if MEMBER in child.cmdline()]
        return len(found) == count

    wait_until(there)
    return found


def failure_of(members: Members) -> StreamInferError:
    found: list[StreamInferError] = []

    def ended() -> bool:
        try:
            members.check()
        except StreamInferError as error:
            found.append(error)
        return bool(found)

    wait_until(ended)
    return found[0]


def test_workers_end_with_the_block_even_when_it_fails() -> None:
    pids: list[int] = []

    def fail() -> None:
        with worker_processes(["fraud", "traffic"]) as members:
            members.check()
            pids.extend(pids_below(psutil.Process(), 2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(pids) == 2
    assert all(map(is_gone, pids))


def test_what_made_a_worker_fail_is_told_with_its_fix() -> None:
    with worker_processes(["fraud"]) as members:
        # Port 1 of this machine: nothing listens there.
        members.tell("127.0.0.1:1")
        error = failure_of(members)
    assert error.code == "broker_refused"
    assert error.message == "fraud: Nothing listens at 127.0.0.1:1."
    assert "--bootstrap" in error.fix


def test_a_worker_that_was_killed_is_named() -> None:
    with worker_processes(["traffic"]) as members:
        [pid] = pids_below(psutil.Process(), 1)
        psutil.Process(pid).kill()
        error = failure_of(members)
    assert error.code == "demo_worker_ended"
    assert "traffic" in error.message
    assert error.details["exit_code"] == -9


_OWNER = """
import os, sys
from stream_infer.demo.members import worker_processes
with worker_processes(["fraud"]):
    print("started", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


def test_no_worker_outlives_an_owner_that_was_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        [pid] = pids_below(psutil.Process(owner.pid), 1)
        owner.stdin.write("\n")
        owner.stdin.close()
        owner.wait()
    wait_until(lambda: is_gone(pid))
