"""Own one child process, and never let it outlive its owner.

Run as a script with the standard library alone: ``python -I -S supervisor.py SPEC``.
The owner holds the other end of our standard input. It sends commands, one a line, and
its end, or its death by whatever signal, closes the pipe: then the child is killed and a
temporary folder removed. A process that the owner forked may hold a copy of the pipe, so
the parent's pid is looked at too, once a second. On Linux the kernel also kills the child
when this process dies (PR_SET_PDEATHSIG); that signal follows the *thread* that forked,
which is why the owner cannot ask for it itself: any thread of it may start a broker.

    start    run the command                     -> ``started PID`` or ``failed TEXT``
    stop S   SIGTERM, SIGKILL after S seconds    -> ``exited CODE``
    kill     SIGKILL                             -> ``exited CODE``
    detach   live on when the owner goes         -> ``detached``

A child that ends by itself is reported as ``exited CODE`` too. SIGTERM to the supervisor
stops the child and ends the supervisor. SPEC is JSON: ``command``, ``cwd``, ``output``
(the child's stdout and stderr), ``remove`` (folder to remove at the end, or null),
``grace_s``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Spec:
    """What to run, where, and what to leave behind."""

    command: list[str]
    cwd: str
    output: str
    remove: str | None
    grace_s: float


class Supervisor:
    """Owns the child: only this class starts, signals and reaps it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.child: subprocess.Popen[bytes] | None = None
        self.owner_pid = os.getppid()
        self.attached = True
        self.ending = False
        self.pending = b""

    def run(self) -> None:
        """Serve commands until the owner goes, a signal comes, or the child ends detached."""
        wake_read, wake_write = os.pipe()
        for end in (wake_read, wake_write):
            os.set_blocking(end, False)
        # A signal writes a byte there, so that `select` returns at once.
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        while not self.ending:
            sources = [wake_read, 0] if self.attached else [wake_read]
            ready, _, _ = select.select(sources, [], [], 1.0)
            if wake_read in ready:
                os.read(wake_read, 4096)
            self._reap()
            if 0 in ready:
                self._read_commands()
            if self.attached and os.getppid() != self.owner_pid:
                self.ending = True
            if not self.attached and self.child is None:
                return  # died by itself: its folder stays, it holds the log
        # Data that is removed in a moment need not be written out before.
        self._stop(None if self.spec.remove else self.spec.grace_s)
        if self.spec.remove is not None:
            shutil.rmtree(self.spec.remove, ignore_errors=True)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True

    def _read_commands(self) -> None:
        data = os.read(0, 4096)
        if not data:
            self.ending = True
            return
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            word, _, argument = line.decode().partition(" ")
            if word == "start":
                self._start()
            elif word == "detach":
                self.attached = False
                _report("detached")
            elif word in ("stop", "kill"):
                self._stop(float(argument) if argument else None)

    def _start(self) -> None:
        try:
            with Path(self.spec.output).open("ab") as output:
                child = subprocess.Popen(
                    self.spec.command,
                    cwd=self.spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread
                )
        except OSError as error:
            _report(f"failed {error.errno} {error}")
            return
        self.child = child
        _report(f"started {child.pid}")

    def _stop(self, grace_s: float | None) -> None:
        if self.child is None:
            return
        if grace_s is not None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(grace_s)
        if self.child.returncode is None:
            self.child.kill()
            self.child.wait()
        self._reap()

    def _reap(self) -> None:
        if self.child is not None and self.child.poll() is not None:
            code, self.child = self.child.returncode, None
            _report(f"exited {code}")


def _report(line: str) -> None:
    # The owner may have gone, or have detached us: then nobody listens, and that is right.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, line.replace("\n", " ").encode() + b"\n")


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    # Python ignores SIGPIPE and so raises BrokenPipeError, which `_report` expects.
    Supervisor(Spec(**json.loads(sys.argv[1]))).run()
