"""An alert is opened, goes on, is cleared, and may be opened again: time lines and the table."""

from __future__ import annotations

from itertools import product

import pytest

from stream_infer.alerts.candidate import tick
from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.lifecycle import (
    TRANSITIONS,
    Action,
    Status,
    decide,
    decide_whole,
    expire,
    follow,
)
from stream_infer.errors import ConflictError
from support.alerts import HOUR, MINUTE, START, Log, folded, kind, minutes, plan_of, told


@pytest.mark.parametrize(("status", "action"), list(product(Status, Action)))
def test_the_table_alone_says_what_may_follow(status: Status, action: Action) -> None:
    if (status, action) in TRANSITIONS:
        assert follow(status, action) is TRANSITIONS[status, action]
    else:
        with pytest.raises(ConflictError, match=f"that is {status} cannot {action}"):
            follow(status, action)


@pytest.mark.parametrize("facts", list(product((False, True), repeat=3)))
@pytest.mark.parametrize("status", list(Status))
def test_whatever_is_decided_stands_in_the_table(
    status: Status, facts: tuple[bool, bool, bool]
) -> None:
    opens, late, storming = facts
    action = decide(status, opens=opens, late=late, storming=storming)
    assert action is None or (status, action) in TRANSITIONS
    end = expire(status)
    assert end is None or (status, end) in TRANSITIONS


@pytest.mark.parametrize(
    ("status", "late", "action"),
    [
        (Status.NONE, False, Action.OPEN),
        (Status.NONE, True, Action.OPEN),
        (Status.OPEN, False, Action.UPDATE),
        (Status.OPEN, True, Action.UPDATE),
        (Status.CLEARED, False, Action.REOPEN),
        (Status.CLEARED, True, Action.AMEND),
    ],
)
def test_one_more_member_opens_its_group_s_alert_or_goes_on_with_it(
    status: Status, *, late: bool, action: Action
) -> None:
    assert decide_whole(status, late=late) is action
    assert (status, action) in TRANSITIONS


def test_a_group_s_alert_that_is_a_member_itself_is_refused() -> None:
    with pytest.raises(ConflictError, match="that is joined cannot update"):
        follow(Status.JOINED, decide_whole(Status.JOINED, late=False))


def test_every_state_can_be_reached_and_left() -> None:
    assert {status for status, _ in TRANSITIONS} == set(Status)
    assert set(TRANSITIONS.values()) == set(Status)
    assert {action for _, action in TRANSITIONS} == set(Action)


def test_an_alert_opens_goes_on_and_is_cleared_by_the_partition_s_clock() -> None:
    # minutes  0 ── 4 ── 12 ───────── 22 ── 60
    # level   .6   .4   .4          ended  a tick
    log = Log()
    changes = folded(
        plan_of(kind()), [log.at(0, 0.6), log.at(4, 0.4), log.at(12, 0.4), tick(START + HOUR)]
    )
    assert told(changes) == ["opened s-1", "updated s-1", "updated s-1", "cleared s-1"]
    assert minutes(changes[-1]) == (0, 12, 22)
    assert [change.row for change in changes] == [0, 1, 2, 3]
    assert [change.alert.revision for change in changes] == [1, 2, 3, 4]
    assert changes[-1].alert.count == 3
    assert changes[-1].alert.event_ids == ("readings-0-0", "readings-0-1", "readings-0-2")


def test_what_is_between_the_thresholds_keeps_an_alert_open_and_opens_none() -> None:
    log = Log()
    below = [log.at(0, 0.4), log.at(1, 0.49), log.at(2, 0.29)]
    assert folded(plan_of(kind()), below) == []
    kept = folded(plan_of(kind()), [log.at(3, 0.5), log.at(12, 0.3), log.at(21, 0.29)])
    assert told(kept) == ["opened s-1", "updated s-1"]
    assert minutes(kept[-1])[1] == 12


