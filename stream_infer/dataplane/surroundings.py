"""What a partition's work needs from outside, so that a test can give it anything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.outputs import Outputs


class Replayer(Protocol):
    """Reads a stretch of a partition's log, apart from the group."""

    async def __call__(
        self,
        source: Partition,
        start: int,
        end: int,
        on_batch: Callable[[RecordBatch], None],
    ) -> None:
        """Hand every record of offsets ``start..end-1`` to `on_batch`, in order."""


def _to_nobody(_outputs: Outputs) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Surroundings:
    """What a task needs from outside.

    replay         reads the log for the restore
    on_progress    called whenever the partition's head may have moved
    wait_progress  waits until any partition's head may have moved, or a moment has passed
    seconds        a clock that never goes back, in seconds
    lived          the time that has passed in the logs, see `LivedTime`, in seconds
    has_unread     whether a partition's log is known to have more, at or behind an offset
    is_restoring   whether any partition's state is still being restored
    passes_on      called with what is about to be written
    checkpoints    where states are kept from time to time; None: nowhere
    """

    replay: Replayer
    on_progress: Callable[[], None]
    wait_progress: Callable[[], Awaitable[None]]
    seconds: Callable[[], float]
    lived: Callable[[], float]
    has_unread: Callable[[Partition, int], bool]
    is_restoring: Callable[[], bool]
    passes_on: Callable[[Outputs], None] = _to_nobody
    checkpoints: Checkpointer | None = None
    state_bytes_max: int | None = None
    align_wait_max_s: float | None = 5.0
