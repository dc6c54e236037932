"""Where the partitions of an assignment start, from what the group has committed.

`Starts` puts the stages' and the worker's settings to the decision of `dataplane/offsets`, and
notices what one look at the offsets cannot tell: that another tool has committed them, and that
they have gone while this worker runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.made_anew import input_made_anew, lists_made_anew
from stream_infer.dataplane.offsets import (
    Committed,
    KnownBase,
    LogBounds,
    Start,
    StartPoint,
    decide_start,
    declared_start,
)
from stream_infer.dataplane.stage import Stage
from stream_infer.settings.worker import WorkerSettings

log = structlog.get_logger("stream_infer.dataplane")


class Starts:
    """Decides the starts of each assignment of one worker.

    stages      topic -> the stage that reads it
    settings    of the worker
    partitions  topic -> number of partitions, to be told by each commit; see `StartPoint`
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        settings: WorkerSettings,
        partitions: Mapping[str, int] | None = None,
    ) -> None:
        self._stages = stages
        self._settings = settings
        self._partitions = partitions or {}
        self._had_offset: set[Partition] = set()

    def decide(
        self,
        committed: Mapping[Partition, Committed | None],
        bounds: Mapping[Partition, LogBounds],
        bases: Mapping[Partition, Sequence[KnownBase]] | None = None,
    ) -> dict[Partition, StartPoint]:
        """Return where each assigned partition starts.

        bases   states made of a history, of the partitions that may begin with one
        Raises ConflictError where `decide_start` does, and when a topic was made anew
        """
        for partition in bounds:
            self._look_back(partition, committed[partition])
        known = bases or {}
        starts = {
            partition: replace(
                decide_start(
                    partition,
                    None if self._reads_all(partition) else committed[partition],
                    bounds[partition],
                    start=self._start_of(partition),
                    when_offset_lost=self._settings.when_offset_lost,
                    bases=known.get(partition, ()),
                ),
                partitions=self._partitions.get(partition.topic),
            )
            for partition in bounds
        }
        for partition, found in known.items():
            _tell_base(partition, found, starts[partition])
        return starts

    def _look_back(self, partition: Partition, committed: Committed | None) -> None:
        """Notice an offset that another tool has set, and one that has gone."""
        stage = self._stages.get(partition.topic)
        if stage is None:
            return
        if committed is None:
            if partition in self._had_offset and stage.feeds is not None:
                # The topic was deleted while this worker ran, and another of its name is there.
                if stage.reads_all:
                    raise lists_made_anew(partition.topic, stage.feeds)
                raise input_made_anew([partition])
            return
        if declared_start(committed.metadata) is None:
            log.warning("offset_reset", source=str(partition), offset=committed.offset)
        self._had_offset.add(partition)

    def _reads_all(self, partition: Partition) -> bool:
        stage = self._stages.get(partition.topic)
        return stage is not None and stage.reads_all

    def _start_of(self, partition: Partition) -> Start:
        ours = partition.topic in self._stages and not self._reads_all(partition)
        return self._settings.start if ours else "earliest"


def _tell_base(partition: Partition, found: Sequence[KnownBase], start: StartPoint) -> None:
    """Say that a state made of a history is begun with, or that those that are there are not."""
    if start.base is not None:
        log.info("base_adopted", source=str(partition), offset=start.declared, base=start.base)
    elif found:
        log.warning(
            "base_not_adopted",
            source=str(partition),
            starts_at=start.position,
            bases_at=[each.offset for each in found],
            of_these_declarations=[each.fits for each in found],
            fix="Build it again for where the partition starts, before the first worker starts.",
        )
