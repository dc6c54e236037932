"""Makes what the folds of a pipeline begin with out of a history file.

1. where each partition's fold begins, and that none has begun otherwise
2. the overlap of the history with the log behind those starts
3. each partition's state, one after the other, written and not yet published
4. all of them published, the last stage's first: a worker finds all or, for a moment, those
   of the stages behind, which do nothing before the first one reads
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from stream_infer.checkpoints.manifest import Draft, Manifest
from stream_infer.checkpoints.reading import read_frames
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.stage import FeatureStage
from stream_infer.errors import InvalidDataError
from stream_infer.kafka.reading import TopicPartition, log_reader
from stream_infer.kafka.stretch import Stretch
from stream_infer.states.history import Folded, History, fold_history
from stream_infer.states.placing import base_offset, refuse_overlap, same_bases
from stream_infer.states.report import BuildReport, Built
from stream_infer.states.workplace import Workplace

FIRST_RECORDS_MAX = 1_000
"""So many of a log's first records tell when it begins: they come in about the order of time."""


async def build_from_history(
    place: Workplace, history: History, progress: Callable[[int], None]
) -> BuildReport:
    """Write what the folds begin with, a checkpoint a partition of each stage that folds events.

    Alerts begin with none: nobody was told of what the history would have raised. Safe to repeat;
    one that is there and whole is left as it is.
    progress  called with the rows folded so far, each stage's counted
    Raises    ConflictError ``history_too_late``, ``history_overlaps_log``, ``base_differs``; what
              the store raises
    """
    offsets = _offsets(place, history)
    refuse_overlap(history, await _first_event_ms(place))
    store, done = place.store, 0
    written: list[tuple[Manifest, int]] = []
    try:
        for folded in fold_history(place.plan, place.stages, place.partitions, history):
            source = Partition(folded.stage.topic, folded.partition)
            draft = _draft(place, history, folded, offsets[source])
            manifest = await write_checkpoint(store, draft, folded.state.capture())
            written.append((manifest, folded.rows))
            done += folded.rows
            progress(done)
        same = same_bases(await store.found(), [manifest for manifest, _ in written])
    except BaseException:
        for manifest, _ in written:
            await _discard(store, manifest)
        raise
    built = []
    for manifest, rows in reversed(written):
        standing = await _whole(store, same.get(manifest.id, []))
        if standing is None:
            await store.publish(manifest)
            built.append(Built.of(manifest, "written", rows))
        else:
            await _discard(store, manifest)
            built.append(Built.of(standing, "exists", rows))
    return BuildReport(
        pipeline=place.pipeline.name,
        base=history.base,
        rows=len(history),
        skipped=history.skipped,
        built=built[::-1],
    )


def _offsets(place: Workplace, history: History) -> dict[Partition, int]:
    return {
        source: base_offset(
            source,
            place.committed.get(source),
            place.bounds[source],
            start=place.settings.start,
            base=history.base,
        )
        for stage in place.stages
        if isinstance(stage, FeatureStage)
        for source in place.sources(stage)
    }


async def _first_event_ms(place: Workplace) -> int | None:
    """Return the event time of the earliest event behind the starts, None where there is none yet.

    Once a fold has begun with a history, what that holds was decided: nobody asks again.
    """
    stage = place.entrance
    sources = [source for source in place.sources(stage) if source not in place.committed]
    if place.settings.start == "latest" or not sources:
        return None
    stretches = {}
    for source in sources:
        log = place.bounds[source]
        end = min(log.end, log.start + FIRST_RECORDS_MAX)
        stretches[TopicPartition(*source)] = Stretch(log.start, end)
    earliest: list[int] = []
    async with log_reader(place.connection) as reader:
        async for tp, records in reader.read(stretches):
            [read] = stage.read([RecordBatch(Partition(*tp), records)])
            if len(read.columns):
                earliest.append(int(read.columns.event_time.min()))
    return min(earliest, default=None)


def _draft(place: Workplace, history: History, folded: Folded, offset: int) -> Draft:
    state = folded.state
    return Draft(
        id=uuid.uuid4().hex,
        pipeline=place.pipeline.name,
        stage=folded.stage.name,
        topic=folded.stage.topic,
        partition=folded.partition,
        offset=offset,
        declared_start=offset,
        fingerprint=state.fingerprint,
        created_ms=time.time_ns() // 1_000_000,
        keys=state.keys,
        entries=state.entries,
        base=history.base,
    )


async def _whole(store: CheckpointStore, standing: list[Manifest]) -> Manifest | None:
    """Return one of the checkpoints that can be read to its end."""
    for manifest in standing:
        try:
            async for _ in read_frames(store, manifest):
                pass
        except InvalidDataError as error:
            if error.code not in ("checkpoint_damaged", "checkpoint_malformed"):
                raise
        else:
            return manifest
    return None


async def _discard(store: CheckpointStore, manifest: Manifest) -> None:
    draft = Draft(**{name: getattr(manifest, name) for name in Draft.__dataclass_fields__})
    await store.discard(draft, len(manifest.chunks))
