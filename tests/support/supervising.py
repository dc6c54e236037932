"""A supervisor as a process of its own, over `support.supervised` children.

python supervising.py PROCESSES LOG_FORMAT HOW FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import stream_infer
from stream_infer.errors import StreamInferError
from stream_infer.logs import configure_logs
from stream_infer.settings.log import LogSettings
from stream_infer.supervisor import backoff
from stream_infer.supervisor.processes import Processes
from support.processes import wait_until
from support.supervised import PROGRAM


def _hear_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Supervising:
    """The process, and what it and its children have left in the folder."""

    def __init__(self, folder: Path, how: str, processes: int, log_format: str) -> None:
        self.folder = folder
        package = Path(stream_infer.__file__).parents[1]
        path = [str(Path(__file__).parents[1]), str(package)]
        with (folder / "log").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(processes), log_format, how, str(folder)],
                stderr=output,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
                # Whoever runs the tests may ignore it, as nohup does, and that is inherited.
                preexec_fn=_hear_hangups,  # noqa: PLW1509 - no threads that could hold a lock
            )

    @property
    def log(self) -> str:
        """All that was said."""
        return (self.folder / "log").read_text(errors="replace")

    def starts(self) -> list[tuple[int, int]]:
        """Return number and pid of each start of a worker, the oldest first."""
        return [(int(line.split()[0]), int(line.split()[1])) for line in self._lines("starts")]

    def steps(self) -> list[str]:
        """Return what throw-away children were told to do."""
        return self._lines("steps")

    def turns(self) -> list[str]:
        """Return which worker began to serve or ended, the oldest first."""
        return self._lines("turns")

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def all_serve(self, processes: int) -> None:
        """Wait until each process listens for signals."""
        wait_until(lambda: len(list(self.folder.glob("ready-*"))) == processes)

    def says(self, word: str, times: int = 1) -> None:
        """Wait until a word was said so many times."""
        wait_until(lambda: self.log.count(word) >= times)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def supervising(
    folder: Path, how: str, processes: int = 2, log_format: str = "json"
) -> Iterator[Supervising]:
    """Run a supervisor; it is killed at the end if it still runs."""
    running = Supervising(folder, how, processes, log_format)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def main(processes: int, log_format: str, how: str, folder: str) -> int:
    """Be the supervisor."""
    backoff.FIRST_DELAY_S = 0.05
    configure_logs(LogSettings(format="json" if log_format == "json" else "console"))
    try:
        return Processes([how, folder], ["off"] * processes, program=PROGRAM).run()
    except StreamInferError as error:
        sys.stderr.write(json.dumps({"raised": error.envelope()}) + "\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]))
