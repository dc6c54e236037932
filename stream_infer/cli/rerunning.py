"""A worker as a process of its own that is started anew when one of its files changes.

The process runs the very command that would run in production. A new one for each change
costs two seconds and knows nothing of the one before it, which reloading modules in place
never achieves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

LOOK_S = 0.3
STOP_SECONDS_MAX = 30.0

# The worker must not outlive whoever supervises it, even one that was killed: prctl(2),
# PR_SET_PDEATHSIG. Elsewhere than on Linux it is left to the terminal's own signal.
_PROGRAM = """
import ctypes, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
from stream_infer.cli import main
main()
"""


class RerunWorker:
    """Owns the worker's process: it is started, stopped and started anew here only.

    words    of the command line, after ``stream-infer``
    files    a change of one of them starts it anew
    say      takes what happens, for a person
    """

    def __init__(
        self,
        words: Sequence[str],
        files: Sequence[Path],
        environment: dict[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._words = list(words)
        self._files = list(files)
        self._environment = environment
        self._say = say
        self._stop = threading.Event()

    def run(self, check: Callable[[], None], *, stay: bool) -> int:
        """Run until told to stop; return the exit code.

        check  called at every look; raises what makes going on pointless
        stay   whether a worker that ended by itself is started again at the next change
        """
        handlers = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        process = self._start()
        seen = self._stamps()
        code = 0
        try:
            while not self._stop.wait(LOOK_S):
                check()
                changed = self._changed(seen)
                if changed is not None:
                    seen = self._stamps()
                    self._say(f"{changed} changed: starting the worker anew")
                    self._end(process)
                    process, code = self._start(), 0
                elif process.poll() is not None and not code:
                    code = process.returncode or 1
                    if not stay:
                        return code
                    self._say(f"the worker ended with {code}; waiting for a change of its files")
        finally:
            self._end(process)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return code

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the words are ours
            [sys.executable, "-c", _PROGRAM, *self._words],
            env={**os.environ, **self._environment},
            # Ctrl-C reaches the whole group of the terminal; the worker is to be told once.
            start_new_session=True,
        )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Stop it cleanly, and for certain."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _stamps(self) -> dict[Path, tuple[int, int] | None]:
        return {file: _stamp(file) for file in self._files}

    def _changed(self, seen: dict[Path, tuple[int, int] | None]) -> Path | None:
        # A file that is missing is being replaced: the change is told when it is there again.
        for file in self._files:
            stamp = _stamp(file)
            if stamp is not None and stamp != seen[file]:
                return file
        return None


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes whenever the file is written or replaced; None while it is missing."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
