"""The alert stage on the data plane: candidates in, records about alerts out.

Its fold is `stream_infer.alerts.fold.AlertFold`; what its log holds, `ScoreEmitter` and the
ticker wrote. A batch of candidates is read and folded partition by partition: there are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from stream_infer.alerts.candidate import UNKNOWN_KIND, Candidate, is_later, kind_of, tick
from stream_infer.alerts.candidate import encode_candidates as encode
from stream_infer.alerts.declared import AlertPlan
from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.stage import AlertEmitter, AlertReader
from stream_infer.dataplane.batch import BadRow, Partition, RecordBatch
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs
from stream_infer.dataplane.side import SideOutputs
from stream_infer.dataplane.stage import Emitted, ReadBatch, StepResult
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.observability.meter import EMIT, FOLD, StageMeter
from stream_infer.records.placing import partitions_of

ALERT_STAGE = "alerts"


class Candidates(list[Candidate]):
    """Candidates of one batch, in log order."""

    def slice(self, start: int, end: int) -> Candidates:
        """Return rows ``start..end-1``."""
        return Candidates(self[start:end])


ReadCandidates = ReadBatch[Candidates]


@dataclass(frozen=True, slots=True)
class AlertStage:
    """The stage that folds candidates into alerts.

    topic       the candidates' log
    plan        what is declared
    reader      record values to candidates
    emitter     changes to records
    partitions  of each of the alerts' topics
    earlier     kinds that were written before this process began; None: any kind may have been
    """

    topic: str
    plan: AlertPlan
    reader: AlertReader
    emitter: AlertEmitter
    partitions: int
    side: SideOutputs
    name: str = ALERT_STAGE
    feeds: str | None = None
    reads_all: bool = False
    earlier: EarlierVersions | None = None

    @property
    def skew_ms_max(self) -> int | None:
        """Return None: a late candidate amends what it belongs to."""
        return None

    def open_state(self, bytes_max: int | None) -> AlertFold:
        """Return an empty state."""
        return AlertFold(self.plan, bytes_max)

    def read(self, batches: Sequence[RecordBatch]) -> list[ReadCandidates]:
        """Return each batch as candidates, and bad records with their cause."""
        return [self._read(batch, is_silent=False) for batch in batches]

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[ReadCandidates]:
        """Return what `read` does, and pass over kinds that are not declared."""
        return [self._read(batch, is_silent=True) for batch in batches]

    def _read(self, batch: RecordBatch, *, is_silent: bool) -> ReadCandidates:
        read = self.reader.read(batch.values)
        for bad in read.bad:
            value, record = batch.values[bad.row], batch.records[bad.row]
            if is_later(value):
                raise _later(
                    batch.source,
                    record.offset,
                    "schema_version_later",
                    f"Record {record.offset} of {batch.source} was written by a later release.",
                    "Restart this worker with that release: it goes on from this record.",
                )
            if bad.code == UNKNOWN_KIND and not is_silent:
                self._refuse_later_kind(batch.source, record)
        return ReadBatch(
            batch,
            read.rows,
            batch.offsets()[read.rows],
            Candidates(read.candidates),
            read.progress,
            [BadRow(bad.row, bad.code, bad.message) for bad in read.bad],
        )

    def _refuse_later_kind(self, source: Partition, record: Any) -> None:
        """Stand still where a candidate's kind came up after this process began."""
        kind = kind_of(record.value)
        if self.earlier is None or kind is None:
            return
        if kind not in self.earlier.kinds:
            self.earlier.note_kinds([(record.value, record.timestamp)])
        if kind not in self.earlier.kinds:
            raise _later(
                source,
                record.offset,
                "kind_later",
                f"Record {record.offset} of {source} is a candidate for alerts of kind {kind!r},"
                " which was declared after this worker was started.",
                "Restart this worker with the file that declares it: it goes on from this record."
                " Where the kind was taken out of the file, restart it as it is: what is of that"
                " kind becomes dead letters then.",
            )

    def step(
        self, work: Sequence[tuple[ReadCandidates, AlertFold]], meter: StageMeter
    ) -> list[StepResult]:
        """Fold each partition's candidates and return the records about alerts."""
        return [self._step(read, state, meter) for read, state in work]

    def _step(self, read: ReadCandidates, state: AlertFold, meter: StageMeter) -> StepResult:
        began = perf_counter()
        outputs = Outputs()
        for bad in read.bad:
            meter.dead_letter(bad.code)
            self.side.dead_letter(outputs, read.batch, bad, self.name)
        changes = state.fold(read.columns)
        began = meter.lap(FOLD, began)
        records = self.emitter.records(changes)
        places = partitions_of([record.key.decode() for record in records], self.partitions)
        for record, partition in zip(records, places.tolist(), strict=True):
            outputs.add(
                Partition(record.topic, partition),
                record.key,
                record.value,
                NO_HEADERS,
                int(read.rows[record.row]),
            )
        meter.lap(EMIT, began)
        return StepResult(
            outputs,
            events=len(read.rows),
            emitted=Emitted(alerts=len(changes)),
            late=0,
            duplicates=0,
            ignored=0,
            dead_letters=len(read.bad),
        )

    def fold_only(self, read: ReadCandidates, state: AlertFold) -> None:
        """Fold the candidates and write nothing: a silent replay."""
        state.fold(read.columns)

    def tick(self, state: AlertFold, event_time: int) -> bytes | None:
        """Return the record that moves the clock to a time, ms; None if nothing ends by then."""
        due = state.next_due_ms
        return None if due is None or due > event_time else encode([tick(event_time)])[0]


def _later(source: Partition, offset: int, code: str, message: str, fix: str) -> StandstillError:
    return StandstillError(
        code,
        message,
        fix,
        offset=offset,
        topic=source.topic,
        partition=source.partition,
    )
