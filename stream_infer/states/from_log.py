"""Makes the states of a pipeline's declarations out of its logs, beside the workers that run.

For each partition of each stage that has a state:

    1. where its fold began, as the group's commit says
    2. the newest checkpoint of these declarations that fits; without one an empty state, or the
       one that a history gave
    3. a silent replay from there to the committed offset
    4. a checkpoint at that offset, published: what it covers is committed

The group is not joined and nothing is committed. One partition is done at a time; a build that
was cut short goes on from the partitions that it has published.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from stream_infer.checkpoints.choosing import passed_over, prunable
from stream_infer.checkpoints.manifest import Draft, Mark
from stream_infer.checkpoints.marks import read_mark
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.bases import find_bases
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.checkpoint_finding import CheckpointFinder
from stream_infer.dataplane.offsets import Committed, StartPoint, decide_start
from stream_infer.dataplane.replaying import LogReplayer
from stream_infer.dataplane.stage import Stage
from stream_infer.states.report import BuildReport, Built
from stream_infer.states.workplace import Workplace


async def build_from_log(place: Workplace, progress: Callable[[int], None]) -> BuildReport:
    """Write a checkpoint of each partition that the group has read, at its committed offset.

    progress  called with the records replayed so far, all partitions together
    Raises    ConflictError where the commits do not fit the logs, or where a fold began with a
              history whose state of these declarations nobody has (``base_missing``); what the
              store and Kafka raise
    """
    work = _Building(place, progress)
    built = [
        await work.partition(stage, source)
        for stage in place.stages
        for source in place.sources(stage)
    ]
    return BuildReport(pipeline=place.pipeline.name, built=built)


def records_to_read(place: Workplace) -> int:
    """Return how many offsets a build replays at most: what the group has read of all logs."""
    logs = [(source, place.bounds[source]) for s in place.stages for source in place.sources(s)]
    return sum(
        max(0, place.committed[source].offset - log.start)
        for source, log in logs
        if source in place.committed
    )


class _Building:
    """One build; owns how many records it has replayed."""

    def __init__(self, place: Workplace, progress: Callable[[int], None]) -> None:
        self._place = place
        self._progress = progress
        self._done = 0
        self._finder = CheckpointFinder(
            place.store,
            place.pipeline.name,
            read_mark=lambda source, offset: read_mark(place.connection, *source, offset),
        )
        self._finder.skipped = place.skipped
        self._replay = LogReplayer(place.connection, lambda p: place.skipped.get(p, frozenset()))

    async def partition(self, stage: Stage, source: Partition) -> Built:
        """Build one partition's checkpoint."""
        commit = self._place.committed.get(source)
        if commit is None:
            return _nothing(stage, source, 0)
        start = await self._start(stage, source, commit)
        restored = await self._finder.newest(
            source, stage.name, start, lambda: stage.open_state(None)
        )
        if restored is None:
            state, begin = stage.open_state(None), start.replay_from
        else:
            state, begin = restored.state, max(restored.offset, start.replay_from)
        if begin >= start.position:
            checkpoint = None if restored is None else restored.checkpoint
            return _nothing(stage, source, start.position, checkpoint)
        folding = _Folding(stage, state, self._note)
        await self._replay(source, begin, start.position, folding.fold)
        return await self._write(stage, source, start, folding)

    async def _start(self, stage: Stage, source: Partition, commit: Committed) -> StartPoint:
        place = self._place
        bases = await find_bases(
            place.store, place.pipeline.name, {stage.topic: stage}, {source: commit}
        )
        return decide_start(
            source,
            commit,
            place.bounds[source],
            start=place.settings.start,
            when_offset_lost="fail",
            bases=bases.get(source, ()),
        )

    def _note(self, records: int) -> None:
        self._done += records
        self._progress(self._done)

    async def _write(
        self, stage: Stage, source: Partition, start: StartPoint, folding: _Folding
    ) -> Built:
        place, state = self._place, folding.state
        skips = passed_over(place.skipped.get(source, ()), start.declared, start.position)
        draft = Draft(
            id=uuid.uuid4().hex,
            pipeline=place.pipeline.name,
            stage=stage.name,
            topic=source.topic,
            partition=source.partition,
            offset=start.position,
            declared_start=start.declared,
            fingerprint=state.fingerprint,
            created_ms=time.time_ns() // 1_000_000,
            keys=state.keys,
            entries=state.entries,
            mark=folding.mark,
            base=start.base,
            skips=tuple(sorted(skips)),
        )
        manifest = await write_checkpoint(place.store, draft, state.capture())
        await place.store.publish(manifest)
        await place.store.remove(prunable(await place.store.found(), manifest))
        return Built.of(manifest, "written", folding.records)


class _Folding:
    """A state that a log is folded into, how many records it took, and the last of them."""

    def __init__(self, stage: Stage, state: Any, tell: Callable[[int], None]) -> None:
        self.state = state
        self.records = 0
        self.mark: Mark | None = None
        self._stage = stage
        self._tell = tell

    def fold(self, batch: RecordBatch) -> None:
        """Fold a batch, and write nothing."""
        [read] = self._stage.read_silently([batch])
        self._stage.fold_only(read, self.state)
        last = batch.records[-1]
        self.mark = Mark.of(last.offset, last.timestamp, last.value)
        self.records += len(batch)
        self._tell(len(batch))


def _nothing(stage: Stage, source: Partition, offset: int, checkpoint: str | None = None) -> Built:
    """Return what is said of a partition for which nothing is to be written."""
    return Built(
        stage=stage.name,
        topic=source.topic,
        partition=source.partition,
        outcome="empty" if checkpoint is None else "exists",
        offset=offset,
        checkpoint=checkpoint,
    )
