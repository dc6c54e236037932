"""Emitters: from folded rows of some partitions to output records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.listed import NOBODY, Listed
from stream_infer.alerts.maker import CandidateMaker, ScoredRows
from stream_infer.dataplane.answers import Answer, Answering
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import NO_HEADERS, Headers
from stream_infer.dataplane.silent import Found, SilenceCandidates
from stream_infer.dataplane.stage import Emitted, Part, Parts, ReadEvents
from stream_infer.events.columns import EVENT, EventColumns
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.events.topic_names import SHADOW_SCORES
from stream_infer.features.plan import Plan
from stream_infer.observability.meter import StageMeter
from stream_infer.pipeline import Events
from stream_infer.records.placing import Places, place_all

Placing = Callable[[EventColumns], Places]
"""From rows to the key and the partition of each."""


def placed_by(partitions: int, events: Events, entity: str) -> Placing:
    """Return how rows are placed by an entity in a topic with so many partitions.

    A pipeline whose keys stand in a table has its log placed by what the table says, so that
    keys of one place share a log.
    """
    known = events.known
    if known is not None and entity == events.key:
        return lambda columns: place_all(known.places_of(columns.entities[entity]), partitions)
    return lambda columns: place_all(columns.entities[entity], partitions)


@dataclass(frozen=True, slots=True)
class ForwardEmitter:
    """Writes rows to the internal topic in front of the next stage.

    events            the pipeline's events
    topic             the internal topic
    place             where a row belongs
    features_version  of the features that the rows carry
    """

    events: Events
    topic: str
    place: Placing
    features_version: str

    def emit(self, parts: Parts, meter: StageMeter) -> list[Emitted]:
        """Add one internal record a row that was accepted."""
        rows = accepted_rows(parts, events_only=False)
        values = encode_internal(
            rows.columns,
            parts[0].read.batch.source.topic,
            rows.partitions,
            rows.offsets,
            rows.features,
            self.features_version,
            self.events,
        )
        rows.add_to(parts, self.topic, self.place(rows.columns), values)
        return [Emitted(forwarded=count) for count in rows.counts]


@dataclass(frozen=True, slots=True)
class CandidateWriter:
    """Writes what may be an alert to the log that the alert stage folds.

    topic       that log
    maker       chooses and explains
    silent      makes those of keys that say nothing; None where nobody watches
    partitions  of that log
    """

    topic: str
    maker: CandidateMaker
    silent: SilenceCandidates | None
    partitions: int

    def write(
        self, parts: Sequence[Part], rows: AcceptedRows, matrix: NDArray[np.float64], said: Answer
    ) -> None:
        """Add the candidates among the rows to the outputs of their parts."""
        silences = self._silences(parts)
        made = self.maker.make(
            ScoredRows(
                rows.columns,
                parts[0].read.batch.source.topic,
                rows.partitions,
                rows.offsets,
                matrix,
                said.decided,
                said.scores,
                said.by_version,
                said.model,
                said.version,
                said.levels,
            )
        )
        if not made.rows and not silences:
            return
        owners = np.searchsorted(np.cumsum(rows.counts), made.rows, side="right").tolist()
        found: dict[int, list[Found]] = {}
        for at, (row, owner) in enumerate(zip(made.rows, owners, strict=True)):
            found.setdefault(owner, []).append(
                Found(int(rows.offsets[row]), made.keys[at], made.values[at], int(rows.rows[row]))
            )
        for owner, more in silences.items():
            # A fold ignores what is behind what it has seen of a partition; of one record the
            # row's own candidates come first, which a stable sort keeps.
            found[owner] = sorted([*found.get(owner, ()), *more], key=lambda each: each.offset)
        for owner, those in found.items():
            self._add(parts[owner], those)

    def write_silences(self, parts: Sequence[Part]) -> None:
        """Add what is told of silent keys alone: no row was scored."""
        for owner, those in self._silences(parts).items():
            self._add(parts[owner], those)

    def _silences(self, parts: Sequence[Part]) -> dict[int, list[Found]]:
        """Return the candidates of silent keys by part; nothing for most batches."""
        if self.silent is None:
            return {}
        return {
            at: list(self.silent.make(part.read, part.folded.silences))
            for at, part in enumerate(parts)
            if part.folded is not None and part.folded.silences and part.folded.silences.rows
        }

    def _add(self, part: Part, found: Sequence[Found]) -> None:
        places = place_all([each.key for each in found], self.partitions)
        for key, partition, each in zip(
            places.keys, places.partitions.tolist(), found, strict=True
        ):
            destination = Partition(self.topic, partition)
            part.outputs.add(destination, key, each.value, NO_HEADERS, each.row)


@dataclass(frozen=True, slots=True)
class ScoreEmitter:
    """Scores events and writes them to the pipeline's output topic.

    plan               the pipeline's plan
    answering          says what there is to say about a row
    partitions         of the output topic
    candidates         where what may be an alert goes, None for a pipeline without alerts
    shadow_partitions  of the topic of shadows' scores; None without it
    """

    plan: Plan
    answering: Answering
    partitions: int
    candidates: CandidateWriter | None = None
    shadow_partitions: int | None = None

    def emit(self, parts: Parts, meter: StageMeter) -> list[Emitted]:
        """Add one scored event for each event that was accepted, and candidates for alerts."""
        rows = accepted_rows(parts, events_only=True)
        if len(rows.rows):
            events = self.plan.pipeline.events
            matrix = self.plan.matrix(rows.columns, rows.features)
            said = self.answering.answer(rows.columns, matrix, rows.listed, meter)
            keys = rows.columns.entities[events.key]
            places = place_all(keys, self.partitions)
            rows.add_to(parts, self.plan.pipeline.scored, places, said.values)
            if said.shadow is not None and self.shadow_partitions is not None:
                if self.shadow_partitions != self.partitions:
                    places = place_all(keys, self.shadow_partitions)
                rows.add_to(parts, SHADOW_SCORES, places, said.shadow)
            if self.candidates is not None:
                self.candidates.write(parts, rows, matrix, said)
        elif self.candidates is not None:
            self.candidates.write_silences(parts)
        return [Emitted(scored=count) for count in rows.counts]


@dataclass(frozen=True, slots=True)
class AcceptedRows:
    """``n`` rows of all parts, those of one part behind those of another.

    columns     with the fold's `late` and `duplicate_of` where it decides them
    features    (n, k) float64, those of earlier stages first
    partitions  (n,) int64, the partition that each row was read from
    rows        (n,) int64, the row's place in its part's batch
    offsets     (n,) int64, its offset in its partition
    headers     its trace headers, None when no record has any
    counts      rows of each part
    listed      rows whose entity is on a list
    """

    columns: EventColumns
    features: NDArray[np.float64]
    partitions: NDArray[np.int64]
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    headers: list[Headers] | None
    counts: list[int]
    listed: Listed

    def add_to(
        self,
        parts: Sequence[Part],
        topic: str,
        places: Places,
        values: list[bytes],
    ) -> None:
        """Add one record a row to the outputs of the row's part."""
        rows, headers = self.rows.tolist(), self.headers
        start = 0
        for part, count in zip(parts, self.counts, strict=True):
            these = slice(start, start + count)
            start += count
            if count:
                part.outputs.add_many(
                    topic,
                    Places(places.keys[these], places.partitions[these]),
                    values[these],
                    None if headers is None else headers[these],
                    rows[these],
                )


