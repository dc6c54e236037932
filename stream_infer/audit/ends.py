"""Where output logs end for an audit: behind everything that was committed before it began.

A transaction's offsets count as committed a moment before its outputs can be read. So the ends
are taken with open transactions, and it is waited until these are through. One that stays open
(its worker died, and its time-out has not passed) leaves open what its outputs will be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import LogReader, TopicPartition, log_reader
from stream_infer.kafka.stretch import Stretch

OPEN_S_MAX = 3.0
"""A transaction of a worker that lives is through in a fraction of a second."""
POLL_S = 0.1

Bounds = dict[TopicPartition, Stretch]


async def settled_bounds(
    connection: Connection, reader: LogReader, places: Sequence[TopicPartition]
) -> tuple[Bounds, list[TopicPartition]]:
    """Return where the logs start and end, and those in which a transaction stays open.

    reader  reads what is committed; the ends are never beyond what it can read
    """
    if not places:
        return {}, []
    async with log_reader(connection, isolation="read_uncommitted") as uncommitted:
        bounds = await uncommitted.bounds(places)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + OPEN_S_MAX
    waiting = list(places)
    while True:
        stable = await reader.bounds(waiting)
        waiting = [tp for tp in waiting if stable[tp].end < bounds[tp].end]
        if not waiting or loop.time() > deadline:
            break
        await asyncio.sleep(POLL_S)
    for tp in waiting:
        bounds[tp] = Stretch(bounds[tp].start, stable[tp].end)
    return bounds, waiting


def open_reasons(waiting: Sequence[TopicPartition]) -> list[str]:
    """Return why nothing is proven about these logs."""
    return [
        f"A transaction in {tp.topic}-{tp.partition} is open: try again when its time-out has"
        " passed."
        for tp in waiting
    ]