def test_an_alert_stays_open_for_its_least_time_whatever_the_level() -> None:
    # minutes  0 ───────── 10 (hold) ───────── 30 (open_min)
    log = Log()
    fold = AlertFold(plan_of(kind(open_min="30m")))
    assert told(fold.fold([log.at(0, 0.9), tick(START + 29 * MINUTE)])) == ["opened s-1"]
    [cleared] = fold.fold([tick(START + 30 * MINUTE)])
    assert minutes(cleared) == (0, 0, 30)


def test_the_hold_ends_exactly_at_its_end() -> None:
    log = Log()
    fold = AlertFold(plan_of(kind()))
    assert told(fold.fold([log.at(0, 0.6), tick(START + 10 * MINUTE - 1)])) == ["opened s-1"]
    assert told(fold.fold([tick(START + 10 * MINUTE)])) == ["cleared s-1"]


def test_the_same_alert_opens_again_within_its_quiet_period_and_another_one_after_it() -> None:
    # minutes  0 ── 10 cleared ── 25 again ── 35 cleared ── 55 forgotten ── 56 another
    log = Log()
    changes = folded(plan_of(kind()), [log.at(0, 0.6), log.at(25, 0.6), log.at(56, 0.6)])
    assert told(changes) == [
        "opened s-1", "cleared s-1", "reopened s-1", "cleared s-1", "opened s-1",
    ]  # fmt: skip
    first, _, again, _, other = [change.alert for change in changes]
    assert again.alert_id == first.alert_id
    assert (again.reopened, again.count, again.cleared_time) == (1, 2, None)
    assert (other.revision, other.count) == (1, 1)
    assert other.alert_id != first.alert_id


def test_severity_only_rises_within_one_alert_and_a_rise_is_told_at_once() -> None:
    log = Log()
    levels = [0.5, 0.75, 0.55, 0.95, 0.6]
    changes = folded(plan_of(kind()), [log.at(at / 60, level) for at, level in enumerate(levels)])
    assert [(change.row, change.alert.severity) for change in changes] == [
        (0, "low"), (1, "high"), (3, "critical"),
    ]  # fmt: skip
    assert changes[-1].alert.level == 0.95


def test_the_highest_level_gives_the_alert_its_reasons_and_the_first_of_equals_keeps_them() -> None:
    log = Log()
    candidates = [
        log.at(0, 0.6, rule="a", model="m", version="1"),
        log.at(1, 0.9, rule="b", model="m", version="2"),
        log.at(2, 0.9, rule="c", model="m", version="3"),
        log.at(3, 0.5, rule="d", model="m", version="4"),
        tick(START + HOUR),
    ]
    last = folded(plan_of(kind()), candidates)[-1].alert
    assert (last.level, last.score, last.rule, last.version) == (0.9, 0.9, "b", "2")


def test_updates_are_told_when_the_count_doubles_or_time_has_passed() -> None:
    log = Log()
    seconds = [log.at(second / 60, 0.6) for second in range(60)]
    changes = folded(plan_of(kind()), seconds)
    assert [change.alert.count for change in changes] == [1, 2, 4, 8, 16, 32]


def test_what_was_counted_and_not_told_is_told_by_the_clock() -> None:
    log = Log()
    fold = AlertFold(plan_of(kind()))
    fold.fold([log.at(0, 0.6), log.at(0, 0.6), log.at(1, 0.6)])
    assert fold.fold([tick(START + 5 * MINUTE - 1)]) == []
    [owed] = fold.fold([tick(START + 5 * MINUTE)])
    assert (owed.alert.change, owed.alert.count) == ("updated", 3)
    assert fold.fold([tick(START + 9 * MINUTE)]) == []


@pytest.mark.parametrize("behind", [0, 1, 5 * MINUTE, 10 * 365 * 24 * HOUR])
def test_a_tick_behind_the_clock_ends_nothing(behind: int) -> None:
    log = Log()
    fold = AlertFold(plan_of(kind()))
    fold.fold([log.at(0, 0.6)])
    before = fold.snapshot()
    assert fold.fold([tick(START - behind)]) == []
    assert fold.snapshot() == before


