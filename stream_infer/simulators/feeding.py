"""Feed a simulation to topics or files at a pace, until it ends or is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.replaying import REPLAY_CLOCK_HEADER
from stream_infer.kafka.sending import TopicSender, topic_sender
from stream_infer.simulators.pacing import Pace
from stream_infer.simulators.pieces import Piece, Role
from stream_infer.simulators.records import Records

TICK_S = 0.02
"""Longest wait between two looks at the clock, and so the grain of a paced simulation."""


class Sink(Protocol):
    """Where records go; roles that a sink has no place for are left out."""

    @property
    def roles(self) -> Sequence[Role]:
        """Roles that have a place here."""
        ...

    async def take(self, role: Role, records: Records, clock_ms: int | None) -> None:
        """Take records, in order; `clock_ms` is the simulation's clock if it is paced."""
        ...

    async def flush(self) -> None:
        """Return when all that was taken is safe."""
        ...


class TopicSink:
    """Topics of a Kafka, one a role; see `open_topics`."""

    def __init__(self, senders: Mapping[Role, TopicSender]) -> None:
        self._senders = senders
        self.roles = tuple(senders)

    async def take(self, role: Role, records: Records, clock_ms: int | None) -> None:
        """Send records, each to the partition of its key."""
        headers = None if clock_ms is None else [(REPLAY_CLOCK_HEADER, str(clock_ms).encode())]
        keys = [key.decode() for key in records.keys]
        await self._senders[role].send(keys, records.values, headers)

    async def flush(self) -> None:
        """Return when Kafka acknowledged everything; raise what it said of the first refused."""
        await asyncio.gather(*(sender.flush() for sender in self._senders.values()))


class FileSink:
    """Open files, one a role, that receive one JSON object a line."""

    def __init__(self, files: Mapping[Role, BinaryIO]) -> None:
        self._files = files
        self.roles = tuple(files)

    async def take(self, role: Role, records: Records, clock_ms: int | None) -> None:
        """Append the values."""
        self._files[role].writelines(value + b"\n" for value in records.values)

    async def flush(self) -> None:
        """Hand over to the system what is buffered."""
        for file in self._files.values():
            file.flush()


@dataclass(slots=True)
class Fed:
    """What was fed so far; grows while `feed` runs.

    sent      records by role
    kinds     truth records by what they are about
    first_ms  time of the first event, ms since the epoch; None before it
    last_ms   time of the last one
    seconds   of wall time
    ended     whether the simulation came to its own end
    """

    sent: Counter[Role] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    first_ms: int | None = None
    last_ms: int | None = None
    seconds: float = 0.0
    ended: bool = False


async def feed(
    pieces: Iterator[Piece],
    sink: Sink,
    pace: Pace,
    fed: Fed,
    *,
    stop: asyncio.Event,
    seconds_max: float = float("inf"),
    show: Callable[[int], None] = lambda _done: None,
) -> None:
    """Feed the pieces to the sink, counting in `fed`; returns when everything is safe there.

    stop         ends the feeding at the next look at it
    seconds_max  of wall time
    show         called with the number of events so far
    """
    begun = time.monotonic()
    try:
        while not _over(stop, begun, seconds_max):
            # In a thread: a new day takes a while to draw, and Kafka wants answers meanwhile.
            piece = await asyncio.to_thread(next, pieces, None)
            if piece is None:
                fed.ended = True
                break
            await _feed_piece(piece, sink, pace, fed, begun, stop, seconds_max)
            show(fed.sent["events"])
        await sink.flush()
    finally:
        fed.seconds = time.monotonic() - begun


async def _feed_piece(
    piece: Piece,
    sink: Sink,
    pace: Pace,
    fed: Fed,
    begun: float,
    stop: asyncio.Event,
    seconds_max: float,
) -> None:
    times = piece.records["events"].timestamps
    done: Counter[Role] = Counter()
    while True:
        before = fed.sent["events"] - done["events"]
        # No later than the end asked for, however long this process was kept from running.
        due = pace.due(min(time.monotonic() - begun, seconds_max), before, times)
        if due > done["events"] or due == len(times):
            await _take_due(piece, sink, fed, done, due, paced=pace.paced)
        if due == len(times) or _over(stop, begun, seconds_max):
            return
        wait = pace.wait_s(time.monotonic() - begun, fed.sent["events"], times[due])
        await stopped(stop, min(wait, TICK_S))


async def _take_due(
    piece: Piece, sink: Sink, fed: Fed, done: Counter[Role], due: int, *, paced: bool
) -> None:
    """Hand over the first `due` events, and all that is known by then."""
    times = piece.records["events"].timestamps
    clock = times[due - 1] if due else None
    for role in sink.roles:
        records = piece.records.get(role)
        if records is None:
            continue
        end = due if role == "events" else _known(records, times, due)
        start = done[role]
        if end > start:
            await sink.take(role, _stretch(records, start, end), clock if paced else None)
            done[role] = end
            fed.sent[role] += end - start
            if role == "truth":
                fed.kinds += piece.count_kinds(start, end)
    if clock is not None:
        fed.first_ms = times[0] if fed.first_ms is None else fed.first_ms
        fed.last_ms = clock
    if paced:
        await sink.flush()


def _known(records: Records, times: Sequence[int], due: int) -> int:
    """Return how many records are known when so many events are due; all, at the last event."""
    return len(records) if due == len(times) else bisect_right(records.timestamps, times[due - 1])


def _stretch(records: Records, start: int, end: int) -> Records:
    return Records(
        records.keys[start:end], records.values[start:end], records.timestamps[start:end]
    )


def _over(stop: asyncio.Event, begun: float, seconds_max: float) -> bool:
    return stop.is_set() or time.monotonic() - begun >= seconds_max


async def stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until `stop` is set; say whether it is."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), timeout=max(seconds, 0.001))
    return stop.is_set()


@contextlib.asynccontextmanager
async def open_topics(
    connection: Connection, topics: Mapping[Role, str]
) -> AsyncIterator[TopicSink]:
    """Open existing topics as a sink; leaving the block flushes it.

    Raises  `NotFoundError` for the first topic that does not exist
    """
    async with contextlib.AsyncExitStack() as stack:
        senders = {
            role: await stack.enter_async_context(topic_sender(connection, topic))
            for role, topic in topics.items()
        }
        yield TopicSink(senders)
