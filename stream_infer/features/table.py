"""Features of a whole file, through the very folds that a stream runs through.

A file is read as one log: every stage folds its rows in file order, and a label is
folded before the first row whose event time has reached the label's own time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import EVENT, EventColumns
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.pipeline import Pipeline

ROWS_PER_BATCH = 65_536
"""Rows folded at a time; any other number gives the same features."""


def compute_features(
    pipeline: Pipeline | Plan,
    events: EventColumns,
    labels: EventColumns | None = None,
    memory_bytes_max: int | None = None,
) -> NDArray[np.float64]:
    """Return the features of every event, (n, F) float64, columns as `plan.feature_names`.

    events  rows in log order; `late` and `duplicate_of` of it are written
    labels  rows of kind LABEL in log order, or None
    Raises  ConfigError, StateBudgetError
    """
    plan = pipeline if isinstance(pipeline, Plan) else compile_plan(pipeline)
    rows = events if labels is None or len(labels) == 0 else merge_labels(events, labels)
    is_event = rows.kind == EVENT
    found = np.empty((len(rows), sum(len(stage.names) for stage in plan.stages)), np.float64)
    at = 0
    for stage in plan.stages:
        fold = StageFold(stage, memory_bytes_max)
        for first in range(0, len(rows), ROWS_PER_BATCH):
            until = min(first + ROWS_PER_BATCH, len(rows))
            batch = rows.slice(first, until)
            batch.features = np.ascontiguousarray(found[first:until, :at])
            folded = fold.fold(batch)
            found[first:until, at : at + len(stage.names)] = folded.features
            if stage.first:
                rows.late[first:until] = folded.late
                rows.duplicate_of[first:until] = folded.duplicate_of
        at += len(stage.names)
    if rows is not events:
        events.late[:] = rows.late[is_event]
        events.duplicate_of[:] = rows.duplicate_of[is_event]
        # With a row for each label this is the largest thing that a long file makes.
        found = found[is_event]
    return plan.matrix(events, found)


def merge_labels(events: EventColumns, labels: EventColumns) -> EventColumns:
    """Return one log: events in their order, each label before the first event that it precedes.

    A label precedes an event when its label time is not after the event's time. Since event
    times may go back and forth, what counts is the latest event time so far.
    """
    by_time = np.argsort(labels.label_time, kind="stable")
    reached = np.maximum.accumulate(events.event_time)
    before = np.searchsorted(reached, labels.label_time[by_time], side="left")
    joined = _concatenate(events, labels.take(by_time))
    # Stable by place: labels (first) in order of label time, then the event of that place.
    place = np.concatenate([np.arange(len(events)) * 2 + 1, before * 2])
    return joined.take(np.argsort(place, kind="stable"))


def _concatenate(events: EventColumns, labels: EventColumns) -> EventColumns:
    """Return events, then labels; labels have no values and no earlier features."""
    n = len(labels)
    return replace(
        events,
        kind=np.append(events.kind, labels.kind),
        event_time=np.append(events.event_time, labels.event_time),
        ids=[*events.ids, *labels.ids],
        entities={
            name: [*texts, *labels.entities[name]] for name, texts in events.entities.items()
        },
        values={name: np.pad(numbers, (0, n)) for name, numbers in events.values.items()},
        features=np.pad(events.features, ((0, n), (0, 0))),
        source_partition=np.append(events.source_partition, labels.source_partition),
        source_offset=np.append(events.source_offset, labels.source_offset),
        late=np.append(events.late, labels.late),
        duplicate_of=np.append(events.duplicate_of, labels.duplicate_of),
        label=np.append(events.label, labels.label),
        label_time=np.append(events.label_time, labels.label_time),
        upstream=None,
        upstream_offset=None,
        extra=None,
    )
