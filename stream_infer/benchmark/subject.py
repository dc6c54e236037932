"""A process under measurement: a worker or a baseline, alone on its core."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import stream_infer
from stream_infer.benchmark.cores import pinned
from stream_infer.errors import GateFailedError

STOP_TIMEOUT_S = 20.0
_LOG_TAIL_LINES = 8
_PACKAGE_PARENT = Path(stream_infer.__file__).resolve().parent.parent
BASELINES = _PACKAGE_PARENT / "benchmarks" / "baselines"
"""Programs of others' ways; they stand in the repository and do not ship."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it started.

    processor_s     seconds of processor time, all threads
    rss_bytes       resident memory now
    rss_bytes_max   the most it ever was
    """

    processor_s: float
    rss_bytes: int
    rss_bytes_max: int


class Subject:
    """One process, started on its core and stopped by SIGTERM.

    name     for messages
    command  program and arguments
    cores    where it runs, None: anywhere
    log      file for what it prints
    """

    def __init__(
        self, name: str, command: Sequence[str], cores: frozenset[int] | None, log: Path
    ) -> None:
        self.name = name
        self._command = list(command)
        self._cores = cores
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = os.pathsep.join(filter(None, [str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH")]))
        with pinned(self._cores), self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs, our own arguments
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": path},
            )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGTERM asks it to end, SIGKILL lets it finish nothing."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self) -> int | None:
        """Wait until it has ended by a signal; return its exit code."""
        process, self._process = self._process, None
        return None if process is None else process.wait(STOP_TIMEOUT_S)

    @property
    def log(self) -> str:
        """What it has printed until now."""
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """Raise GateFailedError with the end of its log when the process has ended."""
        if self._process is None or self._process.poll() is None:
            return
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        raise GateFailedError(
            "subject_ended",
            f"{self.name} ended with exit code {self._process.returncode}: " + " / ".join(lines),
            "Mend what it says; the benchmark measures a process that keeps running.",
            log=str(self._log),
        )

    def usage(self) -> Usage | None:
        """Return what it and its children have used; None where the system does not tell."""
        if self._process is None or not Path("/proc/self/stat").exists():
            return None
        used = [usage for pid in _family(self._process.pid) if (usage := _usage(pid)) is not None]
        if not used:
            return None
        return Usage(
            processor_s=sum(each.processor_s for each in used),
            rss_bytes=sum(each.rss_bytes for each in used),
            rss_bytes_max=sum(each.rss_bytes_max for each in used),
        )


def processor_seconds(pid: int) -> float | None:
    """Return the processor time of a process until now, None where the system does not tell."""
    used = _usage(pid)
    return None if used is None else used.processor_s


def _family(pid: int) -> list[int]:
    """Return a process, its children and theirs (source: proc_pid_task(5))."""
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile, or the kernel does not tell of children
    return [pid, *(each for child in children for each in _family(child))]


def _usage(pid: int) -> Usage | None:
    """Return what one process has used, None when it has gone (source: proc(5))."""
    folder = Path("/proc") / str(pid)
    try:
        # The name in brackets may hold anything; what follows it is regular.
        numbers = (folder / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        return None
    ticks = int(numbers[11]) + int(numbers[12])
    return Usage(
        processor_s=ticks / os.sysconf("SC_CLK_TCK"),
        rss_bytes=_kib(status.get("VmRSS")),
        rss_bytes_max=_kib(status.get("VmHWM")),
    )


def _kib(text: str | None) -> int:
    return 0 if text is None else int(text.split()[0]) * 1024


def worker_command(
    pipeline: Path, model: Path, bootstrap: str, config: Path | None = None
) -> list[str]:
    """Return the command of a worker, as a person would start it."""
    options = [] if config is None else ["--config", str(config)]
    return [
        *_command_line(),
        "worker",
        str(pipeline),
        "--model",
        str(model),
        "--bootstrap",
        bootstrap,
        *options,
    ]


def help_command() -> list[str]:
    """Return ``stream-infer --help``."""
    return [*_command_line(), "--help"]


def _command_line() -> list[str]:
    return [sys.executable, "-c", "from stream_infer.cli import main; main()"]


def baseline_command(
    program: str, source: str, output: str, group: str, model: Path, bootstrap: str
) -> list[str]:
    """Return the command of a baseline; all of them take the same arguments."""
    return [
        sys.executable,
        str(BASELINES / program),
        f"--bootstrap={bootstrap}",
        f"--input={source}",
        f"--output={output}",
        f"--group={group}",
        f"--model={model / 'model.onnx'}",
    ]
