"""Carry out an audit: read the logs, keep the books, say what they show.

The order of the steps is the proof. A worker commits an offset only after its outputs
were acknowledged, so outputs that are looked for after the committed offset was read
must be there:

    1. committed offsets of the input and of the internal topics
    2. ends of the internal logs   (they hold all that was made of committed input)
    3. ends of the output logs     (they hold all that was made of committed internal records)
    4. outputs from their beginning to those ends, into the books
    5. what has no output: is it in an internal log behind the committed offset?
    6. what is left: is there a record at that offset at all? (transaction markers have offsets)

Doubled records on internal topics are no finding: a stage ignores an origin it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from numpy.typing import NDArray

from stream_infer.audit.ends import Bounds, open_reasons, settled_bounds
from stream_infer.audit.identity import scored_positions
from stream_infer.audit.ledger import Ledger, spans
from stream_infer.audit.report import SAMPLES_MAX, AuditReport
from stream_infer.audit.scope import Scope, audit_scope
from stream_infer.events.columns import EVENT
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.topic_names import DEAD_LETTERS
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import LogReader, log_reader
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.topic_specs import pipeline_topics
from stream_infer.kafka.topics import committed_offsets
from stream_infer.pipeline import Pipeline

GAP_OFFSETS_MAX = 2_000
"""Gaps up to here are read through: a seek costs more than the records between."""


async def audit(
    connection: Connection,
    pipeline: Pipeline,
    ranges: dict[int, Stretch],
    progress: Callable[[int], None],
) -> AuditReport:
    """Reconcile the pipeline's input with its outputs; see the module for the steps."""
    topic = pipeline.events.topic
    internal = [spec.name for spec in pipeline_topics(pipeline) if spec.role == "internal"]
    committed = await committed_offsets(connection, pipeline.name)
    async with log_reader(connection) as reader:
        places = [tp for name in internal for tp in await reader.partitions(name)]
        between, _ = await settled_bounds(connection, reader, places)
        places = [
            tp for name in (pipeline.scored, DEAD_LETTERS) for tp in await reader.partitions(name)
        ]
        outputs, unsettled = await settled_bounds(connection, reader, places)
        source = await _bounds(reader, [topic])
        scope = audit_scope(
            topic,
            pipeline.name,
            {tp.partition: stretch for tp, stretch in source.items()},
            {tp.partition: offset for tp, offset in committed.items() if tp.topic == topic},
            ranges,
        )
        auditor = Auditor(pipeline, reader, Ledger.over(topic, scope.audited), progress)
        await auditor.enter_outputs(outputs)
        under_way = await auditor.settle_in_flight(_behind(between, committed))
        absent = await auditor.settle_absent()
    cut = [*_cut_reasons(outputs), *open_reasons(unsettled)]
    return auditor.report(scope, cut, under_way=under_way, absent=absent)


async def _bounds(reader: LogReader, topics: Sequence[str]) -> Bounds:
    partitions = [tp for topic in topics for tp in await reader.partitions(topic)]
    return await reader.bounds(partitions) if partitions else {}


def _behind(between: Bounds, committed: dict[TopicPartition, int]) -> Bounds:
    """Return what of the internal logs was not yet committed when the audit began."""
    return {
        tp: Stretch(max(log.start, committed.get(tp, log.start)), log.end)
        for tp, log in between.items()
    }


def _cut_reasons(outputs: Bounds) -> list[str]:
    return [
        f"{tp.topic}-{tp.partition} begins at offset {log.start}: outputs before it are gone."
        for tp, log in outputs.items()
        if log.start > 0
    ]


