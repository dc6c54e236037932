"""A file of history gives the states that its rows would have given as a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.checkpoints.manifest import Found, Unreadable
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.build import Parts, build_stages, stage_topics
from stream_infer.dataplane.offsets import Committed, LogBounds, commit_metadata
from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.events.columns import EVENT, HISTORY_PARTITION, EventColumns
from stream_infer.events.scored import _duplicates
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features, merge_labels
from stream_infer.files.contract import event_form, label_form, read_records
from stream_infer.files.tables import read_table
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.settings.worker import WorkerSettings
from stream_infer.simulators.fraud import DAY_MS, Transactions
from stream_infer.simulators.records import (
    label_columns,
    label_records,
    transaction_columns,
    transaction_records,
)
from stream_infer.states.history import (
    History,
    _places,
    fold_history,
    name_of_history,
    placed,
    read_history,
)
from stream_infer.states.placing import base_offset, refuse_overlap, same_bases
from support.checkpoints import manifest
from support.load import START_MS, Load, make_load

PARTITIONS = 3
PLAN = compile_plan(dataclasses.replace(fraud, model=None))
TOPICS = {spec.name: PARTITIONS for spec in pipeline_topics(fraud)}
STAGES = build_stages(Parts(PLAN, None, TOPICS, WorkerSettings()))
SPLIT_MS = START_MS + 30 * DAY_MS
SOURCE, LOG = Partition("transactions", 1), LogBounds(5, 90)


def written(rows: Transactions, folder: Path, *, labels: bool = False) -> Path:
    path = folder / ("labels.jsonl" if labels else "events.jsonl")
    path.write_bytes(b"\n".join((label_records if labels else transaction_records)(rows).values))
    return path


def history_of(folder: Path, load: Load, **options: Any) -> History:
    events = written(load.transactions, folder)
    labels = written(load.labels, folder, labels=True)
    return read_history(
        fraud,
        name_of_history([events, labels]),
        read_records(read_table(events), event_form(fraud)),
        read_records(read_table(labels), label_form(fraud)).sorted_by_time(),
        **({"now_ms": START_MS + 400 * DAY_MS} | options),
    )


def folded_on(states: dict[tuple[str, int], Any], log: EventColumns) -> Iterator[np.ndarray]:
    """Fold a log on top of states, stage by stage; yield each stage's features of its events."""
    for index, topic in enumerate(stage_topics(PLAN)):
        seen = np.arange(len(log)) if index else np.flatnonzero(log.kind == EVENT)
        places = _places(PLAN, index, log, PARTITIONS)
        features = np.empty((len(log), len(PLAN.stages[index].names)))
        for partition in range(PARTITIONS):
            rows = seen[places[seen] == partition]
            said = states[topic, partition].fold(log.take(rows)).folded
            features[rows] = said.features
            if index == 0:
                log.late[rows], log.duplicate_of[rows] = said.late, said.duplicate_of
        yield features[log.kind == EVENT]


def test_events_behind_a_history_have_the_features_that_they_have_behind_its_rows(
    tmp_path: Path,
) -> None:
    load = make_load(days=45, customers=40, terminals=20)
    is_past = load.transactions.event_time < SPLIT_MS
    labels = load.labels
    is_told = label_columns(labels).label_time < SPLIT_MS
    past = Load(load.transactions.take(is_past), labels.take(is_told))
    history = history_of(tmp_path, past)
    states = {
        (each.stage.topic, each.partition): each.state
        for each in fold_history(PLAN, STAGES, TOPICS, history)
    }
    assert len(states) == 2 * PARTITIONS
    now = transaction_columns(load.transactions.take(~is_past))
    log = merge_labels(now, label_columns(labels.take(~is_told)))
    found = np.concatenate(list(folded_on(states, log)), axis=1)
    events = transaction_columns(load.transactions)
    expected = compute_features(PLAN, events, label_columns(labels))[~is_past]
    matrix = PLAN.matrix(now, found)
    assert len(now) > 500
    np.testing.assert_array_equal(matrix, expected)
    assert not np.array_equal(  # the history counts
        matrix, compute_features(PLAN, now, label_columns(labels.take(~is_told)))
    )


