"""A data plane at one moment, as plain values for metrics and health."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.stalls import FindHolder, Stall, StallWatch
from stream_infer.dataplane.task import PartitionTask
from stream_infer.observability.facts import (
    CheckpointFacts,
    ModelFacts,
    PartitionFacts,
    PlaneFacts,
)
from stream_infer.observability.progress import ProgressWatch
from stream_infer.serving.overload import Lag


def lag_of(plane: DataPlane) -> Lag:
    """Return the ages of what a plane has scored so far, and whether there is more."""
    ages = [meter.facts().event_age for meter in plane.totals.meters().values()]
    behind = False
    for source, task in plane.tasks.items():
        end = plane.ledger.log_end(source, task.position)
        behind = behind or (end is not None and end > task.position)
    return Lag(
        events=sum(sum(each.counts) for each in ages),
        age_s=sum(each.total for each in ages),
        behind=behind,
    )


class PlaneObserver:
    """Makes the facts of a plane; called on the event loop, once a second.

    plane        what is observed
    model        returns name and version of the model that scores now, None without
    is_stopping  whether the worker was told to stop
    find_holder  asks Kafka whose transaction a partition waits for
    models       returns which versions a registry lets serve, None without one
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        model: Callable[[], tuple[str, str] | None],
        is_stopping: Callable[[], bool],
        find_holder: FindHolder | None = None,
        models: Callable[[], ModelFacts | None] = lambda: None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plane = plane
        self._model = model
        self._models = models
        self._is_stopping = is_stopping
        self._seconds = seconds
        self._progress = ProgressWatch[Partition]()
        self._stalls = StallWatch(find_holder)

    def __call__(self) -> PlaneFacts:
        """Return the facts."""
        plane = self._plane
        now_s = self._seconds()
        unmoved = self._progress.look(plane.ledger.in_work(), now_s)
        stalls = self._stalls.look({p: plane.ledger.read_to(p) for p in plane.tasks}, now_s)
        return PlaneFacts(
            opened=bool(plane.stages),
            joined=plane.joined,
            stopping=self._is_stopping(),
            partitions=tuple(
                self._partition(task, unmoved.get(partition, 0.0), stalls.get(partition), now_s)
                for partition, task in sorted({**plane.draining, **plane.tasks}.items())
            ),
            transactions=tuple(plane.totals.transactions()),
            checkpoints=_checkpoints(plane.checkpoints),
            counters=plane.totals.counters(),
            meters={name: meter.facts() for name, meter in plane.totals.meters().items()},
            in_flight_bytes=plane.ledger.budget.held,
            in_flight_bytes_max=plane.ledger.budget.bytes_max,
            polled_s=plane.polled_s,
            broker_away_since_s=plane.broker_away_since_s,
            model=self._model(),
            models=self._models(),
        )

    def _partition(
        self, task: PartitionTask, unmoved_s: float, stall: Stall | None, now_s: float
    ) -> PartitionFacts:
        state = task.state
        is_here = task.source in self._plane.tasks
        return PartitionFacts(
            stage=task.stage.name,
            topic=task.source.topic,
            partition=task.source.partition,
            phase=task.phase.value,
            position=task.position,
            log_end=self._plane.ledger.log_end(task.source, task.position) if is_here else None,
            unmoved_s=unmoved_s,
            held=task.held,
            waits_for="" if task.waits_for is None else task.waits_for.code,
            stalled_s=0.0 if stall is None else now_s - stall.since_s,
            stalled_by="" if stall is None else stall.by,
            entries=0 if state is None else state.entries,
            keys=0 if state is None else state.keys,
            bytes=0 if state is None else state.bytes,
        )


def _checkpoints(of: Checkpointer | None) -> CheckpointFacts | None:
    return None if of is None else CheckpointFacts(published=of.published, failed=of.failed)
