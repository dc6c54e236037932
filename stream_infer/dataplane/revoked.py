"""What is kept of the partitions that were revoked, in case they come back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.lifecycle import Cause, Life, keeps_state
from stream_infer.dataplane.stage import State
from stream_infer.dataplane.task import PartitionTask
from stream_infer.kafka.skips import Skipped

log = structlog.get_logger("stream_infer.dataplane")


class Revoked:
    """States that are exactly the fold of what is committed, and the lives of all that left."""

    def __init__(self) -> None:
        self.states: dict[Partition, tuple[int, State]] = {}
        self._lives: dict[Partition, Life] = {}

    def leave(self, task: PartitionTask, committed: int) -> None:
        """Take what is left of a closed task.

        committed  the offset that the group has
        """
        settled = task.settled()
        if settled is not None and keeps_state(
            was_fenced=task.life.was_fenced, folded_to=settled[0], committed=committed
        ):
            self.states[task.source] = settled
        self._lives[task.source] = task.life

    def come_back(
        self, before: Skipped, now: Skipped, assigned: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, State]]:
        """Hand over the states, each with its offset, and tell which partitions are lost.

        before, now  records that were passed over when the states were folded, and that are now: a
                     state that holds one that is to be passed over is of no use
        """
        states, self.states = self.states, {}
        self._tell_lost(assigned)
        return {
            partition: state
            for partition, state in states.items()
            if before.get(partition) == now.get(partition)
        }

    def _tell_lost(self, assigned: Collection[Partition]) -> None:
        lives, self._lives = self._lives, {}
        lost = sorted(lives.keys() - assigned)
        for partition in lost:
            lives[partition].move(Cause.NOT_ASSIGNED_AGAIN)
        if lost:
            log.info("lost", partitions=[str(partition) for partition in lost])
