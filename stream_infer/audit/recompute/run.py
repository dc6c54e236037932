"""Fold the input logs again, offline, and hold every output against what that gives.

The judge is the log itself, not another run: two runs may interleave upstream partitions
differently in an internal topic, and each must be right for its own log. So every stage is
judged by itself, from the records that stand in the topic it reads:

    1. committed offsets, each with the declared start of its fold
    2. ends of the outputs, whether their transactions are through or not: what was
       committed before lies below them
    3. for each stage: its outputs up to those ends, by name and digest
    4. its input, partition by partition, through the worker's own stage; every output that
       comes of it is looked up

A fold that began with a history begins with its checkpoint here, too; the slow twins have no state
for it and are left out there. Records to be passed over are.

What lies behind the committed offset is folded too: an output of it may be there already,
and must then be right, but may as well be missing.

Memory: about 40 bytes an output of one stage (the sort takes 40 more while it lasts), and
the state of one partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from stream_infer.audit.ends import open_reasons, settled_bounds
from stream_infer.audit.recompute.asked import Recomputation
from stream_infer.audit.recompute.beginnings import Beginnings, beginnings
from stream_infer.audit.recompute.differences import Difference, field_differences
from stream_infer.audit.recompute.group import GroupRead, read_by_group
from stream_infer.audit.recompute.judge import StageJudge, Wanted
from stream_infer.audit.recompute.origins import (
    Content,
    Stamp,
    namings,
    without_features,
)
from stream_infer.audit.recompute.passes import Fold, Folds
from stream_infer.audit.recompute.published import FEATURES, Published
from stream_infer.audit.recompute.report import RecomputeReport, StageFindings
from stream_infer.audit.recompute.twinned import TwinnedState
from stream_infer.audit.recompute.versions import (
    others_of,
    unknown_features,
    unknown_versions,
    versions_of,
)
from stream_infer.dataplane.batch import BATCH_ROWS_MAX, Partition, RecordBatch
from stream_infer.dataplane.build import NO_FEATURES, Parts, build_stages, stage_topics
from stream_infer.dataplane.skips import without_skipped
from stream_infer.dataplane.stage import FeatureStage, Stage
from stream_infer.dataplane.state import StageState
from stream_infer.errors import ConflictError
from stream_infer.events.columns import EventColumns
from stream_infer.events.internal import OTHER_FEATURES
from stream_infer.events.topic_names import candidates_topic, internal_entities, internal_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import LogReader, log_reader
from stream_infer.kafka.skips import Skipped, read_skips, skipped_offsets
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.topics import (
    pipeline_topics,
    read_topics,
)
from stream_infer.observability.meter import StageMeter
from stream_infer.settings.worker import WorkerSettings

__all__ = ["Recomputation", "recompute"]

WAIT_MS = 10
"""Dozens of stretches are read one after the other, and each is asked for its bounds."""


async def recompute(
    connection: Connection, what: Recomputation, progress: Callable[[int], None]
) -> RecomputeReport:
    """Recompute all stages and return what was found; see the module for the steps.

    Raises  what reading Kafka raises; ConflictError when a model does not fit the pipeline;
            ``features_versions_unknown`` where an internal topic holds records of another feature
            specification than those that are given; ConfigError ``earlier_pipeline_differs``
    """
    read = await read_by_group(connection, what.pipeline.name)
    names = [spec.name for spec in pipeline_topics(what.pipeline)]
    facts = await read_topics(connection, names)
    partitions = {name: fact.partitions for name, fact in facts.items()}
    compacted = {
        name for name, fact in facts.items() if "compact" in fact.config.get("cleanup.policy", "")
    }
    places = [TopicPartition(n, p) for n, count in partitions.items() for p in range(count)]
    skipped = skipped_offsets(await read_skips(connection, what.pipeline))
    async with (
        log_reader(connection, wait_ms=WAIT_MS) as reader,
        beginnings(connection, what.pipeline.name, what.settings.checkpoints) as bases,
    ):
        logs, unsettled = await settled_bounds(connection, reader, places)
        work = _Recomputing(
            what, partitions, compacted, reader, logs, read, progress, skipped, bases
        )
        work.leave_open(unsettled)
        findings = [await work.stage(index) for index in range(len(work.stages))]
    return RecomputeReport(
        pipeline=what.pipeline.name,
        delivery=what.delivery,
        stages=findings,
        unproven=work.unproven,
    )


class _Recomputing:
    """The recomputation of one pipeline; owns what was found unproven."""

    def __init__(
        self,
        what: Recomputation,
        partitions: Mapping[str, int],
        compacted: set[str],
        reader: LogReader,
        logs: Mapping[TopicPartition, Stretch],
        read: Mapping[Partition, GroupRead],
        progress: Callable[[int], None],
        skipped: Skipped,
        bases: Beginnings,
    ) -> None:
        self._skipped = skipped
        self._bases = bases
        self.unproven: list[str] = []
        pipeline = what.pipeline
        self._folds = Folds(pipeline, what.earlier, what.models, what.find)
        self._plan = self._folds.plans[0]
        self._what = what
        self._partitions = partitions
        self._compacted = compacted
        self._reader = reader
        self._logs = logs
        self._read = read
        self._progress = progress
        self._done = 0
        self._internal = [
            internal_topic(pipeline, entity) for entity in internal_entities(pipeline)
        ]
        self._namings = namings(pipeline, self._internal, candidates_topic(pipeline))
        self._cut = {Partition(*tp) for tp, log in logs.items() if log.start > 0}
        self._published = Published(pipeline, self._namings, reader, logs, self._note)
        self.stages = self._stages(self._folds.of(scores=False, is_stamped=False)[0])
        self._published.writers = {stage.topic for stage in self.stages}

    def _stages(self, fold: Fold) -> list[Stage]:
        settings = self._what.settings
        parts = Parts(
            fold.plan,
            fold.scorer,
            self._partitions,
            WorkerSettings(
                publish_features=self._published.with_features,
                unknown_fields=settings.unknown_fields,
            ),
            self._what.fields,
            self._what.label_fields,
            others_of(fold.plan, self._folds.plans),
        )
        return build_stages(parts)

    def _stamped(self, stage: Stage, *, scores: bool) -> str | None:
        """Return the topic whose records say what they were made with."""
        if scores:
            return self._what.pipeline.scored
        return stage.feeds if stage.feeds in self._internal else None

    @property
    def _given(self) -> set[str]:
        """Versions of features that there are declarations of."""
        plans = self._folds.plans
        return {plan.fingerprint for plan in plans}.union(*(versions_of(plan) for plan in plans))

    def leave_open(self, unsettled: Sequence[TopicPartition]) -> None:
        """Claim nothing about what is missing where a transaction stays open."""
        self._cut |= {Partition(*tp) for tp in unsettled}
        self.unproven += open_reasons(unsettled)

    async def stage(self, index: int) -> StageFindings:
        """Judge one stage."""
        stage = self.stages[index]
        scores = stage.topic == stage_topics(self._plan)[-1]
        stamped = self._stamped(stage, scores=scores)
        found = await self._published.of(stage, scores=scores)
        if scores:
            await asyncio.to_thread(self._folds.fetch, found.stamped)
        judge = StageJudge(
            stage,
            found,
            self._namings,
            stamped=stamped,
            scored=self._what.pipeline.scored if scores else None,
            compacted=self._compacted,
            cut=self._cut,
        )
        whole = True
        folds = self._folds.of(scores=scores, is_stamped=stamped is not None)
        for number, fold in enumerate(folds):
            folding = self._stages(fold)[index]
            for partition in range(self._partitions[stage.topic]):
                source = Partition(stage.topic, partition)
                whole &= await self._known(folding, source, judge, primary=number == 0)
        self._note_open(stage, judge.findings, judge.close(whole=whole))
        for wanted in judge.wanted:
            await self._describe(judge.findings, wanted)
        return judge.findings

    async def _known(
        self, stage: Stage, source: Partition, judge: StageJudge, *, primary: bool
    ) -> bool:
        """As `_partition`; what it cannot read for its features gets an error that says where."""
        try:
            return await self._partition(stage, source, judge, primary=primary)
        except ConflictError as error:
            if error.code != OTHER_FEATURES:
                raise
            places = {tp: log for tp, log in self._logs.items() if tp.topic in self._internal}
            known = set().union(*(versions_of(plan) for plan in self._folds.plans)) | {NO_FEATURES}
            found = await unknown_versions(self._reader, places, known)
            if not found:
                raise  # of declarations that are at hand, and still not to be read
            raise unknown_features(self._what.pipeline.name, found) from error

    def _note_open(self, stage: Stage, findings: StageFindings, unknown: set[Stamp]) -> None:
        self.unproven += self._folds.reasons
        self._folds.reasons.clear()
        models = {(each.model, each.version) for each in unknown if each.model is not None}
        for name, version in sorted(models, key=str):
            self.unproven.append(
                f"Outputs of stage {stage.name} were scored by model {name} version {version}, "
                "which is not at hand: name its folder, or the registry that has it."
            )
        for features in sorted({each.features for each in unknown if each.features} - self._given):
            self.unproven.append(
                f"Outputs of stage {stage.name} were made by other declarations ({features}): give "
                "them with --also-pipeline."
            )
        if findings.open_lost:
            self.unproven.append(
                f"{findings.open_lost} outputs of stage {stage.name} are not there, and the logs "
                "they belong to no longer begin at their beginning."
            )

    # -- what must come out ---------------------------------------------------------------

    async def _partition(
        self, stage: Stage, source: Partition, judge: StageJudge, *, primary: bool
    ) -> bool:
        """Fold one partition of the input; say whether all of it was there from offset 0."""
        tp = TopicPartition(*source)
        log = (await self._reader.bounds([tp]))[tp]
        read = self._read.get(source)
        if read is None:
            read = GroupRead(log.start, log.start)
        declared = log.start if stage.reads_all else read.declared
        if log.start > declared and read.committed > declared:
            self._note_cut(source, log, declared)
            return False
        if read.committed > log.end:
            self.unproven.append(
                f"{source} was read up to offset {read.committed} and ends at {log.end}: the "
                "topic is not the one that was read."
            )
            return False
        judge.findings.ranges[source.partition] = (declared, read.committed)
        judge.begin(read.committed, primary=primary)
        state = await self._begin(stage, source, read, judge.findings)
        if state is None and read.base is not None:
            return False
        meter = StageMeter()
        skipped = self._skipped.get(source, frozenset())
        async for _, records in self._reader.read({tp: Stretch(declared, log.end)}):
            kept = without_skipped(records, skipped)
            for at in range(0, len(kept), BATCH_ROWS_MAX):
                batch = RecordBatch(source, kept[at : at + BATCH_ROWS_MAX])
                [columns] = stage.read([batch])
                [result] = stage.step([(columns, state)], meter)
                judge.take(batch, result.outputs)
            self._note(len(records))
        if isinstance(state, TwinnedState):
            judge.findings.twin_rows += state.rows
        return declared == 0

    def _note_cut(self, source: Partition, log: Stretch, declared: int) -> None:
        reason = (
            f"{source} was folded from offset {declared} and now begins at {log.start}: what its "
            "records became cannot be recomputed."
        )
        if reason not in self.unproven:
            self.unproven.append(reason)

    async def _begin(
        self, stage: Stage, source: Partition, read: GroupRead, findings: StageFindings
    ) -> Any:
        """Return the state that the fold began with; None, and a reason, where nobody has it."""
        if read.base is None:
            return self._open(stage, source, findings)
        state = await self._bases.state(stage, source, read.declared, read.base)
        if state is None:
            reason = (
                f"The fold of {source} began with history {read.base}, and no checkpoint that can "
                "be read holds it: build it again (stream-infer checkpoint build --from)."
            )
            if reason not in self.unproven:
                self.unproven.append(reason)
        return state

    def _open(self, stage: Stage, source: Partition, findings: StageFindings) -> Any:
        state = stage.open_state(None)
        if not (self._what.twins and isinstance(stage, FeatureStage) and stage.plan is not None):
            return state
        if not isinstance(state, StageState):
            raise ConflictError("no_windows", f"Stage {stage.name} has no windows.", "")

        def differs(
            columns: EventColumns, row: int, field: str, expected: object, found: object
        ) -> None:
            findings.twin_differs += 1
            place = (
                f"{columns.source_topic}-{columns.source_partition[row]}"
                f"-{columns.source_offset[row]}"
            )
            difference = Difference("twin", stage.name, *source, None, place)
            findings.describe(difference.of_field(field, str(expected), str(found)))

        return TwinnedState(state, stage.plan, self._what.twins, differs)

    # -- telling ----------------------------------------------------------------------------

    async def _describe(self, findings: StageFindings, wanted: Wanted) -> None:
        """Add a finding with what was found, read again from where it stands."""
        topic, partition, offset = wanted.place
        difference = Difference(
            wanted.kind, findings.stage, topic, partition, offset, wanted.origin
        )
        if wanted.expected is None:
            findings.describe(difference)
            return
        at = {TopicPartition(topic, partition): Stretch(offset, offset + 1)}
        async for _, [record, *_rest] in self._reader.read(at):
            found = Content(record.key, record.value, record.headers)
            expected = wanted.expected
            if FEATURES not in (found.value or b""):
                expected = expected._replace(value=without_features(expected.value))
            hidden = self._what.pipeline.events.sensitive
            for parts in field_differences(expected, found, hidden):
                findings.describe(difference.of_field(*parts))

    def _note(self, records: int) -> None:
        self._done += records
        self._progress(self._done)
