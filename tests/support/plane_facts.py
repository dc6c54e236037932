"""Facts of a worker that never ran."""

from __future__ import annotations

import numpy as np

from stream_infer.observability.facts import (
    CheckpointFacts,
    DriftFacts,
    ModelFacts,
    PartitionFacts,
    PlaneFacts,
    TransactionFacts,
    TrialFacts,
)
from stream_infer.observability.meter import EMIT, FOLD, READ, SCORE, SEND, StageMeter
from stream_infer.observability.metrics import COUNTERS

NOW_MS = 1_700_000_000_000


def busy_facts(partitions: int = 2) -> PlaneFacts:
    """Return a worker of two stages, in which every counter and gauge says something."""
    meter = StageMeter()
    for step in (READ, FOLD, SCORE, EMIT, SEND):
        meter.lap(step, 0.0)
    meter.batch(100)
    meter.ages(np.array([NOW_MS - 3, NOW_MS - 400]), NOW_MS)
    meter.dead_letter("bad_time")
    return PlaneFacts(
        opened=True,
        joined=True,
        partitions=tuple(
            PartitionFacts(
                stage=stage,
                topic=topic,
                partition=number,
                phase="running",
                position=90,
                log_end=100,
                unmoved_s=1.5,
                stalled_s=2.5,
                stalled_by="loader",
                entries=1000,
                keys=50,
                bytes=65536,
            )
            for stage, topic in (("customer", "transactions"), ("terminal", "fraud.by-terminal"))
            for number in range(partitions)
        ),
        transactions=tuple(
            TransactionFacts(
                stage=stage,
                transactional_id=f"fraud.{stage}.1",
                commits=7,
                aborts=2,
                open_s=0.02,
                since_commit_s=0.03,
            )
            for stage in ("customer", "terminal")
        ),
        checkpoints=CheckpointFacts(published=5, failed=1),
        counters={
            stage: {name: number + 1 for number, name in enumerate(COUNTERS)}
            for stage in ("customer", "terminal")
        },
        meters={"customer": meter.facts(), "terminal": StageMeter().facts()},
        in_flight_bytes=4096,
        in_flight_bytes_max=12582912,
        model=("fraud", "1"),
        models=ModelFacts(
            serves={"champion": "1", "challenger": "2"},
            number=7,
            failures={"shadow": "version_not_found"},
            fast=True,
            decides=True,
            drift=(
                DriftFacts(feature="amount", version="1", index=0.4, bound=0.11),
                DriftFacts(feature="count", version="1", index=0.02, bound=0.11),
            ),
            trial=TrialFacts(
                champion="1",
                challenger="2",
                labels=640,
                gain=0.002,
                promote=0.8,
                reject=0.1,
                followed=0.5,
            ),
        ),
    )
