"""An input whose offsets are gone while stages behind it remember it is not read again."""

from __future__ import annotations

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.made_anew import inputs_made_anew

FEEDS = {"p.by-terminal": ["payments", "labels"]}
PARTITIONS = {"payments": 2, "labels": 1}
PAYMENTS = {Partition("payments", 0), Partition("payments", 1)}
LABELS = {Partition("labels", 0)}
WRITTEN = {"p.by-terminal"}


def test_a_group_that_never_ran_is_fine() -> None:
    assert inputs_made_anew(FEEDS, PARTITIONS, set(), set()) == []


def test_a_group_with_all_its_offsets_is_fine() -> None:
    assert inputs_made_anew(FEEDS, PARTITIONS, PAYMENTS | LABELS, WRITTEN) == []


def test_each_partition_without_an_offset_is_named_once_records_were_made_of_it() -> None:
    assert inputs_made_anew(FEEDS, PARTITIONS, LABELS, WRITTEN) == sorted(PAYMENTS)
    assert inputs_made_anew(FEEDS, PARTITIONS, PAYMENTS, WRITTEN) == sorted(LABELS)
