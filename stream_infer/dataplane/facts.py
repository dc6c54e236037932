"""A data plane at one moment, as plain values for metrics and health."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.task import PartitionTask
from stream_infer.observability.facts import PartitionFacts, PlaneFacts
from stream_infer.observability.progress import ProgressWatch


class PlaneObserver:
    """Makes the facts of a plane; called on the event loop, once a second.

    plane        what is observed
    model        name and version of the model that scores, None without
    is_stopping  whether the worker was told to stop
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        model: tuple[str, str] | None,
        is_stopping: Callable[[], bool],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plane = plane
        self._model = model
        self._is_stopping = is_stopping
        self._seconds = seconds
        self._progress = ProgressWatch[Partition]()

    def __call__(self) -> PlaneFacts:
        """Return the facts."""
        plane = self._plane
        unmoved = self._progress.look(plane.in_work(), self._seconds())
        return PlaneFacts(
            opened=bool(plane.stages),
            joined=plane.joined,
            stopping=self._is_stopping(),
            partitions=tuple(
                self._partition(task, unmoved.get(partition, 0.0))
                for partition, task in sorted(plane.tasks.items())
            ),
            counters=plane.totals.counters(),
            meters={name: meter.facts() for name, meter in plane.totals.meters().items()},
            in_flight_bytes=plane.budget.held,
            in_flight_bytes_max=plane.budget.bytes_max,
            polled_s=plane.polled_s,
            broker_away_since_s=plane.broker_away_since_s,
            model=self._model,
        )

    def _partition(self, task: PartitionTask, unmoved_s: float) -> PartitionFacts:
        state = task.state
        return PartitionFacts(
            stage=task.stage.name,
            topic=task.source.topic,
            partition=task.source.partition,
            phase=task.phase.value,
            position=task.position,
            log_end=self._plane.log_end(task.source),
            unmoved_s=unmoved_s,
            held=task.held,
            entries=0 if state is None else state.entries,
            keys=0 if state is None else state.keys,
            bytes=0 if state is None else state.bytes,
        )
