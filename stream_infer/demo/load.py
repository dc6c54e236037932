"""The demo's load: a simulated world's past at once, then its present at a steady speed."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from stream_infer.demo.plan import WorldTime
from stream_infer.demo.sent import SentTimes
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.replaying import REPLAY_CLOCK_HEADER
from stream_infer.kafka.sending import TopicSender, topic_sender
from stream_infer.simulators.feeding import Fed, feed
from stream_infer.simulators.pieces import Piece, Role
from stream_infer.simulators.records import Records

LOOK_S = 0.05


@dataclass(slots=True)
class PastThenLive:
    """A pace: everything before `time.live_ms` at once; what follows, by speed, once opened.

    opened_s     when it was opened, on the clock of `elapsed_s`; None: the past alone is due
    past_events  how many events the past has, once all of them were taken; None before
    """

    time: WorldTime
    opened_s: float | None = None
    past_events: int | None = None
    paced: bool = True

    def due(self, elapsed_s: float, before: int, times: Sequence[int]) -> int:
        """Return the events of the past, and those whose time has come.

        >>> pace = PastThenLive(WorldTime(live_ms=1_000, speed=60.0))
        >>> pace.due(9.0, 0, [400, 999, 1_000, 61_000])
        2
        >>> pace.opened_s = 10.0
        >>> pace.due(11.0, 0, [400, 999, 1_000, 61_000, 61_001])
        4
        """
        if self.opened_s is None:
            return bisect_left(times, self.time.live_ms)
        passed_ms = int((elapsed_s - self.opened_s) * 1_000 * self.time.speed)
        return bisect_right(times, self.time.live_ms + passed_ms)

    def wait_s(self, elapsed_s: float, before: int, time_ms: int) -> float:
        """Return the seconds until the event is due; a look later while it is closed."""
        if self.opened_s is None:
            # Asked only when nothing more is due: the past is complete.
            self.past_events = before
            return LOOK_S
        due_s = self.opened_s + (time_ms - self.time.live_ms) / 1_000 / self.time.speed
        return max(0.0, due_s - elapsed_s)


@dataclass(slots=True)
class Load:
    """One world on its way into Kafka.

    name         of the pipeline that reads it
    pieces       what happens
    topics       role -> existing topic
    pace         its past at once, then live
    note_truth   called with the values of the truth records that were written
    fed          what was written so far
    sent         when each event was written
    opened_ms    when the present began, ms since the epoch on this machine's clock; None before
    """

    name: str
    pieces: Iterator[Piece]
    topics: Mapping[Role, str]
    pace: PastThenLive
    note_truth: Callable[[list[bytes]], None]
    fed: Fed = field(default_factory=Fed)
    sent: SentTimes = field(default_factory=lambda: SentTimes([]))
    opened_ms: int | None = None
    _begun: float = 0.0

    def open(self) -> None:
        """Let the present begin now."""
        self.pace.opened_s = time.monotonic() - self._begun
        self.opened_ms = time.time_ns() // 1_000_000

    async def run(self, connection: Connection, stop: asyncio.Event) -> None:
        """Write until `stop` is set; returns when every record is acknowledged."""
        async with _senders(connection, self.topics) as senders:
            self.sent = SentTimes([0] * len(senders["events"].sent))
            self._begun = time.monotonic()
            await feed(self.pieces, _Sink(self, senders), self.pace, self.fed, stop=stop)


@asynccontextmanager
async def _senders(
    connection: Connection, topics: Mapping[Role, str]
) -> AsyncIterator[dict[Role, TopicSender]]:
    async with AsyncExitStack() as stack:
        yield {
            role: await stack.enter_async_context(topic_sender(connection, topic))
            for role, topic in topics.items()
        }


class _Sink:
    """Topics, with a note of what was written when."""

    def __init__(self, load: Load, senders: Mapping[Role, TopicSender]) -> None:
        self._load = load
        self._senders = senders
        self.roles: tuple[Role, ...] = tuple(senders)

    async def take(self, role: Role, records: Records, clock_ms: int | None) -> None:
        """Send records, each to the partition of its key, under the world's clock."""
        clock = records.timestamps[-1] if clock_ms is None else clock_ms
        headers = [(REPLAY_CLOCK_HEADER, str(clock).encode())]
        sender = self._senders[role]
        before, now_ms = list(sender.sent), time.time_ns() // 1_000_000
        await sender.send([key.decode() for key in records.keys], records.values, headers)
        if role == "events":
            counts = [after - had for after, had in zip(sender.sent, before, strict=True)]
            self._load.sent.note(counts, now_ms)
        if role == "truth":
            self._load.note_truth(records.values)

    async def flush(self) -> None:
        """Return when Kafka acknowledged everything."""
        await asyncio.gather(*(sender.flush() for sender in self._senders.values()))
