"""The pulse of a worker: once a second its event loop leaves a snapshot and the time.

`Pulse` owns the newest snapshot and when each watched loop last turned. The event loop writes
them, the web server's thread reads them: each is one assignment of a value that is never
changed afterwards, so nothing is locked and a loop that is stuck can still be reported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from stream_infer.observability.facts import PlaneFacts

log = structlog.get_logger("stream_infer.observability")

BEAT_SECONDS = 1.0
MAIN_LOOP = "event loop"

FindLoop = Callable[[], asyncio.AbstractEventLoop | None]


class Pulse:
    """The newest facts, and when each loop last turned.

    gather   makes the facts, on the event loop; may be replaced when there is more to tell
    seconds  monotonic clock
    """

    def __init__(
        self,
        gather: Callable[[], PlaneFacts] = PlaneFacts,
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gather = gather
        self.seconds = seconds
        self.facts = PlaneFacts()
        self.taken_s = seconds()
        self._turned_s = {MAIN_LOOP: seconds()}
        self._watched: dict[str, FindLoop] = {}
        self._told = False

    def watch(self, name: str, find: FindLoop) -> None:
        """Watch the loop of another thread too.

        find  returns that loop, or None while there is none; asked at each beat
        """
        self._watched[name] = find

    def turned_s(self) -> dict[str, float]:
        """Return when each loop last turned; for any thread."""
        return self._turned_s.copy()

    def beat(self) -> None:
        """Take a snapshot, and ask every watched loop to say that it turns."""
        self._note(MAIN_LOOP)
        for name, find in self._watched.items():
            self._ask(name, find())
        try:
            self.facts = self.gather()
            self.taken_s = self.seconds()
        except Exception as error:
            # A worker must not end because something about it could not be told, nor may the
            # old facts pass for new ones: their age is a metric, and a reason against readiness.
            if not self._told:
                log.exception("facts_not_gathered", cause=str(error))
            self._told = True

    async def beat_forever(self, every_s: float = BEAT_SECONDS) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(every_s)

    def _ask(self, name: str, loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is None:
            # Not started, or gone with a rejoin: its silence starts to count when it is there.
            self._turned_s.pop(name, None)
            return
        self._turned_s.setdefault(name, self.seconds())
        # A loop that was closed does not turn: it stays at its last time.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._note, name)

    def _note(self, name: str) -> None:
        self._turned_s[name] = self.seconds()
