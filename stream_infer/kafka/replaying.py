"""Replay a file's records into a topic: all at once, or in the rhythm of their own time.

Event times stay what they are; record timestamps are the time of writing (Kafka
refuses those far off, and retention goes by them). A paced replay tells the readers
where its clock stands in the header ``si-replay-clock``, since the wall clock says
nothing about events of another year.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_infer.files.contract import Records
from stream_infer.kafka.sending import TopicSender

REPLAY_CLOCK_HEADER = "si-replay-clock"
"""Header of a paced replay: the replay's clock at writing, epoch ms as decimal text."""

TICK_S = 0.02
"""Longest wait between two looks at the clock, and so the grain of a paced replay."""
ROWS_PER_STEP = 5_000
"""Rows between two turns of the event loop, which must answer Kafka in the meantime."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Turns wall time into the replay's clock.

    start_ms  the replay's clock at the beginning, epoch ms
    speed     milliseconds of event time that pass in one millisecond of wall time
    """

    start_ms: int
    speed: float

    def clock_ms(self, elapsed_s: float) -> int:
        """Return where the replay's clock stands after `elapsed_s` seconds.

        >>> Pace(start_ms=1_000, speed=60.0).clock_ms(0.5)
        31000
        """
        return self.start_ms + int(elapsed_s * 1_000 * self.speed)

    def wait_s(self, due_ms: int, elapsed_s: float) -> float:
        """Return the seconds of wall time until the clock reaches `due_ms`, never negative."""
        return max(0.0, (due_ms - self.start_ms) / 1_000 / self.speed - elapsed_s)


async def replay_at_once(
    records: Records, sender: TopicSender, progress: Callable[[int], None]
) -> None:
    """Send every record in order, as fast as they go."""
    for start, end in records.chunks(ROWS_PER_STEP):
        await sender.send(records.keys(start, end), records.values(start, end))
        await asyncio.sleep(0)
        progress(end)
    await sender.flush()


async def replay_paced(
    records: Records, sender: TopicSender, speed: float, progress: Callable[[int], None]
) -> None:
    """Send every record in order, none before the replay's clock has reached its time.

    A record that is older than one before it goes out at once, as it would have come.
    """
    if len(records) == 0:
        return
    due = np.maximum.accumulate(records.order)
    pace = Pace(start_ms=int(due[0]), speed=speed)
    started = time.monotonic()
    sent = 0
    while sent < len(records):
        clock_ms = pace.clock_ms(time.monotonic() - started)
        ripe = int(np.searchsorted(due, clock_ms, side="right"))
        headers = [(REPLAY_CLOCK_HEADER, str(clock_ms).encode())]
        for start in range(sent, ripe, ROWS_PER_STEP):
            end = min(start + ROWS_PER_STEP, ripe)
            await sender.send(records.keys(start, end), records.values(start, end), headers)
        await sender.flush()
        sent = max(sent, ripe)
        progress(sent)
        if sent < len(records):
            wait_s = pace.wait_s(int(due[sent]), time.monotonic() - started)
            await asyncio.sleep(min(wait_s, TICK_S))