def test_an_event_that_was_in_the_history_is_a_duplicate_of_its_row(tmp_path: Path) -> None:
    load = make_load(days=2, customers=5, terminals=3)
    history = history_of(tmp_path, load)
    states = {
        (each.stage.topic, each.partition): each.state
        for each in fold_history(PLAN, STAGES, TOPICS, history)
    }
    again = transaction_columns(load.transactions.take(np.arange(3)))
    list(folded_on(states, again))
    assert (again.duplicate_of >> 48 == HISTORY_PARTITION).all()
    assert list(_duplicates(again)) == ["history-1", "history-2", "history-3"]


def test_what_was_not_known_at_a_time_is_left_out_and_gives_another_name(tmp_path: Path) -> None:
    load = make_load(days=20, customers=10, terminals=5)
    history = history_of(tmp_path, load)
    cut = history.until(START_MS + 10 * DAY_MS)
    assert 0 < len(cut.events) < len(history.events)
    assert cut.labels is not None
    assert 0 < len(cut.labels) < len(load.labels)
    assert int(cut.events.event_time.max()) < START_MS + 10 * DAY_MS
    assert int(cut.labels.label_time.max()) < START_MS + 10 * DAY_MS
    assert cut.base not in (history.base, history.until(START_MS + 11 * DAY_MS).base)
    assert list(fold_history(PLAN, STAGES, TOPICS, cut))
    assert placed(cut.events, cut.events.source_offset).source_topic == "transactions"


def test_a_name_tells_files_and_the_delay_of_labels_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("b")
    names = [name_of_history(f, x) for f, x in (([one], [6]), ([one], [7]), ([one, two], [6]))]
    assert len({*names, name_of_history([two], [6])}) == 4
    assert name_of_history([one], [6]) == names[0]


def test_rows_that_cannot_be_used_are_named_or_left_out(tmp_path: Path) -> None:
    load = make_load(days=3, customers=5, terminals=3)
    now_ms = START_MS + 2 * DAY_MS
    with pytest.raises(InvalidDataError) as caught:
        history_of(tmp_path, load, now_ms=now_ms)
    assert "in the future" in caught.value.message
    left = history_of(tmp_path, load, now_ms=now_ms, skip_bad=True)
    assert left.skipped == len(load) - len(left.events) > 0


def test_a_fold_begins_with_a_history_where_it_will_be_read_first() -> None:
    assert base_offset(SOURCE, None, LOG, start="earliest", base="h") == 5
    assert base_offset(SOURCE, None, LOG, start="latest", base="h") == 90
    again = Committed(40, commit_metadata(7, "h"))
    assert base_offset(SOURCE, again, LOG, start="latest", base="h") == 7


@pytest.mark.parametrize("metadata", [commit_metadata(5), commit_metadata(5, "other"), ""])
def test_a_fold_that_began_otherwise_gets_no_history(metadata: str) -> None:
    with pytest.raises(ConflictError) as caught:
        base_offset(SOURCE, Committed(40, metadata), LOG, start="earliest", base="h")
    assert caught.value.code == "history_too_late"


def test_a_history_that_goes_on_where_the_log_has_begun_is_refused(tmp_path: Path) -> None:
    history = history_of(tmp_path, make_load(days=3, customers=5, terminals=3))
    refuse_overlap(history, None)
    refuse_overlap(history, int(history.events.event_time.max()) + 1)
    with pytest.raises(ConflictError) as caught:
        refuse_overlap(history, START_MS + DAY_MS)
    assert caught.value.code == "history_overlaps_log"
    assert "--until 2025-01-02T00:00:00.000Z" in caught.value.fix


def test_another_state_of_the_same_history_is_refused() -> None:
    wanted = manifest(5, declared_start=5, base="h")
    same = manifest(5, declared_start=5, base="h")
    others: list[Found] = [Unreadable("x", "cut off"), manifest(9, declared_start=5, base="h")]
    others += [manifest(5, declared_start=5, base="other"), manifest(5, declared_start=5)]
    assert same_bases([same, *others], [wanted]) == {wanted.id: [same]}
    differs = msgspec.structs.replace(same, content_sha256="another")
    with pytest.raises(ConflictError) as caught:
        same_bases([differs], [wanted])
    assert caught.value.code == "base_differs"
