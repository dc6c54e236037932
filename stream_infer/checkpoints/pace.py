"""When a partition's next checkpoint is due: decided from what was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often checkpoints are taken.

    resume_s           longest replay after a restart, all partitions of the worker together
    interval_s_min     never more often
    interval_s_max     at least so often, if anything was read; so an idle partition has a
                       recent one too
    share_max          of the time that may go into writing checkpoints
    replay_per_s       records a second that a replay folds, before one was measured
    """

    resume_s: float = 3.0
    interval_s_min: float = 10.0
    interval_s_max: float = 600.0
    share_max: float = 0.1
    replay_per_s: float = 100_000.0

    def is_due(
        self,
        *,
        records: int,
        since_s: float,
        partitions: int,
        replay_per_s: float | None,
        write_s: float,
    ) -> bool:
        """Say whether a partition's next checkpoint is due.

        records       that a replay from its newest one would fold
        since_s       since that was taken, or since the partition was assigned
        partitions    of this worker: their replays share the time
        replay_per_s  measured, None before
        write_s       how long writing its last one took
        """
        if records <= 0 or since_s < self.interval_s_min:
            return False
        if since_s < write_s * max(1, partitions) / self.share_max:
            return False
        # Half, since what comes in until it is written, and until the next one, is replayed too.
        allowed = self.resume_s * (replay_per_s or self.replay_per_s) / max(1, partitions) / 2
        return records >= allowed or since_s >= self.interval_s_max
