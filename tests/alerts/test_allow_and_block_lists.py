"""Lists are folded from a log: the same log gives the same lists."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.alerts.lists import ListChange, Lists, list_key, read_list_change
from stream_infer.errors import ConflictError, InvalidDataError


def change(offset: int, entity: str, listed: bool = True, partition: int = 0) -> ListChange:  # noqa: FBT001, FBT002
    return ListChange(
        upstream_topic="fraud-lists",
        upstream_partition=partition,
        upstream_offset=offset,
        list="blocked",
        entity=entity,
        listed=listed,
        reason="called in",
    )


def record(**changed: object) -> bytes:
    return json.dumps({"list": "blocked", "entity": "c-1", "reason": "stolen", **changed}).encode()


def test_an_entity_is_listed_until_it_is_taken_off() -> None:
    lists = Lists()
    lists.fold([change(0, "c-1"), change(1, "c-2")])
    assert lists.rows("blocked", ["c-1", "c-3", "c-2"]) == [0, 2]
    assert lists.reason("blocked", "c-1") == "called in"
    assert len(lists) == 2
    held = lists.bytes
    assert held > 900
    lists.fold([change(2, "c-1", listed=False), change(3, "c-9", listed=False)])
    assert lists.rows("blocked", ["c-1", "c-3", "c-2"]) == [2]
    assert lists.rows("allowed", ["c-1"]) == []
    # Who was taken off is remembered, though not why it was on.
    assert (len(lists), lists.seen) == (1, 3)


def test_a_record_that_comes_again_changes_nothing() -> None:
    lists = Lists()
    lists.fold([change(0, "c-1"), change(1, "c-1", listed=False), change(0, "c-1")])
    assert len(lists) == 0


def test_what_a_cut_log_has_lost_is_there_again_after_the_lists_are_told_anew() -> None:
    """An older record of one entity is no repeat because of a newer one of another."""
    lists = Lists()
    lists.fold([change(5, "c-2"), change(0, "c-1")])
    assert lists.rows("blocked", ["c-1", "c-2"]) == [0, 1]


changes = st.lists(
    st.builds(change, st.integers(0, 20), st.sampled_from("abc"), st.booleans(), st.integers(0, 1)),
    max_size=30,
)


@given(changes, st.integers(0, 30))
def test_a_snapshot_at_any_row_goes_on_as_the_lists_themselves(
    log: list[ListChange], row: int
) -> None:
    whole, first, second = Lists(), Lists(), Lists()
    whole.fold(log)
    first.fold(log[:row])
    second.restore(json.loads(json.dumps(first.snapshot())))
    second.fold(log[row:])
    assert second == whole


def test_lists_of_another_version_are_refused() -> None:
    with pytest.raises(ConflictError, match="another version"):
        Lists().restore({"version": 9})


def test_a_users_record_and_a_tombstone_are_changes() -> None:
    key = list_key("blocked", "c:1")
    on = read_list_change(key, record(entity="c:1"), "fraud-lists", 2, 7)
    assert (on.list, on.entity, on.listed, on.reason) == ("blocked", "c:1", True, "stolen")
    assert (on.upstream_topic, on.upstream_partition, on.upstream_offset) == ("fraud-lists", 2, 7)
    off = read_list_change(key, None, "fraud-lists", 2, 8)
    assert (off.entity, off.listed) == ("c:1", False)
    said = read_list_change(key, record(entity="c:1", listed=False), "fraud-lists", 2, 9)
    assert not said.listed


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        (None, record(), "its key is not <list>:<entity>"),
        (b"blocked", record(), "its key is not"),
        (b"\xff:c-1", record(), "not UTF-8"),
        (b"blocked:c-2", record(), "name different entities"),
        (b"blocked:c-1", b"{", "ends too early"),
        (b"blocked:c-1", record(reason="x" * 501), "at [$].reason"),
        (b"blocked:c-1", b"[" * 5000, "nested deeper"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_without_its_values(
    key: bytes | None, value: bytes, cause: str
) -> None:
    with pytest.raises(InvalidDataError, match=cause) as caught:
        read_list_change(key, value, "fraud-lists", 0, 0)
    assert "c-1" not in str(caught.value)
    assert "key <list>:<entity>" in caught.value.fix
