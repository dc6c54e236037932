"""One child process: its start, what it says, its end. Owns the process and its pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stream_infer.dataplane.at_work import Span, create, read_spans
from stream_infer.supervisor.gate import Gate
from stream_infer.supervisor.member import Member, die_with_parent

LINE_BYTES_MAX = 64 * 1024
"""A longer line is passed on in pieces."""
CHUNK_BYTES = 64 * 1024


class Child:
    """A process that was started for a member.

    program  how ``stream-infer`` is called
    words    of the command line after ``worker``, as the user gave them
    waits    whether it waits, when all is loaded, until it is told to go
    """

    def __init__(
        self, member: Member, program: Sequence[str], words: Sequence[str], *, waits: bool = False
    ) -> None:
        self.gate: Gate | None = None
        if waits:
            self.gate, there = Gate.pair()
            with there:
                self._begin(replace(member, gate=there.fileno()), program, words)
        else:
            self._begin(member, program, words)

    def _begin(self, member: Member, program: Sequence[str], words: Sequence[str]) -> None:
        self.member = member
        self.started_s = time.monotonic()
        member.error_path.unlink(missing_ok=True)
        create(member.work_path)
        self._process = subprocess.Popen(  # noqa: S603 - our own program, the user's own words
            [*program, "worker", "--member", member.to_word(), *words],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(member.leash,) if member.gate is None else (member.leash, member.gate),
            # Ctrl-C goes to all of a terminal's process group; here the parent alone decides.
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - a supervisor has one thread
        )
        if self._process.stderr is None:
            raise ValueError("the child has no pipe")
        self.pipe = self._process.stderr.fileno()
        os.set_blocking(self.pipe, False)
        self._unsaid = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its wait status when it has ended: an exit code, or -N for signal N."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        self._process.send_signal(number)

    def lines(self, *, last: bool = False) -> list[bytes]:
        """Return the lines that it has said since.

        last  whether it has ended: then also what is no whole line
        """
        try:
            while data := os.read(self.pipe, CHUNK_BYTES):
                self._unsaid += data
                if not last and len(self._unsaid) >= LINE_BYTES_MAX:
                    break
        except BlockingIOError:
            pass  # no more for now
        *lines, self._unsaid = self._unsaid.split(b"\n")
        if self._unsaid and (last or len(self._unsaid) >= LINE_BYTES_MAX):
            lines.append(self._unsaid)
            self._unsaid = b""
        return [_numbered(line, self.member.number) for line in lines]

    def spans(self) -> list[Span]:
        """Return what it has in work."""
        return read_spans(self.member.work_path)

    def error(self) -> dict[str, Any] | None:
        """Return the envelope of the error that ended it, None if it left none."""
        return self.member.read_error()

    def close(self) -> None:
        """Give back the pipe and the gate of a child that has ended."""
        if self._process.stderr is not None:
            self._process.stderr.close()
        if self.gate is not None:
            self.gate.close()
        for path in (self.member.work_path, self.member.error_path):
            path.unlink(missing_ok=True)


def _numbered(line: bytes, number: int) -> bytes:
    """Return a line with the number of the process in front; a JSON line carries it itself."""
    if line.startswith(b"{") or not line.strip():
        return line
    name = f"{number}" if number else "probe"
    return f"[{name}] ".encode() + line
