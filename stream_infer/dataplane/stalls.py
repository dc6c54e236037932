"""Input that is held up by somebody's open transaction: seen, timed, and named.

A reader of committed records gets nothing behind the first record of a transaction that is still
open, whosever it is. Such a log grows while its last stable offset stands still. A transaction of
ours lasts milliseconds, and one that a dead worker left open until its time-out is over.

A log that we do not ask for, since we have enough of it or it is ahead of others, stands still
too, as far as we know: only answers of Kafka count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import ReadTo

log = structlog.get_logger("stream_infer.dataplane")

ASK_AFTER_S = 3.0
"""An offset that stands still for so long is worth asking Kafka for the reason."""

UNHEARD_S_MAX = 2.0
"""A log of which nothing was heard for so long is not asked for: empty answers come each half
second."""

UNKNOWN_PRODUCER = "an unknown producer"

FindHolder = Callable[[Partition], Awaitable[str | None]]
"""Returns the transactional id of the oldest open transaction on a partition, None if unknown."""


@dataclass(slots=True)
class Stall:
    """A last stable offset that stands still below the end of its log.

    stable   that offset
    since_s  since when
    heard_s  when an answer last said so
    said_ms  that answer's own time
    by       whose transaction it is; empty before that was asked
    """

    stable: int
    since_s: float
    heard_s: float
    said_ms: int | None
    by: str = ""


class StallWatch:
    """Which partitions stall. It owns since when; it changes by `look`.

    find_holder  None where nobody can be asked
    """

    def __init__(self, find_holder: FindHolder | None = None) -> None:
        self._find_holder = find_holder
        self._stalls: dict[Partition, Stall] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def look(self, read: Mapping[Partition, ReadTo], now_s: float) -> dict[Partition, Stall]:
        """Return what stalls now; call it about once a second, on the event loop."""
        self._stalls = {
            partition: stall
            for partition, each in read.items()
            if (stall := stall_of(self._stalls.get(partition), each, now_s)) is not None
        }
        for partition, stall in self._stalls.items():
            if not stall.by and stall.heard_s - stall.since_s >= ASK_AFTER_S:
                stall.by = UNKNOWN_PRODUCER
                if self._find_holder is not None:
                    asking = asyncio.create_task(self._ask(self._find_holder, partition, stall))
                    self._asking.add(asking)
                    asking.add_done_callback(self._asking.discard)
        return self._stalls

    async def _ask(self, find_holder: FindHolder, partition: Partition, stall: Stall) -> None:
        cause = ""
        try:
            stall.by = await find_holder(partition) or UNKNOWN_PRODUCER
        except Exception as error:  # noqa: BLE001 - only a name is missing then; the cause is logged
            cause = str(error) or type(error).__name__
        log.warning(
            "stalled_by_open_transaction",
            source=str(partition),
            transactional_id=stall.by,
            last_stable_offset=stall.stable,
            **({"not_named": cause} if cause else {}),
        )


def stall_of(before: Stall | None, read: ReadTo, now_s: float) -> Stall | None:
    """Return how a partition stalls now, None where it does not."""
    stable, written = read.end, read.written
    if stable is None or written is None or stable < 0 or stable >= written:
        return None
    if before is None or before.stable != stable:
        return Stall(stable, now_s, now_s, read.said_ms)
    if read.said_ms is None or read.said_ms != before.said_ms:
        before.heard_s, before.said_ms = now_s, read.said_ms
    if now_s - before.heard_s > UNHEARD_S_MAX:
        return None
    return before
