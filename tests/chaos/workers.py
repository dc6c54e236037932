"""The workers of a run: started, paused, killed, and looked after."""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import sys
from collections.abc import Sequence
from itertools import count, pairwise
from pathlib import Path

from support.worker import WorkerProcess, until

TESTS = Path(__file__).parent.parent
ENTRY = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from chaos.child import main; main()"
STOP_S_MAX = 60.0
NO_SHIFT = struct.pack("d", 0.0)
CUT_CONNECTION = ("Future exception was never retrieved", "exception=ConnectionResetError")


class Worker(WorkerProcess):
    """One worker process."""

    instance_id: str | None = None
    clock: Path

    def shift_clock(self, seconds: float) -> None:
        """Have its time of day be so far from ours."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def pause(self) -> None:
        """Stop it in its tracks: it does not know."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it stood."""
        self._process.send_signal(signal.SIGCONT)


class Crew:
    """All workers of one run; owns which of them were ended on purpose.

    Those that end by themselves are replaced, as an operator's supervisor does, and noted. Where
    they are static members, a replacement has the name of the one whose place it takes.
    """

    def __init__(
        self,
        file: Path,
        bootstrap: str,
        *,
        settings: dict[str, str],
        plants: Sequence[str] = (),
        static: bool = False,
    ) -> None:
        self.running: list[Worker] = []
        self.ended: list[str] = []
        self.hung = 0
        self._file = file
        self._bootstrap = bootstrap
        self._settings = settings
        self._static = static
        self._started = 0
        self._plants = list(plants)
        self._full_disk = file.with_name("full-disk")
        self._crash = file.with_name("crash")

    def add(self) -> Worker:
        """Start one more."""
        self._started += 1
        instance = self._free_instance() if self._static else None
        own = {} if instance is None else {"instance_id": instance}
        clock = self._file.with_name(f"clock-{self._started}")
        clock.write_bytes(NO_SHIFT)
        options = {
            "plants": self._plants,
            "clock": str(clock),
            "full_disk": str(self._full_disk),
            "crash": str(self._crash),
        }
        worker = Worker(
            self._file,
            self._bootstrap,
            "--web-port",
            "off",
            log=self._file.with_name(f"worker-{self._started}.log"),
            settings=self._settings | own,
            command=(sys.executable, "-c", ENTRY, json.dumps(options)),
        )
        worker.instance_id, worker.clock = instance, clock
        self.running.append(worker)
        return worker

    def _free_instance(self) -> str:
        """Return the first name that no running worker has: whoever had it is replaced."""
        taken = {worker.instance_id for worker in self.running}
        return next(name for n in count(1) if (name := f"worker-{n}") not in taken)

    def pick(self, draw: float) -> Worker:
        """Return one of those that run."""
        self.look_after()
        return self.running[int(draw * len(self.running))]

    def look_after(self) -> None:
        """Replace workers that ended by themselves."""
        for worker in [each for each in self.running if each.code is not None]:
            self.running.remove(worker)
            lines = [line for line in worker.log.splitlines() if line.strip()]
            self.ended.append(f"{worker.log_path.name} ended with {worker.code}: {lines[-2:]}")
            self.add()

    def kill(self, worker: Worker) -> None:
        """End one with SIGKILL."""
        if worker in self.running:
            self.running.remove(worker)
        worker.kill()

    async def terminate(self, worker: Worker) -> None:
        """End one with SIGTERM, and note when it does not end cleanly."""
        if worker in self.running:
            self.running.remove(worker)
        try:
            async with asyncio.timeout(STOP_S_MAX):
                code = await worker.stop()
        except TimeoutError:
            self.hung += 1
            self.ended.append(f"{worker.log_path.name} did not end within {STOP_S_MAX:.0f} s")
            worker.kill()
            return
        # Told before it was up, it ends as any process does.
        if code and not (code == -signal.SIGTERM and "assigned" not in worker.log):
            self.ended.append(f"{worker.log_path.name} ended with {code} after SIGTERM")

    def kill_all(self) -> None:
        """End everything at once."""
        for worker in self.running:
            worker.resume()
            worker.kill()
        self.running.clear()

    def fill_disk(self) -> None:
        """Let no worker write a checkpoint to the end."""
        self._full_disk.touch()

    def empty_disk(self) -> None:
        """Let them write again."""
        self._full_disk.unlink(missing_ok=True)

    async def fall_at_checkpoint(self) -> None:
        """Have one be killed as soon as readers see a checkpoint of it; return when it is dead.

        Cancelled, it lets them live.
        """
        self._crash.touch()
        try:
            await until(lambda: not self._crash.exists())
        finally:
            self._crash.unlink(missing_ok=True)
        await until(lambda: any(each.code is not None for each in self.running))
        self.kill(next(each for each in self.running if each.code is not None))

    def said(self, word: str) -> int:
        """Return how often a word stands in the logs of all that have ever run."""
        logs = self._file.parent.glob("worker-*.log")
        return sum(log.read_text(errors="replace").count(word) for log in logs)

    def tracebacks(self) -> list[str]:
        """Return the logs in which a traceback stands that tells of a fault of ours."""
        logs = sorted(self._file.parent.glob("worker-*.log"))
        return [log.name for log in logs if has_traceback(log.read_text(errors="replace"))]


def has_traceback(text: str) -> bool:
    """Say whether a traceback stands in a log, other than of a connection that was cut.

    Python keeps what cut a connection in a future of its own, and says so when it collects that
    future before the connection.
    """
    lines = text.splitlines()
    return any(
        after.startswith("Traceback") and not all(word in line for word in CUT_CONNECTION)
        for line, after in pairwise(["", *lines])
    )