def test_two_kinds_about_one_entity_are_two_alerts() -> None:
    log = Log()
    plan = plan_of(kind("heat"), kind("noise"))
    changes = folded(plan, [log.at(0, 0.6), log.at(0, 0.6, kind="noise")])
    assert [change.alert.kind for change in changes] == ["heat", "noise"]
    assert changes[0].alert.alert_id != changes[1].alert.alert_id


def test_a_late_candidate_counts_for_an_open_alert_and_does_not_prolong_it() -> None:
    log = Log()
    changes = folded(plan_of(kind()), [log.at(30, 0.6), log.at(2, 0.9), tick(START + 40 * MINUTE)])
    assert told(changes) == ["opened s-1", "updated s-1", "cleared s-1"]
    assert minutes(changes[-1]) == (30, 30, 40)


def test_a_candidate_from_long_ago_opens_an_alert_that_is_over_at_once() -> None:
    log = Log()
    changes = folded(plan_of(kind()), [tick(START + 24 * HOUR), log.at(0, 0.6)])
    assert told(changes) == ["opened s-1", "cleared s-1"]
    assert minutes(changes[-1]) == (0, 0, 10)


def test_a_replay_of_old_data_is_one_alert_an_entity_not_one_a_candidate() -> None:
    log = Log()
    old = [log.at(30 * step, 0.6) for step in range(1000)]
    changes = folded(plan_of(kind()), [tick(START + 365 * 24 * HOUR), *old])
    assert len({change.alert.alert_id for change in changes}) == 1
    assert len(changes) < 15
    assert changes[-1].alert.change == "amended"


def test_as_many_candidates_as_are_asked_for_open_an_alert_together() -> None:
    # minutes  0 ── 8 ── 16 ── 17      two within ten minutes, so 0 and 8 open it
    log = Log()
    plan = plan_of(kind(count_min=3, within="10m"))
    changes = folded(plan, [log.at(at, 0.6) for at in (0, 8, 11, 17)])
    [opened] = changes
    assert (opened.row, opened.alert.count) == (3, 3)
    assert opened.alert.event_ids == ("readings-0-1", "readings-0-2", "readings-0-3")


def test_a_terminal_s_alert_needs_different_customers() -> None:
    log = Log()
    plan = plan_of(kind(distinct_min=3, within="1h", other="customer_id"))
    same = [log.at(at, 0.6, other="c-1") for at in range(20)]
    assert folded(plan, same) == []
    others = [log.at(20 + at, 0.6, other=f"c-{at}") for at in (2, 2, 3, 4)]
    [opened, *_] = folded(plan, [*same, *others])
    assert (opened.row, opened.alert.members) == (22, 3)
    assert opened.alert.member_ids == ("c-1", "c-2", "c-3")
    assert opened.alert.member_type == "customer_id"


def test_too_few_candidates_are_forgotten() -> None:
    log = Log()
    fold = AlertFold(plan_of(kind(count_min=2, within="10m")))
    fold.fold([log.at(0, 0.6), tick(START + 9 * MINUTE)])
    assert fold.keys == 1
    assert fold.fold([tick(START + 10 * MINUTE), log.at(10, 0.6)]) == []
    assert fold.keys == 1


def test_an_alert_names_its_first_and_its_newest_events() -> None:
    log = Log()
    many = [log.at(at / 10, 0.6) for at in range(500)]
    last = folded(plan_of(kind()), [*many, tick(START + 24 * HOUR)])[-1].alert
    assert last.count == 500
    numbers = [int(event_id.rsplit("-", 1)[1]) for event_id in last.event_ids]
    assert numbers == [*range(10), *range(490, 500)]


def test_candidates_from_long_ago_open_an_alert_together_too() -> None:
    log = Log()
    plan = plan_of(kind(count_min=2, within="10m"))
    late = [tick(START + 365 * 24 * HOUR), log.at(0, 0.6), log.at(1, 0.6)]
    assert told(folded(plan, late)) == ["opened s-1", "cleared s-1"]
