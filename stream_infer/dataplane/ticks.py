"""Time as a record: what lets an alert end when nothing more comes.

A fold sees no clock. So the owner of a partition of a log of ours writes a tick into it when
nobody else writes and something waits for it. Its time is the partition's clock plus the wall
time since something moved that clock. None is written while anything is left to read, nor
behind old data: after a replay of last year the wall's time says nothing about that year.
"""

from __future__ import annotations

from stream_infer.dataplane.task import PartitionTask

TICK_SECONDS = 1.0
"""How often ticks are written at most, and how long a log must be idle before the first."""


def tick_of(task: PartitionTask) -> bytes | None:
    """Return the tick that a partition's log is due, None if it is due none."""
    idle = task.idle_clock()
    if idle is None or idle[1] < TICK_SECONDS:
        return None
    clock_ms, idle_s = idle
    return task.stage.tick(task.state, clock_ms + round(idle_s * 1000))
