"""A word about a partition is said when others wait for it, and never about live work."""

from __future__ import annotations

import pytest

from stream_infer.dataplane.alignment import Standing
from stream_infer.dataplane.progress_rules import (
    BEHIND_SECONDS,
    REPEAT_SECONDS,
    STEPS_IN_SKEW,
    Said,
    Telling,
    say,
)

HOUR = 3_600_000
STEP = HOUR // STEPS_IN_SKEW
END, UNREAD, RESTORING = Said("end"), Said("unread"), Said("restoring")


def head(event_time: int) -> Said:
    return Said("head", event_time)


def telling(*said: tuple[Said, float]) -> Telling:
    """Return what has said these at these seconds."""
    made = Telling(HOUR)
    for each, now_s in said:
        assert made.maybe_tell(each, now_s), (each, now_s)
    return made


@pytest.mark.parametrize(
    ("standing", "restores", "said"),
    [
        (Standing(head=5), False, head(5)),
        (Standing(), False, UNREAD),
        (Standing(), True, RESTORING),
        (Standing(unread=False, caught_up=True), True, END),
        (Standing(unread=False, caught_up=True), False, END),
    ],
)
def test_what_is_said_of_a_partition(standing: Standing, *, restores: bool, said: Said) -> None:
    assert say(standing, is_restoring=restores) == said


@pytest.mark.parametrize("first", [END, UNREAD, RESTORING, head(0)])
def test_the_first_word_of_an_assignment_is_said_at_once(first: Said) -> None:
    assert Telling(HOUR).maybe_tell(first, 0.0)


def test_a_head_is_told_once_it_has_moved_by_a_part_of_the_skew() -> None:
    made = telling((head(0), 0.0))
    assert not made.maybe_tell(head(STEP - 1), 0.1)
    assert made.maybe_tell(head(STEP), 0.2)
    assert not made.maybe_tell(head(2 * STEP - 1), 0.3)


def test_a_head_that_goes_back_is_told_too() -> None:
    assert telling((head(9 * HOUR), 0.0)).maybe_tell(head(0), 0.1)


def test_a_head_that_becomes_known_is_told_at_once() -> None:
    assert telling((RESTORING, 0.0)).maybe_tell(head(0), 0.1)


@pytest.mark.parametrize("said", [UNREAD, RESTORING, head(0)])
def test_while_records_are_unread_a_word_is_repeated(said: Said) -> None:
    made = telling((said, 0.0))
    assert not made.maybe_tell(said, REPEAT_SECONDS - 0.1)
    assert made.maybe_tell(said, REPEAT_SECONDS)
    assert not made.maybe_tell(said, REPEAT_SECONDS + 0.1)


def test_the_end_is_told_at_once_and_only_once() -> None:
    made = telling((head(0), 0.0), (END, 0.01))
    assert not any(made.maybe_tell(END, float(now_s)) for now_s in range(1, 100))


def test_live_records_that_pass_within_a_moment_are_not_told() -> None:
    made = telling((END, 0.0))
    for event in range(1_000):
        assert not made.maybe_tell(head(event), event + 0.0)
        assert not made.maybe_tell(head(event), event + BEHIND_SECONDS / 2)
        assert not made.maybe_tell(END, event + BEHIND_SECONDS)


def test_a_partition_that_falls_behind_after_its_end_is_told() -> None:
    made = telling((END, 0.0))
    assert not made.maybe_tell(UNREAD, 10.0)
    assert made.maybe_tell(head(0), 10.0 + BEHIND_SECONDS)
