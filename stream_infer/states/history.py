"""A file of history, folded as the stages would have folded it as a stream. Pure.

Every stage folds the rows that its log would have held: the first one the events, each in the
partition of its key; the next one what the first would have written, with what it decided
(`late`, `duplicate_of`), and the labels where they come in. A row stands in its place in the file
order, a label in front of the first row whose event time has reached its own
(`features.table.merge_labels`).

One partition is folded at a time, so that besides the file's rows only its state is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.dataplane.build import stage_topics
from stream_infer.dataplane.emitters import placed_by
from stream_infer.dataplane.stage import FeatureStage, Stage
from stream_infer.dataplane.state import StageState
from stream_infer.durations import parse_duration
from stream_infer.errors import InvalidDataError
from stream_infer.events.columns import EVENT, HISTORY_PARTITION, EventColumns
from stream_infer.events.screen import screen_future
from stream_infer.features.plan import Plan
from stream_infer.features.table import ROWS_PER_BATCH, merge_labels
from stream_infer.files.contract import Records
from stream_infer.files.features import decode_records
from stream_infer.pipeline import Pipeline
from stream_infer.records.placing import partitions_of

DIGITS = 32
"""Of a history's name: 128 bits of SHA-256."""


@dataclass(frozen=True, slots=True)
class History:
    """Rows of a file, in their order.

    base     its name: equal for equal files that are read in the same way
    events   its events, each at its row in `HISTORY_PARTITION`
    labels   its labels, None without
    skipped  bad rows that were left out
    """

    base: str
    events: EventColumns
    labels: EventColumns | None
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.events) + (0 if self.labels is None else len(self.labels))

    def until(self, time_ms: int) -> History:
        """Return what was known at a time: events before it, and labels told before it.

        Its name becomes another one, since it makes other states.
        """
        labels = self.labels
        if labels is not None:
            labels = labels.take(np.flatnonzero(labels.label_time < time_ms))
        events = self.events.take(np.flatnonzero(self.events.event_time < time_ms))
        named = hashlib.sha256(f"{self.base} until {time_ms}".encode()).hexdigest()[:DIGITS]
        return History(named, placed(events, events.source_offset), labels, self.skipped)


def name_of_history(files: Sequence[Path], facts: Sequence[Any] = ()) -> str:
    """Return the name of a history: a digest of its files and of what is made of them.

    facts  whatever else decides what the rows are, such as the delay of labels
    """
    digest = hashlib.sha256(repr(list(facts)).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:DIGITS]


def placed(events: EventColumns, rows: NDArray[np.int64]) -> EventColumns:
    """Return events at their rows in the file: where none of the topic's partitions is."""
    columns = {name: getattr(events, name) for name in EventColumns.__dataclass_fields__}
    columns["source_partition"] = np.full(len(events), HISTORY_PARTITION, np.int64)
    columns["source_offset"] = np.array(rows, np.int64)
    return EventColumns(**columns)


def read_history(
    pipeline: Pipeline,
    base: str,
    events: Records,
    labels: Records | None,
    *,
    now_ms: int,
    skip_bad: bool = False,
) -> History:
    """Return the rows of a file of events, and of one of labels, as a history.

    base    its name
    now_ms  what is further ahead of it than the pipeline allows is refused: it would move the
            clock past all that follows
    Raises  InvalidDataError naming the rows that cannot be used, unless they are to be left out
    """
    columns, known, bad = decode_records(pipeline, events, labels, skip_bad=skip_bad)
    rows = columns.source_offset
    ahead = screen_future(
        columns.event_time,
        np.full(len(columns), now_ms, np.int64),
        parse_duration(pipeline.future_max),
    )
    kept = np.flatnonzero(~ahead)
    wrong = int(np.count_nonzero(ahead))
    if wrong and not skip_bad:
        raise InvalidDataError(
            "bad_rows",
            f"{wrong:,} rows are more than {pipeline.future_max} in the future; the first is row"
            f" {int(rows[ahead][0]) + 1}.",
            "Mend these rows or the unit of their times, or leave them out with --skip-bad.",
            count=wrong,
        )
    return History(base, placed(columns.take(kept), rows[kept]), known, len(bad) + wrong)


class Folded(NamedTuple):
    """The state of one stage and partition, and how many rows it was folded of."""

    stage: FeatureStage
    partition: int
    state: StageState
    rows: int


def fold_history(
    plan: Plan, stages: Sequence[Stage], partitions: Mapping[str, int], history: History
) -> Iterator[Folded]:
    """Yield the state of each partition of each stage that folds events, stage by stage.

    stages      the pipeline's, as a worker builds them
    partitions  topic -> number of partitions
    Raises      StateBudgetError
    Cost        O(rows) a stage
    """
    log = history.events
    if history.labels is not None and len(history.labels):
        log = merge_labels(history.events, history.labels)
    late, duplicate_of = log.late.copy(), log.duplicate_of.copy()
    earlier = np.empty((len(log), 0), np.float64)
    folding = {s.topic: s for s in stages if isinstance(s, FeatureStage) and s.plan is not None}
    labelled = _labelled_from(plan)
    for index, topic in enumerate(stage_topics(plan)):
        stage = folding[topic]
        rows = np.arange(len(log)) if index >= labelled else np.flatnonzero(log.kind == EVENT)
        places = _places(plan, index, log, partitions[topic])[rows]
        features = np.full((len(log), len(plan.stages[index].names)), np.nan)
        for partition in range(partitions[topic]):
            here = rows[places == partition]
            state = stage.open_state(None)
            if state is None:
                raise TypeError("a stage that folds features has a state")
            for at in range(0, len(here), ROWS_PER_BATCH):
                taken = here[at : at + ROWS_PER_BATCH]
                batch = log.take(taken).judged(late[taken], duplicate_of[taken])
                batch.features = earlier[taken]
                said = state.fold(batch).folded
                features[taken] = said.features
                if index == 0:
                    late[taken], duplicate_of[taken] = said.late, said.duplicate_of
            yield Folded(stage, partition, state, len(here))
        earlier = np.concatenate((earlier, features), axis=1)


def _labelled_from(plan: Plan) -> int:
    """Return the number of the first stage that labels come to."""
    labels, entities = plan.pipeline.labels, [stage.entity for stage in plan.stages]
    return len(entities) if labels is None else entities.index(labels.by)


def _places(plan: Plan, index: int, log: EventColumns, partitions: int) -> NDArray[np.int64]:
    """Return the partition of each row in the log of a stage, (n,) int64."""
    events, entity = plan.pipeline.events, plan.stages[index].entity
    if index == 0 and not plan.pipeline.rekeys:
        return partitions_of(log.entities[entity], partitions)
    return placed_by(partitions, events, entity)(log).partitions
