"""How the tasks of an assignment end: what is under way is finished, within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.lifecycle import Deadline, Ending, ending
from stream_infer.dataplane.task import PartitionTask

log = structlog.get_logger("stream_infer.dataplane")


async def end_runners(runners: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: inside a Kafka client a cancellation may get lost."""
    pending = set(runners)
    while pending:
        for runner in pending:
            runner.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)


async def drain(
    tasks: Mapping[Partition, PartitionTask], deadline: Deadline, seconds: Callable[[], float]
) -> set[Partition]:
    """Close every task; return the partitions whose writes are not to be committed.

    seconds  the clock of the deadline
    """
    closing = {asyncio.create_task(task.close()): task for task in tasks.values()}
    done, late = await asyncio.wait(closing, timeout=deadline.drain_s(seconds()))
    for unfinished in late:
        unfinished.cancel()
        log.warning("drain_timed_out", source=str(closing[unfinished].source))
        await closing[unfinished].abandon()
    for finished in done:
        finished.result()
    return {
        task.source
        for each, task in closing.items()
        if ending(was_fenced=task.life.was_fenced, is_answered=each in done) is Ending.GIVE_UP
    }
