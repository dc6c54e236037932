"""What one stage does to record batches: read, fold, emit. No Kafka, no clock, no waiting.

Batches of several partitions are read in one call and emitted in one call: their partitions
share the columns, the model and the encoder, and at a steady pace each batch is of a few
records, so that what a call costs would be most of what an event costs. Only the fold is a
partition's own.

A `FeatureStage` is put together from a reader (bytes to columns), a feature plan (the fold)
and an emitter (columns to output records). The data plane runs it the same way
whether it is catching up silently or publishing; batch files go through the same
folds in `stream_infer.features.table`. The alert stage (`stream_infer.dataplane.alerting`) is
the other kind; `Stage` is what both are to the data plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.listed import NOBODY, Listed
from stream_infer.alerts.spec import EntityList
from stream_infer.dataplane.batch import BadRow, RecordBatch
from stream_infer.dataplane.outputs import NO_HEADERS, Headers, Outputs
from stream_infer.dataplane.side import SideOutputs
from stream_infer.dataplane.state import StageState
from stream_infer.events.columns import EventColumns, concat
from stream_infer.features.fold import Folded, ReadyRows
from stream_infer.features.plan import StagePlan
from stream_infer.observability.meter import EMIT, FOLD, StageMeter


class Content(Protocol):
    """Rows of a batch: columns of events, or candidates."""

    def __len__(self) -> int: ...

    def slice(self, start: int, end: int) -> Self:
        """Return rows ``start..end-1``."""


Rows = TypeVar("Rows", bound=Content)


TRACE_HEADER = "traceparent"


@dataclass(slots=True)
class ReadBatch(Generic[Rows]):
    """A batch after reading.

    batch     the records as they came
    rows      (k,) int64, row in the batch of each good record
    offsets   (k,) int64, offset of each good record
    columns   the k good records
    progress  (k,) int64, ms: the time by which the stage's input advances, for alignment
    bad       records that become dead letters
    """

    batch: RecordBatch
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    columns: Rows
    progress: NDArray[np.int64]
    bad: list[BadRow] = field(default_factory=list)

    def slice(self, start: int, end: int) -> ReadBatch[Rows]:
        """Return good rows ``start..end-1`` and the bad ones before the next good row."""
        if start == 0 and end == len(self.rows):
            return self
        return ReadBatch(
            self.batch,
            self.rows[start:end],
            self.offsets[start:end],
            self.columns.slice(start, end),
            self.progress[start:end],
            self._bad_between(start, end) if self.bad else [],
        )

    def _bad_between(self, start: int, end: int) -> list[BadRow]:
        first = 0 if start == 0 else int(self.rows[start])
        after = int(self.rows[end]) if end < len(self.rows) else len(self.batch)
        return [each for each in self.bad if first <= each.row < after]

    def offset_after(self, end: int) -> int:
        """Return the offset up to which good rows ``..end-1`` and the bad before `end` go."""
        return int(self.offsets[end]) if end < len(self.offsets) else self.batch.last + 1

    def headers(self) -> list[Headers]:
        """Return what is passed on of each good row's headers: the W3C trace context.

        Source: W3C Trace Context, section 3.2. Of several the last is passed on.
        """
        traces = list(self.batch.records.headers_named(TRACE_HEADER))
        found = [traces[row] for row in self.rows.tolist()]
        return [NO_HEADERS if trace is None else [(TRACE_HEADER, trace)] for trace in found]


ReadEvents = ReadBatch[EventColumns]
AnyRead = ReadBatch[Any]


class State(Protocol):
    """What a stage has folded of one partition."""

    @property
    def clock_ms(self) -> int | None:
        """The partition's clock, None before it was set."""

    @property
    def bytes(self) -> int:
        """About the memory that is held."""

    @property
    def keys(self) -> int:
        """Keys that something is held of."""

    @property
    def entries(self) -> int:
        """Entries that are held of all keys."""

    @property
    def fingerprint(self) -> str:
        """Which declarations it belongs to."""

    def capture(self) -> Iterator[Mapping[str, Any] | None]:
        """Return it as it is now, in frames to be read between folds."""

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Put one frame into it; it was empty."""


class Stage(Protocol):
    """One stage of a pipeline, as the data plane sees it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def topic(self) -> str:
        """The topic that it folds."""

    @property
    def feeds(self) -> str | None:
        """The internal topic that it writes in step with others."""

    @property
    def reads_all(self) -> bool:
        """Whether it reads its topic from the beginning each time it is assigned."""

    @property
    def side(self) -> SideOutputs:
        """Where bad and late records go."""

    @property
    def skew_ms_max(self) -> int | None:
        """How far apart in event time its log's writers may be read, None for any distance."""

    def open_state(self, bytes_max: int | None) -> Any:
        """Return an empty state, None for a stage without one."""

    def tick(self, state: Any, event_time: int) -> bytes | None:
        """Return the record that moves its log's clock to a time, ms; None if it has no use."""

    def read(self, batches: Sequence[RecordBatch]) -> list[AnyRead]:
        """Return each batch with good rows as columns and bad ones with their cause."""

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[AnyRead]:
        """As `read`, for `fold_only`: what the state does not need may be missing."""

    def step(self, work: Sequence[tuple[AnyRead, Any]], meter: StageMeter) -> list[StepResult]:
        """Fold each partition's rows into its state and return what is to be written for each."""

    def fold_only(self, read: AnyRead, state: Any) -> None:
        """Fold the rows and write nothing: a silent replay."""