def accepted_rows(parts: Parts, *, events_only: bool) -> AcceptedRows:
    """Return the rows that the folds accepted; all rows of a stage without state.

    events_only  leave out labels and ticks
    """
    reads = [part.read for part in parts]
    lengths = [len(read.rows) for read in reads]
    columns, folded = parts.columns, parts.folded
    features, wanted = columns.features, None
    if folded is not None:
        # A stage that does not decide these hands them through.
        columns = columns.judged(folded.late, folded.duplicate_of)
        earlier, features, wanted = features, folded.features, folded.accepted
        if earlier.shape[1]:
            features = np.concatenate((earlier, features), axis=1)
    if events_only:
        is_event = columns.kind == EVENT
        wanted = is_event if wanted is None else wanted & is_event
    every = AcceptedRows(
        columns,
        features,
        _partitions(reads, lengths),
        _joined([read.rows for read in reads]),
        _joined([read.offsets for read in reads]),
        _headers(reads),
        lengths,
        _listed(parts, lengths),
    )
    if wanted is None or np.count_nonzero(wanted) == len(wanted):
        return every
    return _only(every, wanted)


def _partitions(reads: Sequence[ReadEvents], lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return the partition that each row was read from."""
    partitions = np.empty(sum(lengths), np.int64)
    start = 0
    for read, length in zip(reads, lengths, strict=True):
        # `np.repeat` takes three times as long for a few rows.
        partitions[start : start + length] = read.batch.source.partition
        start += length
    return partitions


def _only(every: AcceptedRows, wanted: NDArray[np.bool_]) -> AcceptedRows:
    kept = np.flatnonzero(wanted)
    ends = np.searchsorted(kept, np.cumsum(every.counts))
    return AcceptedRows(
        every.columns.take(kept),
        every.features[kept],
        every.partitions[kept],
        every.rows[kept],
        every.offsets[kept],
        None if every.headers is None else [every.headers[i] for i in kept.tolist()],
        np.diff(ends, prepend=0).tolist(),
        _kept_of(every.listed, kept),
    )


def _listed(parts: Sequence[Part], lengths: Sequence[int]) -> Listed:
    """Return which of all parts' rows are on a list."""
    if not any(part.listed for part in parts):
        return NOBODY
    found = Listed()
    for part, start in zip(parts, accumulate(lengths, initial=0), strict=False):
        for name, rows in part.listed.items():
            found.setdefault(name, []).extend(start + row for row in rows)
    return found


def _kept_of(listed: Listed, kept: NDArray[np.int64]) -> Listed:
    """Return the same after rows were left out."""
    if not listed:
        return NOBODY
    places = {row: at for at, row in enumerate(kept.tolist())}
    return Listed(
        (name, [places[row] for row in rows if row in places]) for name, rows in listed.items()
    )


def _headers(reads: list[ReadEvents]) -> list[Headers] | None:
    """Return the trace headers of each row, or None when no record has any."""
    if not any(read.batch.records.has_headers for read in reads):
        return None
    return [headers for read in reads for headers in read.headers()]


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
