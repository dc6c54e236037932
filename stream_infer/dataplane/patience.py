"""How a worker that starts waits for a Kafka that is not there yet.

A worker that runs waits for Kafka as long as it takes: it holds work that is not finished. One that
starts holds nothing, and what it was told may be wrong. So it waits a bounded time, says at once
what for, and then ends by name: whoever started it (a person, systemd, Kubernetes, a supervisor)
sees that something is wrong, and the last three start it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from stream_infer.errors import BrokerError
from stream_infer.kafka.causes import MAY_PASS

log = structlog.get_logger("stream_infer.broker")

PAUSE_SECONDS = 0.5

Found = TypeVar("Found")


class Patience:
    """Waits for Kafka while a worker starts. It owns since when it waits.

    wait_s       how long, from the first failure on; 0: not at all
    is_stopping  whether the worker was told to stop; then nothing is waited for
    tell         called with the time since which Kafka does not answer, and with None when it does
    """

    def __init__(
        self,
        wait_s: float = 0.0,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        tell: Callable[[float | None], None] = lambda _since_s: None,
        seconds: Callable[[], float] = time.monotonic,
        pause_s: float = PAUSE_SECONDS,
    ) -> None:
        self.was_cut_short = False
        """Whether it gave up because the worker was told to stop."""
        self._wait_s = wait_s
        self._is_stopping = is_stopping
        self._tell = tell
        self._seconds = seconds
        self._pause_s = pause_s

    async def through(self, ask: Callable[[], Awaitable[Found]]) -> Found:
        """Return what `ask` returns, asked again while Kafka is not there.

        ask     asks Kafka; may be called more than once, in any event loop
        Raises  BrokerError when it has waited for long enough, or what does not pass by waiting
        """
        since_s: float | None = None
        told = ""
        while True:
            try:
                found = await ask()
            except BrokerError as error:
                now_s = self._seconds()
                since_s = now_s if since_s is None else since_s
                if self._gives_up(error, now_s - since_s):
                    raise
                if error.code != told:
                    told = error.code
                    log.warning(
                        "waiting_for_broker",
                        cause=error.message,
                        fix=error.fix,
                        at_most_s=self._wait_s,
                    )
                self._tell(since_s)
                await asyncio.sleep(self._pause_s)
            else:
                if since_s is not None:
                    log.info("broker_is_back", after_s=round(self._seconds() - since_s, 1))
                    self._tell(None)
                return found

    def _gives_up(self, error: BrokerError, waited_s: float) -> bool:
        if error.code not in MAY_PASS or waited_s >= self._wait_s:
            return True
        self.was_cut_short = self._is_stopping()
        return self.was_cut_short
