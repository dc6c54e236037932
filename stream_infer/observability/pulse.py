"""The pulse of a worker: once a second its event loop leaves a snapshot and the time.

`Pulse` owns the newest snapshot and when the loop last turned. The event loop writes them, the
web server's thread reads them: each is one assignment of a value that is never changed
afterwards, so nothing is locked and a loop that is stuck can still be reported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from stream_infer.observability.facts import PlaneFacts

log = structlog.get_logger("stream_infer.observability")

BEAT_SECONDS = 1.0


class Pulse:
    """The newest facts, and when the loop last turned.

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
        self.turned_s = seconds()
        self._told = False

    def beat(self) -> None:
        """Note that the loop turns, and take a snapshot."""
        self.turned_s = self.seconds()
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
