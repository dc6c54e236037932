"""Many alerts of one group become one, and nothing of them is lost."""

from __future__ import annotations

from stream_infer.alerts.candidate import Candidate, tick
from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.spec import Storm
from support.alerts import HOUR, MINUTE, START, Log, folded, kind, plan_of, told

SILENT = kind(group="corridor", storm=Storm(single_max=3, within="10m", absorb=True))
FRAUD = kind(storm=Storm(single_max=3, within="10m"))


def sensors(log: Log, corridors: int, each: int) -> list[Candidate]:
    """Return candidates as one tick makes them: of one record, told apart by `sub`."""
    return [
        log.at(
            0,
            1.0,
            f"s-{corridor}-{number}",
            group=f"road-{corridor}",
            upstream_offset=7,
            sub=corridor * each + number,
        )
        for corridor in range(corridors)
        for number in range(each)
    ]


def test_ten_thousand_silent_sensors_are_one_alert_a_corridor_with_a_count() -> None:
    fold = AlertFold(plan_of(SILENT))
    changes = fold.fold([*sensors(Log(), 20, 500), tick(START + 5 * MINUTE)])
    newest = {change.alert.alert_id: change.alert for change in changes}
    open_ones = [alert for alert in newest.values() if alert.status == "open"]
    assert [(alert.scope, alert.entity) for alert in open_ones] == [
        ("group", f"road-{corridor}") for corridor in range(20)
    ]
    assert {(alert.members, alert.count) for alert in open_ones} == {(500, 500)}
    assert {alert.entity_type for alert in open_ones} == {"corridor"}
    assert {alert.member_type for alert in open_ones} == {"sensor_id"}
    assert all(len(alert.member_ids) == 20 for alert in open_ones)
    assert len(changes) < 20 * 20
    assert fold.open == 20


def test_single_alerts_that_join_a_storm_say_which_one() -> None:
    log = Log()
    changes = folded(plan_of(SILENT), [log.at(0, 0.6, name) for name in "abcde"])
    assert told(changes) == [
        "opened a", "opened b", "opened c", "opened ", "merged a", "merged b", "merged c",
    ]  # fmt: skip
    group = changes[3].alert
    assert (group.scope, group.members, group.count) == ("group", 4, 4)
    assert {change.alert.merged_into for change in changes[4:]} == {group.alert_id}
    assert {change.alert.status for change in changes[4:]} == {"cleared"}


def test_a_storm_of_what_people_work_on_leaves_the_single_alerts_alone() -> None:
    log = Log()
    changes = folded(plan_of(FRAUD), [log.at(0, 0.6, name) for name in "abcde"])
    assert told(changes) == ["opened a", "opened b", "opened c", "opened ", "updated "]
    assert changes[-1].alert.members == 2


def test_a_member_s_candidates_keep_the_group_s_alert_open_and_do_not_count_it_twice() -> None:
    log = Log()
    fold = AlertFold(plan_of(FRAUD))
    fold.fold([log.at(0, 0.6, name) for name in "abcd"])
    fold.fold([log.at(9, 0.4, "d"), log.at(9, 0.4, "d")])
    changes = fold.fold([tick(START + 18 * MINUTE)])
    assert told(changes) == ["cleared a", "cleared b", "cleared c", "updated "]
    assert (changes[-1].alert.members, changes[-1].alert.count) == (1, 3)
    assert told(fold.fold([tick(START + 19 * MINUTE)])) == ["cleared "]


def test_when_the_storm_is_over_alerts_are_single_again() -> None:
    log = Log()
    fold = AlertFold(plan_of(FRAUD))
    fold.fold([log.at(0, 0.6, name) for name in "abcd"])
    assert told(fold.fold([log.at(10, 0.6, "e")]))[-1] == "opened e"


def test_a_member_may_have_an_alert_of_its_own_after_the_group_s_is_over() -> None:
    log = Log()
    fold = AlertFold(plan_of(FRAUD))
    fold.fold([log.at(0, 0.6, name) for name in "abcd"])
    assert "opened d" in told(fold.fold([tick(START + HOUR), log.at(61, 0.6, "d")]))
    assert fold.open == 1


def test_storms_of_different_groups_and_kinds_do_not_meet() -> None:
    log = Log()
    other = kind("noise", group="corridor", storm=Storm(single_max=3, within="10m"))
    candidates = [
        log.at(0, 0.6, f"{name}-{group}", group=group, kind=word)
        for name in "abc"
        for group in ("x", "y")
        for word in ("heat", "noise")
    ]
    changes = folded(plan_of(SILENT, other), candidates)
    assert {change.alert.scope for change in changes} == {"entity"}


def test_a_storm_of_old_candidates_is_bounded_too() -> None:
    log = Log()
    old = [log.at(step, 0.6, f"c-{step}") for step in range(2000)]
    changes = folded(plan_of(FRAUD), [tick(START + 365 * 24 * HOUR), *old])
    assert len(changes) < 40
    counts = {change.alert.alert_id: change.alert.count for change in changes}
    assert sum(counts.values()) > 1000


def test_alerts_that_open_one_after_the_other_are_no_storm() -> None:
    # minutes  0 ── 4 ── 8 ── 12: of three before it, only two are within ten minutes
    log = Log()
    changes = folded(plan_of(FRAUD), [log.at(4 * at, 0.6, f"s-{at}") for at in range(4)])
    assert {change.alert.scope for change in changes} == {"entity"}


def test_an_entity_that_comes_late_to_a_storm_that_is_over_may_come_again() -> None:
    log = Log()
    late = [log.at(step, 0.6, f"c-{step % 6}") for step in range(60)]
    fold = AlertFold(plan_of(FRAUD))
    changes = fold.fold([tick(START + 365 * 24 * HOUR), *late])
    groups = [change.alert.change for change in changes if change.alert.scope == "group"]
    assert groups[:2] == ["opened", "cleared"]
    assert set(groups[2:]) == {"amended"}


def test_whoever_comes_while_a_road_s_alert_is_open_belongs_to_it() -> None:
    log = Log()
    fold = AlertFold(plan_of(SILENT))
    fold.fold([log.at(0, 0.6, name) for name in "abcd"])
    fold.fold([log.at(9, 0.6, "d"), log.at(18, 0.6, "d")])
    changes = fold.fold([log.at(27, 0.6, "e")])
    assert told(changes) == ["updated "]
    assert changes[-1].alert.members == 5
