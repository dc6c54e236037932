"""The gate at which a replacement waits until the process that it replaces has ended.

replacement                          supervisor
all is loaded        ──PREPARED──▶
                                     stops the old process, waits for its end
                     ◀──GO────────
its partitions run   ──SERVING───▶   the next process may be replaced
"""

from __future__ import annotations

import contextlib
import socket
from typing import Self

PREPARED = b"p"
GO = b"g"
SERVING = b"s"


class Gate:
    """One of the two ends; owns its socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._heard = b""

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """Return the supervisor's end, which never blocks, and the socket of the child's."""
        here, there = socket.socketpair()
        here.settimeout(0)
        return cls(here), there

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """Return the child's end, by the descriptor that it was started with."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._end.fileno()

    def say(self, word: bytes) -> None:
        """Say a word; one who has gone does not hear it."""
        with contextlib.suppress(OSError):
            self._end.sendall(word)

    def has_said(self, word: bytes) -> bool:
        """Say whether the other end has said a word by now."""
        with contextlib.suppress(OSError):  # nothing new, or it has gone
            self._heard += self._end.recv(16)
        return word in self._heard

    def wait_for(self, word: bytes) -> bool:
        """Wait for a word; return False when the other end has gone without it."""
        while not self.has_said(word):
            if not self._end.recv(1, socket.MSG_PEEK):
                return False
        return True

    def close(self) -> None:
        """Give the socket back."""
        self._end.close()
