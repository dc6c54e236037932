"""A partition that cannot go on without a wrong result stands still, and says why.

The worker runs on: its other partitions are worked on, nothing is published for this one, and
`/health/ready` names the cause. What may pass is tried again; what cannot, in this process, ends
with the next assignment, which another process may get.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from stream_infer.errors import ConflictError

if TYPE_CHECKING:
    from stream_infer.dataplane.task import PartitionTask

log = structlog.get_logger("stream_infer.dataplane")

TRY_AGAIN_S = 5.0


class StandstillError(ConflictError):
    """A partition can go on only when something outside of it has changed.

    passes  whether that may happen while this process runs
    offset  of the record that it stands at, None where it is no record
    """

    def __init__(
        self,
        code: str,
        message: str,
        fix: str,
        *,
        passes: bool = False,
        offset: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(code, message, fix, **details)
        self.passes = passes
        self.offset = offset


async def run_or_stand_still(task: PartitionTask, *, again_s: float = TRY_AGAIN_S) -> None:
    """Run a partition's task; where it cannot go on, wait until it can, or until cancelled."""
    told = None
    while True:
        try:
            await task.run()
        except StandstillError as error:
            task.waits_for = error
            if error.code != told:
                told = error.code
                log.warning(
                    "partition_stands_still",
                    source=str(task.source),
                    code=error.code,
                    cause=error.message,
                    fix=error.fix,
                )
            if not error.passes:
                await asyncio.Event().wait()
            await asyncio.sleep(again_s)
        else:
            return
