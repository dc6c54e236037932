"""What the data plane needs to know about how it is to run: one small frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream_infer.pipeline import Partitioning

Delivery = Literal["exactly_once", "at_least_once"]
UnknownFields = Literal["ignore", "keep", "refuse"]
Start = Literal["earliest", "latest"]
WhenOffsetLost = Literal["fail", "earliest"]


GATHER_MS, GATHER_MS_MOST = 5.0, 12.0
"""How far apart the fetches of a topic are, at least once, and of a busy worker."""

BEAT_SHARE, BEAT_MS_MOST = 0.5, 1_000.0
"""The same, exactly once: a share of the interval of the commits, within a bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker runs its stages.

    delivery             ``exactly_once``: outputs and the offsets that they come from are one
                         transaction. ``at_least_once``: answers sooner; an output may be doubled
                         by a crash, state never
    in_flight_bytes_max  input in memory whose outputs Kafka has not acknowledged; above it no
                         input is read. 12 MiB is a quarter of a second at full speed
    align_skew_ms        in catch-up, how far ahead in event time one partition may run
    align_wait_max_ms    live, how long a record may be held for alignment; None: no limit
    commit_interval_ms   how often what is finished is committed. Exactly once, a reader sees no
                         output before that
    session_timeout_ms   after so long without a sign of life the group gives a worker's partitions
                         to others
    transaction_timeout_ms  after so long Kafka aborts what a dead worker has left open, for which
                         readers behind it wait
    connect_wait_ms      how long a worker that starts waits for a Kafka that is not there; one that
                         runs waits as long as it takes
    instance_id          name of a static member of the group, unique in it; None: no such member
    gather_ms            how far apart the fetches of a topic are that others write: short answers
                         sooner, long takes less processor time. None: as fits the delivery. A busy
                         worker waits longer by itself; what its own stages write for each other,
                         and what it has not caught up with, it never waits for
    partitioning         in place of what the pipeline declares for its input; None: as declared
    unknown_fields       what happens to fields that the event type does not have
    publish_features     whether scored events carry the features
    start                where a partition without a committed offset begins
    when_offset_lost     what to do when retention removed records that were not read yet
    checkpoints          where states are kept: ``kafka``, a folder as ``file:///...``, or ``off``
    state_bytes_max      memory that one partition's state may take; None: no limit
    """

    delivery: Delivery = "exactly_once"
    in_flight_bytes_max: int = 12 * 1024 * 1024
    align_skew_ms: int = 3_600_000
    align_wait_max_ms: int | None = 5_000
    commit_interval_ms: int | None = None
    session_timeout_ms: int = 15_000
    transaction_timeout_ms: int = 5_000
    connect_wait_ms: int = 60_000
    instance_id: str | None = None
    gather_ms: int | None = None
    partitioning: Partitioning | None = None
    unknown_fields: UnknownFields = "ignore"
    publish_features: bool = False
    start: Start = "earliest"
    when_offset_lost: WhenOffsetLost = "fail"
    checkpoints: str = "kafka"
    state_bytes_max: int | None = None

    @property
    def commit_interval_s(self) -> float:
        """How often is committed: as set, or as fits the delivery."""
        if self.commit_interval_ms is not None:
            return self.commit_interval_ms / 1000
        return 0.05 if self.delivery == "exactly_once" else 0.5

    @property
    def beat_ms(self) -> tuple[float, float]:
        """How far apart fetches are, and those of a busy worker: as set, or as fits the delivery.

        Exactly once, nobody has sooner what is fetched more often than it is committed.
        """
        least, most = GATHER_MS, GATHER_MS_MOST
        if self.delivery == "exactly_once":
            most = min(1000 * self.commit_interval_s, BEAT_MS_MOST)
            least = BEAT_SHARE * most
        if self.gather_ms is not None:
            least = self.gather_ms
        return least, max(least, most)
