"""What an observer reads off a data plane that the rest of a worker has filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from stream_infer.checkpoints.chunks import Chunk
from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import ChunkPlace, Draft
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.facts import PlaneObserver, lag_of
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.senders import Assigned, Senders
from stream_infer.dataplane.task import PartitionTask
from stream_infer.errors import StreamInferError
from stream_infer.observability.facts import CheckpointFacts, PlaneFacts
from stream_infer.serving.overload import Lag
from stream_infer.settings.worker import WorkerSettings
from support.checkpoints import state_of

P0 = Partition("payments", 0)
START = StartPoint(0, 0, 0, must_commit=False, end=0)


async def _replay(
    source: Partition,
    start: int,
    end: int,
    on_batch: Callable[[RecordBatch], None],
) -> None:
    raise AssertionError


def _no_senders(_assigned: Assigned) -> Senders:
    raise AssertionError


async def _fail(error: BaseException) -> None:
    raise error


def opened() -> DataPlane:
    return DataPlane(WorkerSettings(), replay=_replay, make_senders=_no_senders, on_failure=_fail)


def observed(checkpoints: Checkpointer | None) -> PlaneFacts:
    plane = opened()
    plane.checkpoints = checkpoints
    return PlaneObserver(plane, model=lambda: None, is_stopping=lambda: False)()


class _FullFolder(FolderStore):
    async def put(self, draft: Draft, chunk: Chunk) -> ChunkPlace:
        raise StreamInferError("disk_full", "The disk is full.", "Make room.")


async def test_a_checkpoint_that_was_published_is_counted(tmp_path: Path) -> None:
    checkpoints = Checkpointer(FolderStore(tmp_path, "payments"), "payments")
    checkpoints.assigned(P0, 0)
    checkpoints.take(P0, "card", START, 50, state_of(50))
    checkpoints.committed(P0, 50)
    await checkpoints.settle()
    assert observed(checkpoints).checkpoints == CheckpointFacts(published=1, failed=0)


async def test_a_checkpoint_that_could_not_be_written_is_counted(tmp_path: Path) -> None:
    checkpoints = Checkpointer(_FullFolder(tmp_path, "payments"), "payments")
    checkpoints.assigned(P0, 0)
    checkpoints.take(P0, "card", START, 50, state_of(50))
    await checkpoints.settle()
    assert observed(checkpoints).checkpoints == CheckpointFacts(published=0, failed=1)


def test_where_no_checkpoints_are_taken_none_are_counted() -> None:
    assert observed(None).checkpoints is None


def test_the_lag_is_told_over_all_stages_and_partitions() -> None:
    plane = opened()
    assert lag_of(plane) == Lag(events=0, age_s=0.0, behind=False)
    plane.totals.meter("customer").ages(np.full(3, 5_000_000_000_000), 5_000_000_002_000)
    plane.totals.meter("terminal").ages(np.array([5_000_000_000_000]), 5_000_000_000_500)
    other = Partition(P0.topic, 1)
    ends: dict[Partition, int | None] = {P0: None, other: 7}
    plane.ledger.log_end = lambda source, position: ends[source]  # type: ignore[method-assign]
    plane.tasks = {at: cast("PartitionTask", SimpleNamespace(position=7)) for at in ends}
    assert lag_of(plane) == Lag(events=4, age_s=6.5, behind=False)
    ends[other] = 8
    assert lag_of(plane).behind
