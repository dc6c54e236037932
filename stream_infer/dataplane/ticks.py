"""Time as a record: what lets an alert end when nothing more comes.

A fold sees no clock. So the owner of a partition of a log of ours writes a tick into it when
nobody else writes and something waits for it. Its time is the partition's clock plus the wall
time since something moved that clock. None is written while anything is left to read, nor
behind old data: after a replay of last year the wall's time says nothing about that year.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs, Refused
from stream_infer.dataplane.sender import SENDER_STOPPED
from stream_infer.dataplane.senders import Senders, Sending
from stream_infer.dataplane.task import PartitionTask
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.errors import BrokerError

log = structlog.get_logger("stream_infer.dataplane")

TICK_SECONDS = 1.0
"""How often ticks are written at most, and how long a log must be idle before the first."""


async def write_ticks(tasks: Mapping[Partition, PartitionTask], senders: Senders) -> None:
    """Write the ticks that are due; raise BrokerError when writing is forbidden."""
    due = [(partition, value) for partition, task in tasks.items() if (value := tick_of(task))]
    await asyncio.gather(*(_write(senders.of(p), p, value) for p, value in due))


def tick_of(task: PartitionTask) -> bytes | None:
    """Return the tick that a partition's log is due, None if it is due none."""
    idle = task.idle_clock()
    if idle is None or idle[1] < TICK_SECONDS:
        return None
    clock_ms, idle_s = idle
    return task.stage.tick(task.state, clock_ms + round(idle_s * 1000))


async def _write(sender: Sending, partition: Partition, value: bytes) -> None:
    outputs = Outputs()
    outputs.add(partition, None, value, NO_HEADERS, 0)
    try:
        await sender.deliver(outputs, None, _give_up)
    except BrokerError as error:
        # Given up with its partition, whose next owner writes the ticks.
        if error.code != SENDER_STOPPED and not isinstance(error, AssignmentMovedOnError):
            raise


def _give_up(refused: Sequence[Refused]) -> Outputs:
    for destination, _, answer in refused:
        log.warning("tick_refused", topic=destination.topic, cause=answer)
    return Outputs()
