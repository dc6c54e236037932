"""A batch becomes columns, and each unusable record is named with its cause."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stream_infer.dataplane.batch import Partition, RecordBatch, merge
from stream_infer.dataplane.ranges import PartitionRanges
from stream_infer.dataplane.readers import (
    REPLAY_CLOCK_HEADER,
    WRONG_PARTITION_ROWS,
    InputReader,
    PartitionCheck,
)
from stream_infer.errors import ConflictError
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.pipelines.fraud import pipeline
from stream_infer.records import KeyPartitioner

HOUR = 3_600_000
NOW = 1_700_000_000_000
SOURCE = Partition("transactions", 0)
PARTITIONS = 2
PARTITIONER = KeyPartitioner(PARTITIONS)
HERE = next(f"c{i}" for i in range(99) if PARTITIONER.place([f"c{i}"])[0][1] == 0)
ELSEWHERE = next(f"c{i}" for i in range(99) if PARTITIONER.place([f"c{i}"])[0][1] == 1)


@dataclass
class Fetched:
    """A record as a client returns it."""

    offset: int
    value: bytes | None
    timestamp: int = NOW
    timestamp_type: int = 0
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def transaction(customer: str = HERE, event_time: int = NOW, **more: Any) -> bytes:
    body = {
        "transaction_id": "t1",
        "event_time": event_time,
        "customer_id": customer,
        "terminal_id": "m1",
        "amount": 1.5,
    }
    return json.dumps(body | more).encode()


def reader(*, check: bool = True) -> InputReader:
    return InputReader(
        EventDecoder(pipeline.events),
        future_max_ms=HOUR,
        check=PartitionCheck("transactions", "customer_id", PARTITIONS) if check else None,
    )


def batch(*values: bytes | None, first: int = 100) -> RecordBatch:
    return RecordBatch(SOURCE, [Fetched(first + i, value) for i, value in enumerate(values)])


def test_good_rows_keep_their_offsets_when_bad_ones_stand_between() -> None:
    [read] = reader().read([batch(transaction(), b"{", None, transaction())])
    assert read.rows.tolist() == [0, 3]
    assert read.offsets.tolist() == read.columns.source_offset.tolist() == [100, 103]
    assert [(bad.row, bad.code) for bad in read.bad] == [(1, "truncated"), (2, "tombstone")]


def test_an_event_far_ahead_of_its_record_is_refused_and_one_at_the_bound_is_not() -> None:
    [read] = reader().read(
        [batch(transaction(event_time=NOW + HOUR), transaction(event_time=NOW + HOUR + 1))]
    )
    assert read.rows.tolist() == [0]
    assert [(bad.row, bad.code) for bad in read.bad] == [(1, "future_event")]


def test_in_a_declared_replay_the_replays_clock_counts_instead_of_the_records_own() -> None:
    clock = [(REPLAY_CLOCK_HEADER, str(NOW - 100 * HOUR).encode())]
    record = Fetched(5, transaction(event_time=NOW - HOUR), headers=clock)
    [read] = reader().read([RecordBatch(SOURCE, [record])])
    assert [bad.code for bad in read.bad] == ["future_event"]


def test_a_record_in_the_wrong_partition_is_refused_alone() -> None:
    [read] = reader().read([batch(transaction(), transaction(ELSEWHERE), transaction())])
    assert read.rows.tolist() == [0, 2]
    assert [(bad.row, bad.code) for bad in read.bad] == [(1, "wrong_partition")]


def test_a_topic_that_is_partitioned_otherwise_stops_the_worker_with_the_cure() -> None:
    wrong = [transaction(ELSEWHERE)] * WRONG_PARTITION_ROWS
    with pytest.raises(ConflictError) as caught:
        reader().read([batch(*wrong)])
    assert caught.value.code == "wrong_partitioning"
    assert "--partitioning rekey" in caught.value.fix


def test_a_few_misplaced_records_at_the_very_start_do_not_stop_the_worker() -> None:
    wrong = [transaction(ELSEWHERE)] * (WRONG_PARTITION_ROWS - 1)
    assert len(reader().read([batch(*wrong)])[0].bad) == WRONG_PARTITION_ROWS - 1


def test_a_row_that_is_refused_for_two_reasons_is_one_dead_letter() -> None:
    both = transaction(ELSEWHERE, event_time=NOW + 2 * HOUR)
    assert [bad.code for bad in reader().read([batch(both)])[0].bad] == ["future_event"]


def test_without_a_check_a_record_may_lie_anywhere() -> None:
    assert reader(check=False).read([batch(transaction(ELSEWHERE))])[0].bad == []


def test_labels_advance_by_the_time_they_became_known() -> None:
    if pipeline.labels is None:
        raise AssertionError
    labels = InputReader(
        LabelDecoder(pipeline.labels, pipeline.events),
        future_max_ms=HOUR,
        check=None,
        by_label_time=True,
    )
    body = json.loads(transaction()) | {"is_fraud": True, "label_time": NOW - 5}
    late = body | {"label_time": NOW + 2 * HOUR}
    [read] = labels.read([batch(json.dumps(body).encode(), json.dumps(late).encode())])
    assert read.progress.tolist() == [NOW - 5]
    assert [bad.code for bad in read.bad] == ["future_event"]


def test_slices_of_a_batch_hold_each_row_once_and_its_bad_rows_once() -> None:
    [read] = reader().read([batch(transaction(), b"x", transaction(), transaction())])
    parts = [read.slice(0, 1), read.slice(1, 3)]
    assert [row for part in parts for row in part.rows.tolist()] == [0, 2, 3]
    assert [len(part.bad) for part in parts] == [1, 0]
    assert parts[1].columns.source_offset.tolist() == [102, 103]


def test_a_slice_takes_the_bad_records_before_the_next_good_one() -> None:
    """What a slice writes, and the offset up to which it goes, are the same records."""
    good = transaction()
    [read] = reader().read([batch(b"w", good, b"x", good, good, b"y", b"z")])
    parts = [read.slice(start, end) for start, end in ((0, 1), (1, 2), (2, 3))]
    assert [[bad.row for bad in part.bad] for part in parts] == [[0, 2], [], [5, 6]]
    assert [read.offset_after(end) for end in (1, 2, 3)] == [103, 104, 107]


def test_merged_batches_are_one_batch_of_their_assignment() -> None:
    ranges = PartitionRanges(100)
    first = RecordBatch(SOURCE, [Fetched(100, b"a")], ranges)
    second = RecordBatch(SOURCE, [Fetched(101, None), Fetched(105, b"b")], ranges)
    merged = merge([first, second])
    assert list(merged.values) == [b"a", None, b"b"]
    assert np.array_equal(merged.offsets(), [100, 101, 105])
    assert merged.bytes == first.bytes + second.bytes
    assert merged.ranges is ranges