class Reader(Protocol):
    """Turns records into columns."""

    def read(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return each batch with good rows as columns and bad ones with their cause."""

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """As `read`, for a state alone."""


class Emitter(Protocol):
    """Turns folded rows into output records."""

    def emit(self, parts: Parts, meter: StageMeter) -> list[Emitted]:
        """Add the outputs of the rows that were accepted to the outputs of their part."""


class Part(NamedTuple):
    """One partition's share of what is emitted together.

    folded   None in a stage without state
    outputs  where its records go
    listed   rows whose entity is on a list
    """

    read: ReadEvents
    folded: Folded | None
    outputs: Outputs
    listed: Listed = NOBODY


class Parts(list[Part]):
    """What is emitted together, and what is said of it as one.

    columns  rows of all parts, those of one part behind those of another
    folded   what the folds say about them, but for silences; None in a stage without state
    """

    def __init__(self, parts: Iterable[Part], columns: EventColumns, folded: Folded | None) -> None:
        super().__init__(parts)
        self.columns = columns
        self.folded = folded


@dataclass(frozen=True, slots=True)
class Emitted:
    """How many rows went where, for the counters."""

    forwarded: int = 0
    scored: int = 0
    alerts: int = 0


@dataclass(slots=True)
class StepResult:
    """What one step of a stage produced."""

    outputs: Outputs
    events: int
    emitted: Emitted
    late: int
    duplicates: int
    ignored: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class FeatureStage:
    """A stage that computes features, or hands rows on as they are.

    name        short word, part of names in logs, metrics and dead letters
    topic       the topic that it folds
    feeds       the internal topic that it writes, None for the last stage
    reader      bytes to columns
    plan        what it folds, None for a stage without state
    emitter     columns to outputs
    side        where bad and late records go
    make_tick   makes the record that moves its log's clock to a time, ms; None where the log is
                not ours to write to
    lists       the lists that decide in this stage; none elsewhere
    reads_all   whether it reads its topic from the beginning each time it is assigned
    """

    name: str
    topic: str
    feeds: str | None
    reader: Reader
    plan: StagePlan | None
    emitter: Emitter
    side: SideOutputs
    make_tick: Callable[[int], bytes] | None = None
    lists: tuple[EntityList, ...] = ()
    reads_all: bool = False

    @property
    def skew_ms_max(self) -> int | None:
        """Half of what the windows keep: what is further behind the log's clock is late."""
        return None if self.plan is None else self.plan.horizon_ms // 2

    def open_state(self, bytes_max: int | None) -> StageState | None:
        """Return an empty state."""
        return None if self.plan is None else StageState(self.plan, self.lists, bytes_max)

    def tick(self, state: StageState | None, event_time: int) -> bytes | None:
        """Return the record that moves its log's clock to a time, ms; None if it has no use.

        What a window holds is asked for by an event only; that a key says nothing, by time.
        """
        if state is None or self.make_tick is None or not state.tells_silence(event_time):
            return None
        return self.make_tick(event_time)

    def read(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """Return each batch with good rows as columns and bad ones with their cause."""
        return self.reader.read(batches)

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[ReadEvents]:
        """As `read`, for `fold_only`: features of earlier stages may be missing."""
        return self.reader.read_silently(batches)

    def step(
        self, work: Sequence[tuple[ReadEvents, StageState | None]], meter: StageMeter
    ) -> list[StepResult]:
        """Fold each partition's rows into its state and return what is to be written for each."""
        began = perf_counter()
        for read, _ in work:
            for bad in read.bad:
                meter.dead_letter(bad.code)
        parts = self._fold_all(work)
        began = meter.lap(FOLD, began)
        emitted = self.emitter.emit(parts, meter)
        results = [self._result(part, each) for part, each in zip(parts, emitted, strict=True)]
        meter.lap(EMIT, began)
        return results

    def _fold_all(self, work: Sequence[tuple[ReadEvents, StageState | None]]) -> Parts:
        columns = concat([read.columns for read, _ in work])
        ready = None if self.plan is None else ReadyRows(self.plan, columns)
        parts, start = [], 0
        for read, state in work:
            outputs = Outputs()
            for bad in read.bad:
                self.side.dead_letter(outputs, read.batch, bad, self.name)
            if state is None:
                parts.append(Part(read, None, outputs))
            else:
                folded, listed = state.fold(read.columns, ready, start)
                parts.append(Part(read, folded, outputs, listed))
            start += len(read.rows)
        return Parts(parts, columns, None if ready is None else ready.folded())

    def _result(self, part: Part, emitted: Emitted) -> StepResult:
        read, folded, outputs = part.read, part.folded, part.outputs
        late = duplicates = ignored = 0
        if self.plan is not None and folded is not None:
            ignored = len(read.rows) - int(np.count_nonzero(folded.accepted))
            if self.plan.first:
                if np.count_nonzero(folded.late):
                    rows = read.rows[folded.late]
                    late = self.side.copy_late(outputs, read.batch, rows, self.name)
                duplicates = int(np.count_nonzero(folded.duplicate_of >= 0))
        return StepResult(
            outputs, len(read.rows), emitted, late, duplicates, ignored, len(read.bad)
        )

    def fold_only(self, read: ReadEvents, state: StageState | None) -> None:
        """Fold the rows and write nothing: a silent replay."""
        if state is not None:
            state.fold_only(read.columns)
