"""What is let into the open transaction, and when nothing more is.

`Gate` owns the deliveries that wait and those that are in. It is open for an interval from the
first one on; then what is in is finished, and what comes waits for the next transaction. It closes
before that when nothing more comes: readers would wait for nothing, and what is not committed takes
the room of what could be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from stream_infer.dataplane.batch import ALONE_ROWS
from stream_infer.dataplane.transaction_rules import markers_interval, next_interval
from stream_infer.dataplane.transaction_waves import Delivery, send_wave
from stream_infer.kafka.transactions import GroupTransactionalProducer

RECORDS_MAX = 20_000
"""In one transaction: they are kept in memory until it is committed, and so is their input. More
than the default of `in_flight_bytes_max` lets in would only make the stage wait for the commit."""

QUIET_S = 0.005
"""When nothing was under way for so long, no more is coming soon."""

QUIET_INTERVAL_SHARE = 0.2
"""Of the interval that lies between two commits at least, where the second is for quiet."""

QUIET_MARKERS_SHARE = 0.25
"""Of the markers that this sender may cause, those that it may cause by committing early."""


def not_known() -> bool:
    """Say that more may come at any time."""
    return False


class Gate:
    """The deliveries since the last commit, and those that wait for the next transaction.

    name               of the stage, for logs
    interval_s         for how long a transaction is open where nothing asks for longer
    markers_per_s_max  commit markers that this sender may cause
    is_drained         says whether nothing more comes until more input is fetched

    kept           in order; those that the open transaction holds, or held before it was aborted
    waiting        in the order in which they came
    must_repeat    whether what is kept is to be sent again
    is_hurried     whether somebody waits for a commit
    open_since_s   since when a transaction holds something, by the event loop's clock
    commit_cost_s  how long a commit takes lately
    """

    def __init__(
        self,
        name: str,
        interval_s: float,
        markers_per_s_max: float,
        is_drained: Callable[[], bool] = not_known,
    ) -> None:
        self.kept: list[Delivery] = []
        self.waiting: list[Delivery] = []
        self.must_repeat = False
        self.is_hurried = False
        self.open_since_s: float | None = None
        self.commit_cost_s = 0.0
        self._name = name
        self._interval_s = interval_s
        self._markers_per_s_max = markers_per_s_max
        self._is_drained = is_drained
        self._wake = asyncio.Event()
        self._answered_s = 0.0
        self._committed_s = asyncio.get_running_loop().time()

    def put(self, delivery: Delivery) -> None:
        """Let a delivery wait for its turn."""
        self.waiting.append(delivery)
        self._wake.set()

    def take_back(self, delivery: Delivery) -> None:
        """Forget a delivery of which nothing was written yet."""
        if delivery in self.waiting:
            self.waiting.remove(delivery)

    def hurry(self) -> None:
        """Close as soon as what waits now is in."""
        self.is_hurried = True
        self._wake.set()

    def unsettled(self) -> set[Delivery]:
        """Return what is not committed."""
        return {*self.kept, *self.waiting}

    def note_abort(self) -> None:
        """Let the next transaction begin with what is kept."""
        self.open_since_s = None
        self.must_repeat = bool(self.kept)

    def note_commit(self, cost_s: float) -> None:
        """Let go of what is kept."""
        self.open_since_s = None
        self._committed_s = asyncio.get_running_loop().time()
        self.kept, self.must_repeat, self.is_hurried = [], False, False
        self.commit_cost_s += (cost_s - self.commit_cost_s) / 4

    def fail(self, error: BaseException) -> None:
        """Tell an error to everybody who waits, and keep nothing."""
        for delivery in self.unsettled():
            if not delivery.answer.done():
                delivery.answer.set_exception(error)
        self.open_since_s = None
        self.kept, self.waiting, self.must_repeat = [], [], False

    async def fill(self, producer: GroupTransactionalProducer) -> None:
        """Fill an open transaction until it is to be committed; raises WaveFailedError."""
        if not self.must_repeat:
            await self._fill(producer)
            return
        # Nothing newer with it: else what is kept would grow with each failure.
        self._note_open()
        await send_wave(producer, self.kept)
        _answer(self.kept)

    async def _fill(self, producer: GroupTransactionalProducer) -> None:
        """Send what comes until the gate closes, and wait for all answers.

        What is much goes at once in a wave of its own; the rest gathers while the wave before it
        is under way.
        """
        waves: set[asyncio.Task[None]] = set()
        gathering: asyncio.Task[None] | None = None
        try:
            while True:
                self._wake.clear()
                for wave in [wave for wave in waves if wave.done()]:
                    waves.discard(wave)
                    wave.result()
                if not self._is_closed():
                    waves |= {self._wave(producer, [each]) for each in self._admit(is_large=True)}
                    may_gather = gathering is None or gathering.done()
                    if may_gather and (together := self._admit(is_large=False)):
                        gathering = self._wave(producer, together)
                        waves.add(gathering)
                if not waves and self._is_over():
                    return
                await self._wait(is_idle=not waves)
        finally:
            for wave in waves:
                wave.cancel()
            await asyncio.gather(*waves, return_exceptions=True)

    def _wave(
        self, producer: GroupTransactionalProducer, deliveries: list[Delivery]
    ) -> asyncio.Task[None]:
        async def send() -> None:
            await send_wave(producer, deliveries)
            _answer(deliveries)
            self._answered_s = asyncio.get_running_loop().time()

        wave = asyncio.get_running_loop().create_task(send(), name=f"wave-{self._name}")
        wave.add_done_callback(lambda _: self._wake.set())
        return wave

    def _admit(self, *, is_large: bool) -> list[Delivery]:
        """Take those waiting deliveries into the transaction that are large, or that are not."""
        taken = [each for each in self.waiting if (each.records() >= ALONE_ROWS) is is_large]
        if taken:
            self.waiting = [each for each in self.waiting if each not in taken]
            self.kept += taken
            self._note_open()
        return taken

    def _note_open(self) -> None:
        if self.open_since_s is None:
            self.open_since_s = asyncio.get_running_loop().time()

    def _closes_at(self) -> float | None:
        if self.open_since_s is None:
            return None
        # A stage that has time to spare pays nothing for committing often.
        is_loaded = any(delivery.records() >= ALONE_ROWS for delivery in self.kept)
        return self.open_since_s + max(
            next_interval(self._interval_s, self.commit_cost_s if is_loaded else 0.0),
            self._markers_interval(1.0),
        )

    def _quiet_at(self) -> float | None:
        """Return from when on to commit if nothing has come and nothing is under way."""
        # Who has written nothing lets nobody wait: such input goes with what is written next.
        if self.open_since_s is None or not any(each.records() for each in self.kept):
            return None
        least_s = max(
            QUIET_INTERVAL_SHARE * self._interval_s, self._markers_interval(QUIET_MARKERS_SHARE)
        )
        quiet_s = 0.0 if self._is_drained() else QUIET_S
        return max(self._committed_s + least_s, self._answered_s + quiet_s)

    def _markers_interval(self, share: float) -> float:
        destinations = {each for delivery in self.kept for each in delivery.writes}
        return markers_interval(len(destinations), share * self._markers_per_s_max)

    def _is_closed(self) -> bool:
        """Say whether nothing more is taken into the transaction."""
        closes_at = self._closes_at()
        return closes_at is not None and (
            asyncio.get_running_loop().time() >= closes_at
            or sum(delivery.records() for delivery in self.kept) >= RECORDS_MAX
        )

    def _is_over(self) -> bool:
        """Say whether it is to be committed, or never was begun, once no wave is under way."""
        if not self.kept:
            return not self.waiting
        return self._is_closed() or (not self.waiting and (self.is_hurried or self._is_quiet()))

    def _is_quiet(self) -> bool:
        quiet_at = self._quiet_at()
        return quiet_at is not None and asyncio.get_running_loop().time() >= quiet_at

    async def _wait(self, *, is_idle: bool) -> None:
        """Wait until something comes, a wave is answered, or the gate closes.

        is_idle  no wave is under way; where one is, nothing ends before its answer, and a moment
                 that has passed would be waited for without a pause
        """
        moments = [at for at in (self._closes_at(), self._quiet_at()) if at is not None]
        loop = asyncio.get_running_loop()
        timer = loop.call_at(min(moments), self._wake.set) if moments and is_idle else None
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()


def _answer(deliveries: Collection[Delivery]) -> None:
    for delivery in deliveries:
        if not delivery.answer.done():
            delivery.answer.set_result(None)
