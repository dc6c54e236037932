"""The demo's worker processes: started early, told where Kafka is, watched, ended for certain."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import orjson

from stream_infer.errors import StreamInferError

STOP_S_MAX = 20.0
"""A little more than a member gives itself."""
BREAK_OFF_S_MAX = 2.0
"""After a failure: there may be no Kafka any more that they could finish with."""
TOLD_CHARS_MAX = 2_000


@dataclass(slots=True)
class Member:
    """One worker process and what it says.

    answer  file with its standard output: what made it fail
    told    file with its standard error: its log
    """

    pipeline: str
    process: subprocess.Popen[bytes]
    answer: IO[bytes]
    told: IO[bytes]


class Members:
    """The worker processes of the demo; only this class starts and ends them."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def tell(self, bootstrap: str) -> None:
        """Say where Kafka is: they begin to work."""
        for member in self._members:
            _pipe(member).write(f"{bootstrap}\n".encode())

    def check(self) -> None:
        """Raise what ended a worker, if one has ended."""
        for member in self._members:
            if member.process.poll() is not None:
                raise _ended(member)

    def stop(self, seconds: float = STOP_S_MAX) -> None:
        """Let them finish, all at once, and kill what has not after so many seconds."""
        for member in self._members:
            with contextlib.suppress(BrokenPipeError):
                _pipe(member).close()
        deadline = time.monotonic() + seconds
        for member in self._members:
            try:
                member.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()


def _pipe(member: Member) -> IO[bytes]:
    """Return the pipe to a member's standard input."""
    pipe = member.process.stdin
    if pipe is None:
        raise StreamInferError("no_pipe", f"The worker of {member.pipeline} has no pipe.")
    return pipe


@contextlib.contextmanager
def worker_processes(pipelines: Sequence[str]) -> Iterator[Members]:
    """Start a worker process for each built-in pipeline; none of them outlives the block."""
    with contextlib.ExitStack() as stack:
        started: list[Member] = []
        members = Members(started)
        stack.callback(members.stop)
        for name in pipelines:
            answer = stack.enter_context(tempfile.TemporaryFile())
            told = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(  # noqa: S603 - this Python, a module of ours
                [sys.executable, "-m", "stream_infer.demo.member", name],
                stdin=subprocess.PIPE,
                stdout=answer,
                stderr=told,
                bufsize=0,
                # Ctrl-C goes to all of a terminal's process group: the owner ends its workers.
                start_new_session=True,
            )
            started.append(Member(name, process, answer, told))
        try:
            yield members
        except BaseException:
            members.stop(BREAK_OFF_S_MAX)
            raise


def _ended(member: Member) -> StreamInferError:
    """Return why a worker ended before it was told to."""
    member.answer.seek(0)
    lines = member.answer.read().splitlines()
    if lines:
        said: dict[str, Any] = orjson.loads(lines[-1])
        return StreamInferError(
            said["code"], f"{member.pipeline}: {said['message']}", said["fix"], **said["details"]
        )
    member.told.seek(0)
    log = member.told.read().decode(errors="replace")[-TOLD_CHARS_MAX:].strip()
    code = member.process.returncode
    cause = log or ("It was killed, by the kernel for memory perhaps." if code < 0 else "")
    return StreamInferError(
        "demo_worker_ended",
        f"The worker of {member.pipeline} ended with exit code {code}.",
        "Run it alone to see more: stream-infer worker"
        f" {member.pipeline}. It said last: {cause or 'nothing'}",
        pipeline=member.pipeline,
        exit_code=code,
    )
