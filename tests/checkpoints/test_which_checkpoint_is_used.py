"""Which checkpoint a restore begins with, which go, and when the next one is due."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.checkpoints.choosing import OTHERS_KEPT_MS, Wanted, choose, prunable
from stream_infer.checkpoints.manifest import Unreadable
from stream_infer.checkpoints.pace import Pace
from support.checkpoints import PLAN, manifest

WANTED = Wanted("payments", "card", "payments", 0, 0, PLAN.features_version, 100, 10)


def test_the_newest_up_to_the_commit_comes_first() -> None:
    found = [manifest(offset) for offset in (20, 100, 60, 101)]
    assert [each.offset for each in choose(found, WANTED).usable] == [100, 60, 20]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"offset": 101}, "ahead_of_commit"),
        ({"offset": 9}, "below_log"),
        ({"fingerprint": "other"}, "other_features"),
        ({"declared_start": 5}, "other_start"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(facts: dict[str, Any], code: str) -> None:
    choice = choose([manifest(**({"offset": 50} | facts))], WANTED)
    assert choice.usable == []
    assert [refusal.code for refusal in choice.refused] == [code]


@pytest.mark.parametrize(
    "other", [{"pipeline": "x"}, {"stage": "x"}, {"topic": "x"}, {"partition": 1}]
)
def test_what_belongs_to_others_is_not_even_refused(other: dict[str, Any]) -> None:
    assert choose([manifest(50, **other)], WANTED) == ([], [])


def test_a_manifest_that_cannot_be_read_is_named() -> None:
    choice = choose([Unreadable("card/payments-0/7", "it is cut off"), manifest(50)], WANTED)
    assert [each.offset for each in choice.usable] == [50]
    assert choice.refused == [("card/payments-0/7", "manifest_damaged", "it is cut off")]


@given(st.lists(st.integers(0, 30)), st.integers(0, 30), st.integers(1, 5))
def test_nobody_removes_what_is_newer_and_enough_is_kept(
    offsets: list[int], own_at: int, kept_min: int
) -> None:
    own = manifest(own_at)
    found = [own, *(manifest(offset) for offset in offsets)]
    gone = prunable(found, own, kept_min=kept_min)
    assert own not in gone
    assert all(each.offset <= own_at for each in gone)
    up_to_own = [each for each in found if (each.offset, each.id) <= (own_at, own.id)]
    assert len(up_to_own) - len(gone) == min(len(up_to_own), kept_min)


def test_other_declarations_keep_theirs_for_a_week() -> None:
    own = manifest(50, created_ms=OTHERS_KEPT_MS + 10)
    fresh, old = (manifest(9, fingerprint="other", created_ms=created) for created in (11, 9))
    elsewhere = manifest(9, partition=1, created_ms=0)
    assert prunable([fresh, old, elsewhere, own], own) == [old]


DUE: dict[str, Any] = {
    "records": 50_000,
    "since_s": 20.0,
    "partitions": 3,
    "replay_per_s": 100_000.0,
    "write_s": 0.1,
}


@pytest.mark.parametrize(
    ("facts", "due"),
    [
        ({}, True),
        ({"records": 49_999}, False),
        ({"replay_per_s": 200_000.0}, False),
        ({"replay_per_s": None}, True),
        ({"since_s": 9.9}, False),
        ({"write_s": 0.7}, False),
        ({"records": 1, "since_s": 600.0}, True),
        ({"records": 0, "since_s": 6_000.0}, False),
        ({"partitions": 1}, False),
    ],
)
def test_a_checkpoint_is_due_when_a_replay_would_take_too_long(
    facts: dict[str, Any], *, due: bool
) -> None:
    assert Pace().is_due(**(DUE | facts)) is due
