"""What the data plane needs to know about how it is to run: one small frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream_infer.pipeline import Partitioning

Delivery = Literal["at_least_once"]
UnknownFields = Literal["ignore", "keep", "refuse"]
Start = Literal["earliest", "latest"]
WhenOffsetLost = Literal["fail", "earliest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker runs its stages.

    delivery             ``at_least_once``: an output may be doubled by a crash, state never
    in_flight_bytes_max  input in memory whose outputs Kafka has not acknowledged; above it no
                         input is read. 12 MiB is a quarter of a second at full speed
    align_skew_ms        in catch-up, how far ahead in event time one partition may run
    align_wait_max_ms    live, how long a record may be held for alignment; None: no limit
    commit_interval_ms   how often finished offsets are committed
    gather_ms            while data flows, how long Kafka gathers it for one fetch: short answers
                         sooner, long takes less processor time. A busy worker waits longer by
                         itself
    partitioning         in place of what the pipeline declares for its input; None: as declared
    unknown_fields       what happens to fields that the event type does not have
    publish_features     whether scored events carry the features
    start                where a partition without a committed offset begins
    when_offset_lost     what to do when retention removed records that were not read yet
    state_bytes_max      memory that one partition's state may take; None: no limit
    """

    delivery: Delivery = "at_least_once"
    in_flight_bytes_max: int = 12 * 1024 * 1024
    align_skew_ms: int = 3_600_000
    align_wait_max_ms: int | None = 5_000
    commit_interval_ms: int = 500
    gather_ms: int = 3
    partitioning: Partitioning | None = None
    unknown_fields: UnknownFields = "ignore"
    publish_features: bool = False
    start: Start = "earliest"
    when_offset_lost: WhenOffsetLost = "fail"
    state_bytes_max: int | None = None
