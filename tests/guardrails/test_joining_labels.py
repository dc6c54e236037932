"""Scores of two versions and labels that come later meet by the event's id, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.guardrails.joining import EARLY_MAX, UNPAIRED_MAX, Compared, LabelJoin

DAY_MS = 86_400_000


def join(*, paired: bool = True, held_max: int = 10_000, wait_ms: int = DAY_MS) -> LabelJoin:
    return LabelJoin(paired=paired, held_max=held_max, wait_ms=wait_ms)


@given(st.permutations(["champion", "challenger", "label"]))
@settings(deadline=None)
def test_an_event_is_compared_once_in_whatever_order_its_parts_come(order: list[str]) -> None:
    joined = join()
    found: list[Compared] = []
    for part in order:
        if part == "label":
            found += joined.labelled("e", truth=True)
        else:
            score = {"champion": 0.5, "challenger": 0.75}[part]
            found += joined.scored("e", 1, score, by_challenger=part == "challenger")
    assert found == [Compared(0.25 - 0.0625, 1, 0)]
    assert len(joined) == 0


def test_an_event_that_only_one_of_two_versions_scored_is_not_compared() -> None:
    joined = join()
    joined.scored("e", 1, 0.5, by_challenger=False)
    assert joined.labelled("e", truth=False) == []
    assert joined.labelled("other", truth=False) == []


def test_a_label_that_comes_twice_counts_once() -> None:
    joined = join()
    for challenges in (False, True):
        joined.scored("e", 1, 0.5, by_challenger=challenges)
    assert len(joined.labelled("e", truth=True)) == 1
    assert joined.labelled("e", truth=True) == []


def test_events_of_own_keys_are_paired_in_the_order_of_their_labels() -> None:
    joined = join(paired=False)
    for name in ("a", "b"):
        joined.scored(name, 1, 0.5, by_challenger=False)
    joined.scored("c", 1, 0.1, by_challenger=True)
    assert joined.labelled("b", truth=True) == []
    assert joined.labelled("a", truth=False) == []
    [found] = joined.labelled("c", truth=False)
    # The first of the champion's labelled events, and the first of the challenger's.
    assert found.difference == pytest.approx(0.25 - 0.01)
    assert (found.positives, found.negatives) == (1, 1)


def test_of_the_side_that_has_more_events_the_newest_are_kept() -> None:
    joined = join(paired=False)
    for n in range(UNPAIRED_MAX + 5):
        joined.scored(str(n), 1, 0.0 if n < 5 else 1.0, by_challenger=False)
        joined.labelled(str(n), truth=False)
    joined.scored("c", 1, 0.0, by_challenger=True)
    assert joined.labelled("c", truth=False) == [Compared(1.0, 0, 2)]


def test_memory_is_bounded_and_both_scores_and_the_label_of_an_event_share_its_fate() -> None:
    joined = join(held_max=500)
    for n in range(20_000):
        for challenges in (False, True):
            joined.scored(f"e{n}", 1, 0.2 + 0.1 * challenges, by_challenger=challenges)
        assert len(joined) <= 501
    assert joined.level >= 5
    found = [each for n in range(20_000) for each in joined.labelled(f"e{n}", truth=n % 2 == 0)]
    # Nobody was held that could not be compared, and one event in 2 ** level was followed.
    assert len(found) > 200
    assert len(joined) == 0


def test_which_events_are_followed_depends_on_neither_score_nor_label() -> None:
    random = np.random.default_rng(2)
    joined = join(held_max=400)
    truth = random.random(40_000) < 0.3
    for n in range(40_000):
        for challenges in (False, True):
            joined.scored(f"e{n}", 1, float(truth[n]), by_challenger=challenges)
    found = [each for n in range(40_000) for each in joined.labelled(f"e{n}", truth=bool(truth[n]))]
    share = sum(each.positives for each in found) / len(found)
    # Five standard deviations of a share of 0.3 among so many.
    assert abs(share - 0.3) < 5 * (0.21 / len(found)) ** 0.5


def test_an_event_that_waited_too_long_makes_room_before_others_are_given_up() -> None:
    joined = join(held_max=100, wait_ms=1_000)
    for n in range(90):
        joined.scored(f"old{n}", 0, 0.5, by_challenger=False)
    for n in range(40):
        joined.scored(f"new{n}", 5_000, 0.5, by_challenger=False)
    assert (joined.level, len(joined)) == (0, 40)


def test_labels_of_events_that_nobody_scored_take_bounded_room() -> None:
    joined = join()
    for n in range(EARLY_MAX + 100):
        joined.labelled(f"e{n}", truth=True)
    for event, compared in (("e0", 0), (f"e{EARLY_MAX}", 1)):
        joined.scored(event, 1, 0.5, by_challenger=False)
        assert len(joined.scored(event, 1, 0.5, by_challenger=True)) == compared
