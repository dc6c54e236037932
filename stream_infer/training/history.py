"""A pipeline's own history as labelled rows, each with one version's score. Pure.

Where the version's own answers are in the log, these are what is measured: they are what was acted
on. Of other events the features are folded anew, offline, and scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import NO_POSITION, EventColumns, pack_position
from stream_infer.features.plan import Plan
from stream_infer.scoring.manifest import Thresholds
from stream_infer.scoring.session import Scorer
from stream_infer.training.gathering import gather_columns, truth_of
from stream_infer.training.samples import NEVER, Samples

SCORE, SERVED = range(2)
"""Columns of the matrix of `Scored`: the score itself, and whether it was served or computed."""


@dataclass(frozen=True, slots=True)
class Log:
    """The good rows of one topic.

    columns  rows, those of one partition behind those of another
    bad      records that were left out
    cut_ms   time of the latest first row among partitions that no longer begin at their beginning
             (of labels, the label time); None where all do
    """

    columns: EventColumns
    bad: int
    cut_ms: int | None


@dataclass(frozen=True, slots=True)
class Served:
    """The events that were scored, and what one version answered about them.

    ids        n texts
    keys       n texts, the entity that the pipeline is keyed by
    place      (n,) int64, packed position of the event in the pipeline's first topic
    time       (n,) int64 ms
    score      (n,) float32; NaN where the version gave no number, or another one scored
    is_own     (n,) bool, whether the version scored it
    cut_ms     as of a `Log`
    """

    ids: list[str]
    keys: list[str]
    place: NDArray[np.int64]
    time: NDArray[np.int64]
    score: NDArray[np.float32]
    is_own: NDArray[np.bool_]
    cut_ms: int | None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: NDArray[np.bool_]) -> Served:
        """Return the chosen rows."""
        rows = np.flatnonzero(chosen).tolist()
        return Served(
            [self.ids[row] for row in rows],
            [self.keys[row] for row in rows],
            self.place[chosen],
            self.time[chosen],
            self.score[chosen],
            self.is_own[chosen],
            self.cut_ms,
        )

    def scored(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the version scored the event at each place, (n,) bool."""
        return np.isin(places, self.place[self.is_own])

    def of(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the version's answer about each place, (n,) float32; NaN where there is none."""
        at = np.searchsorted(self.place, places)
        found = at < len(self.place)
        found[found] = self.place[at[found]] == places[found]
        answers = np.full(len(places), np.nan, np.float32)
        answers[found] = self.score[at[found]]
        return answers


def in_one_order(columns: EventColumns) -> EventColumns:
    """Return rows of several partitions in one order, as a catch-up aligns them.

    Each partition keeps its own, and is as far as the latest event time that it has shown.
    """
    reached = np.empty(len(columns), np.int64)
    for partition in np.unique(columns.source_partition).tolist():
        rows = columns.source_partition == partition
        reached[rows] = np.maximum.accumulate(columns.event_time[rows])
    order = np.lexsort((columns.source_offset, columns.source_partition, reached))
    rows = columns.take(order)
    # Columns of their own: a fold writes what it decides about the rows into them.
    return EventColumns(**{each.name: getattr(rows, each.name) for each in fields(EventColumns)})


def places_of(columns: EventColumns) -> NDArray[np.int64]:
    """Return the packed position of each row, (n,) int64."""
    packed: NDArray[np.int64] = pack_position(  # type: ignore[assignment]  # works on arrays too
        columns.source_partition,  # type: ignore[arg-type]
        columns.source_offset,  # type: ignore[arg-type]
    )
    return packed


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows with their scores, and what was found on the way.

    samples  their matrix has the columns `SCORE` and `SERVED`
    facts    counts, for the report
    """

    samples: Samples
    facts: dict[str, Any]


def as_served(served: Served, labels: EventColumns, delay_ms: int) -> Scored:
    """Return the events that were scored with the version's own answers, NaN where it has none."""
    rows, pending = _with_due_labels(_served_rows(served, labels), labels, delay_ms)
    return Scored(rows, {"bad": 0, "duplicates": 0, "pending": pending})


def computed(
    plan: Plan, scorer: Scorer, events: Log, labels: Log, served: Served, delay_ms: int
) -> Scored:
    """Return all events with a score each: served where there is one, else of features folded anew.

    Events whose windows look back on what a log has lost are left out: their features cannot be
    known.
    """
    ordered = in_one_order(events.columns)
    gathered = gather_columns(plan.pipeline, ordered, labels.columns)
    new = ordered.duplicate_of == NO_POSITION
    places = places_of(ordered)[new]
    made = scorer.score(gathered.samples.matrix)
    own = served.of(places)
    is_own = served.scored(places)
    facts: dict[str, Any] = {
        "bad": events.bad,
        "duplicates": gathered.duplicates,
        "same": agreement(own[is_own], made[is_own], scorer.thresholds),
    }
    scores = np.where(is_own, own, made)
    rows = replace(gathered.samples, matrix=_matrix(scores, is_own))
    rows, facts["without_history"] = _with_history(rows, plan, events, labels)
    gone = served.take(served.is_own & ~np.isin(served.place, places))
    keys = [ordered.entities[plan.pipeline.events.key][at] for at in np.flatnonzero(new).tolist()]
    rows = _joined(rows, _served_rows(gone, labels.columns, keys))
    rows, facts["pending"] = _with_due_labels(rows, labels.columns, delay_ms)
    return Scored(rows, facts)


def _matrix(scores: NDArray[np.float32], is_own: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.stack([scores, is_own.astype(np.float32)], axis=1)


def _served_rows(served: Served, labels: EventColumns, keys: Sequence[str] = ()) -> Samples:
    """Return rows of the scored topic; `keys` those of rows whose customers are numbered first."""
    truth, known_at = truth_of(served.ids, labels)
    numbers: dict[str, int] = {}
    for key in keys:
        numbers.setdefault(key, len(numbers))
    customer = [numbers.setdefault(key, len(numbers)) for key in served.keys]
    return Samples(
        _matrix(served.score, served.is_own),
        truth,
        known_at,
        served.time,
        np.array(customer, np.int64),
    )


def _joined(one: Samples, two: Samples) -> Samples:
    """Return the rows of both in order of event time."""
    if not len(two):
        return one
    both = Samples(*(np.concatenate([getattr(one, n), getattr(two, n)]) for n in Samples.__slots__))
    return both.take(np.argsort(both.time, kind="stable"))


def agreement(
    own: NDArray[np.float32], made: NDArray[np.float32], thresholds: Thresholds
) -> dict[str, Any]:
    """Return how far answers that were served are from those of features folded anew.

    own, made  (n,) float32; where both are no number they are the same
    """
    apart = np.where(np.isnan(own) & np.isnan(made), 0.0, np.abs(own - made))
    flips = np.zeros(len(own), np.bool_)
    for limit in (np.float32(thresholds.review), np.float32(thresholds.decline)):
        flips |= (own >= limit) != (made >= limit)
    return {
        "rows": len(own),
        "difference_max": float(apart.max(initial=0.0)),
        "flips": int(np.count_nonzero(flips)),
    }


def _with_history(rows: Samples, plan: Plan, events: Log, labels: Log) -> tuple[Samples, int]:
    """Leave computed rows out from before the windows were full again, where a log was cut."""
    cuts = [each for each in (events.cut_ms, labels.cut_ms) if each is not None]
    if not cuts:
        return rows, 0
    whole = rows.time >= max(cuts) + max(stage.look_back_ms for stage in plan.stages)
    whole |= rows.matrix[:, SERVED] > 0
    return rows.take(whole), int((~whole).sum())


def _with_due_labels(rows: Samples, labels: EventColumns, delay_ms: int) -> tuple[Samples, int]:
    """Leave out unlabelled rows whose label may still come: they are neither genuine nor fraud."""
    due = rows.time <= int(labels.label_time.max()) - delay_ms
    known = due | (rows.known_at != NEVER)
    return rows.take(known), int((~known).sum())
