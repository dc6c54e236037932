"""What a child is told, and what it does to be one: die with its parent, note its work.

A child must not live on when its supervisor is killed: nobody would restart it, stop it or
read what it says. On Linux the kernel kills it then (PR_SET_PDEATHSIG, asked for between fork
and exec; it follows the thread that forked, and a supervisor has one). Elsewhere, and should
the supervisor have died before that, a pipe tells: the supervisor alone holds its other end
and never writes, so that its end of file means that the supervisor is gone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from stream_infer.dataplane.at_work import Span, note_into
from stream_infer.errors import StreamInferError
from stream_infer.supervisor.trial import Step

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
WebPort = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a child is told, as one word of its command line.

    number    1 for the first; 0 for a throw-away child
    folder    where it notes its work and leaves its error
    leash     descriptor of the pipe's end
    web_port  where it serves metrics and health
    step      what a throw-away child is to do, None for a worker
    gate      descriptor at which it waits until the process that it replaces has ended, None
              where it replaces none
    start     which start of its number it is: two of them live while one replaces the other
    """

    number: int
    folder: Path
    leash: int
    web_port: WebPort = "off"
    step: Step | None = None
    gate: int | None = None
    start: int = 1

    @property
    def work_path(self) -> Path:
        """The record of what it has in work."""
        return self.folder / f"{self.number}-{self.start}.work"

    @property
    def error_path(self) -> Path:
        """Where it leaves the error that ended it."""
        return self.folder / f"{self.number}-{self.start}.error"

    def to_word(self) -> str:
        """Return it as one word."""
        return json.dumps(asdict(self) | {"folder": str(self.folder)})

    @classmethod
    def from_word(cls, word: str) -> Self:
        """Return what `to_word` has written."""
        told: dict[str, Any] = json.loads(word)
        step = told.pop("step")
        if step is not None:
            step = Step(step["task"], Span(*step["span"]), step["signal"])
        return cls(**told | {"folder": Path(told["folder"]), "step": step})

    def begin(self) -> None:
        """Make this process the child: it ends with its parent, and notes its work."""
        # A crash says where it was, on stderr; the signal still ends the process.
        faulthandler.enable()
        threading.Thread(
            target=_die_at_end_of_file, args=(self.leash,), name="leash", daemon=True
        ).start()
        note_into(self.work_path)

    def leave_error(self, error: StreamInferError) -> None:
        """Leave the error that ends this process to the supervisor, which says it once."""
        self.error_path.write_text(json.dumps(error.envelope(), default=str), encoding="utf-8")

    def read_error(self) -> dict[str, Any] | None:
        """Return the envelope of the error that the child left, None if it left none."""
        try:
            told: dict[str, Any] = json.loads(self.error_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # none, or it was killed while writing
            return None
        return told


def die_with_parent() -> None:
    """Ask the kernel, between fork and exec, to kill this process when its parent dies.

    Does nothing elsewhere than on Linux.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_at_end_of_file(leash: int) -> None:
    while os.read(leash, 1):
        pass  # nobody writes there
    os.kill(os.getpid(), signal.SIGKILL)