class Auditor:
    """Fills one ledger and settles what can be explained; what is missing then is lost."""

    def __init__(
        self,
        pipeline: Pipeline,
        reader: LogReader,
        ledger: Ledger,
        progress: Callable[[int], None],
    ) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._ledger = ledger
        self._progress = progress
        self._decoder = InternalDecoder(pipeline.events)
        self._unnamed = 0
        self._read = 0

    async def enter_outputs(self, outputs: Bounds) -> None:
        """Enter every scored event and dead letter into the books."""
        async for tp, records in self._reader.read(outputs):
            if tp.topic == self._pipeline.scored:
                values = [record.value for record in records]
                (partitions, offsets), unnamed = scored_positions(self._ledger.topic, values)
                self._ledger.add_scored(partitions, offsets)
                self._unnamed += unnamed
            else:
                self._enter_dead(records)
            self._read += len(records)
            self._progress(self._read)

    def _enter_dead(self, records: Sequence[Any]) -> None:
        """Enter dead letters of this pipeline's input, whichever stage wrote them."""
        positions: list[tuple[int, int]] = []
        inside: list[bytes] = []
        for record in records:
            facts = read_dead_letter(record.headers)
            if facts.consumer_group not in (None, self._pipeline.name):
                continue
            if facts.topic == self._ledger.topic and facts.offset is not None:
                positions.append((facts.partition or 0, facts.offset))
            elif facts.topic is not None and facts.topic.startswith(f"{self._pipeline.name}.by-"):
                inside.append(record.value)
        pairs = np.array(positions, dtype=np.int64).reshape(-1, 2)
        self._ledger.add_dead(pairs[:, 0], pairs[:, 1])
        if inside:
            self._ledger.add_dead(*self._sources(inside))

    def _sources(
        self, values: Sequence[bytes | None]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the input positions that internal records stem from."""
        columns = self._decoder.decode(values).columns
        events = columns.kind == EVENT
        return columns.source_partition[events], columns.source_offset[events]

    async def settle_in_flight(self, behind: Bounds) -> int:
        """Settle what is missing and still inside the pipeline; return how many records that is."""
        if not self._ledger.missing():
            return 0
        found = 0
        async for _tp, records in self._reader.read(behind):
            partitions, offsets = self._sources([record.value for record in records])
            for partition in np.unique(partitions).tolist():
                found += self._ledger.settle(partition, offsets[partitions == partition])
        return found

    async def settle_absent(self) -> int:
        """Settle offsets at which the input holds no record; return how many those are."""
        absent = 0
        for partition, missing in self._ledger.missing().items():
            tp = TopicPartition(self._ledger.topic, partition)
            present = [np.zeros(0, dtype=np.int64)]
            for stretch in spans(missing, GAP_OFFSETS_MAX):
                async for _tp, records in self._reader.read({tp: stretch}):
                    present.append(np.array([record.offset for record in records]))
            absent += self._ledger.settle(
                partition, np.setdiff1d(missing, np.concatenate(present), assume_unique=True)
            )
        return absent

    def report(
        self, scope: Scope, cut: Sequence[str], *, under_way: int, absent: int
    ) -> AuditReport:
        """Return what the books show."""
        ledger = self._ledger
        lost = ledger.missing()
        doubled = ledger.doubled()
        samples = {"lost": self._names(lost)} if lost else {}
        samples |= {way: self._names(offsets) for way, offsets in doubled.items()}
        offsets = sum(len(stretch) for stretch in scope.audited.values())
        return AuditReport(
            pipeline=self._pipeline.name,
            topic=ledger.topic,
            ranges={p: (stretch.start, stretch.end) for p, stretch in scope.audited.items()},
            records=offsets - under_way - absent,
            scored=ledger.scored(),
            dead_letters=ledger.dead(),
            missing=_total(lost),
            scored_twice=_total(doubled.get("scored_twice", {})),
            dead_letters_twice=_total(doubled.get("dead_letters_twice", {})),
            scored_and_dead=_total(doubled.get("scored_and_dead", {})),
            in_flight=scope.waiting + under_way,
            outputs_beyond=ledger.beyond,
            outputs_foreign=self._unnamed,
            outputs_cut=bool(cut),
            unproven=[*scope.unproven, *cut],
            samples=samples,
        )

    def _names(self, offsets: dict[int, NDArray[np.int64]]) -> list[str]:
        names = [
            f"{self._ledger.topic}-{partition}-{offset}"
            for partition, found in sorted(offsets.items())
            for offset in found[:SAMPLES_MAX].tolist()
        ]
        return names[:SAMPLES_MAX]


def _total(offsets: dict[int, NDArray[np.int64]]) -> int:
    return sum(len(found) for found in offsets.values())
