"""The state depends on the log alone: not on batches, repeats or checkpoints."""

from __future__ import annotations

import copy
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.alerts.candidate import Candidate, tick
from stream_infer.alerts.declared import AlertPlan
from stream_infer.alerts.fold import AlertChange, AlertFold
from stream_infer.alerts.spec import Storm
from stream_infer.alerts.wire import Alert
from stream_infer.errors import ConflictError, StateBudgetError
from support.alerts import MINUTE, START, Log, kind, plan_of

HEAT = kind(open_min="12m")
NOISE = kind("noise", quiet="0s", group="corridor", storm=Storm(single_max=2, within="8m"))
SMOKE = kind(
    "smoke",
    other="customer_id",
    distinct_min=2,
    count_min=3,
    within="15m",
    group="corridor",
    storm=Storm(single_max=1, within="5m", absorb=True),
)
PLAN = plan_of(HEAT, NOISE, SMOKE)


@st.composite
def logs(draw: st.DrawFn, kinds: tuple[str, ...] = ("heat", "noise", "smoke")) -> list[Candidate]:
    """Draw a log: candidates and ticks, mostly in order, of few entities and two upstreams."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(-15, 12),
                st.sampled_from((*kinds, *kinds, None)),
                st.sampled_from(("a", "b", "c", "d", "e")),
                st.sampled_from((0.2, 0.3, 0.45, 0.5, 0.6, 0.75, 0.95)),
                st.sampled_from(("c-1", "c-2", "c-3")),
                st.booleans(),
            ),
            max_size=60,
        )
    )
    log, minute, candidates = Log(), 0.0, []
    for step, name, entity, level, other, second in rows:
        minute += step if step < 0 and abs(step) > 12 else max(step, 0) / 2
        if name is None:
            candidates.append(tick(START + round(minute * MINUTE)))
            continue
        candidates.append(
            log.at(
                minute,
                level,
                entity,
                kind=name,
                other=other,
                group="" if name == "heat" else "ab"[entity in "abc"],
                upstream_partition=int(second),
            )
        )
    return candidates


def alerts(changes: list[AlertChange]) -> list[Alert]:
    return [change.alert for change in changes]


@settings(max_examples=150, deadline=None)
@given(logs(), st.lists(st.integers(0, 60), max_size=6))
def test_how_the_log_is_cut_into_batches_changes_nothing(
    log: list[Candidate], cuts: list[int]
) -> None:
    whole, cut = AlertFold(PLAN), AlertFold(PLAN)
    expected = alerts(whole.fold(log))
    bounds = [0, *sorted(cuts), len(log)]
    found = [alert for start, end in pairwise(bounds) for alert in alerts(cut.fold(log[start:end]))]
    assert found == expected
    assert cut.snapshot() == whole.snapshot()
    assert cut.bytes == whole.bytes


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(0, 60))
def test_a_snapshot_at_any_row_goes_on_as_the_fold_itself(log: list[Candidate], row: int) -> None:
    first, second = AlertFold(PLAN), AlertFold(PLAN)
    first.fold(log[:row])
    taken = copy.deepcopy(first.snapshot())
    second.restore(taken)
    assert (second.bytes, second.keys, second.open) == (first.bytes, first.keys, first.open)
    assert alerts(second.fold(log[row:])) == alerts(first.fold(log[row:]))
    assert second.snapshot() == first.snapshot()


@settings(max_examples=150, deadline=None)
@given(logs(), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 10)), max_size=4))
def test_records_that_come_again_change_nothing(
    log: list[Candidate], again: list[tuple[int, int]]
) -> None:
    repeated = list(log)
    for place, number in sorted(again, reverse=True):
        # What a restarted worker writes again are the newest records before this place.
        repeated[place:place] = log[max(0, place - number) : min(place, len(log))]
    once, twice = AlertFold(PLAN), AlertFold(PLAN)
    assert alerts(twice.fold(repeated)) == alerts(once.fold(log))
    assert twice.snapshot() == once.snapshot()


@settings(max_examples=300, deadline=None)
@given(logs())
def test_what_is_told_of_alerts_is_always_consistent(log: list[Candidate]) -> None:
    fold = AlertFold(PLAN)
    newest: dict[str, Alert] = {}
    for alert in alerts(fold.fold(log)):
        before = newest.get(alert.alert_id)
        assert alert.revision == (1 if before is None else before.revision + 1)
        assert_follows(before, alert)
        newest[alert.alert_id] = alert
        open_ones = Counter(
            (other.kind, other.scope, other.entity)
            for other in newest.values()
            if other.status == "open"
        )
        assert not open_ones or max(open_ones.values()) == 1
    assert fold.open == sum(alert.status == "open" for alert in newest.values())


def assert_follows(before: Alert | None, alert: Alert) -> None:
    after = {
        None: {"opened"},
        "open": {"updated", "cleared", "merged"},
        "cleared": {"reopened", "amended"},
    }
    assert alert.change in after[None if before is None else before.status]
    assert (alert.cleared_time is None) == (alert.status == "open")
    assert (alert.merged_into is not None) == (alert.change == "merged")
    if before is not None:
        words = PLAN.kinds[alert.kind].words
        assert words.index(alert.severity) >= words.index(before.severity)
        assert alert.count >= before.count
        assert alert.level >= before.level
        assert alert.members >= before.members
        assert before.merged_into is None


@settings(max_examples=200, deadline=None)
@given(logs(kinds=("noise",)))
def test_every_candidate_that_opens_alerts_is_counted_in_one(log: list[Candidate]) -> None:
    opening = [row for row in log if row.kind and row.level >= 0.5]
    fold = AlertFold(plan_of(NOISE))
    log = [row for row in log if row.kind is None or row.level >= 0.5]
    end = max((row.event_time for row in log), default=START)
    changes = fold.fold([*fold_origins(log), tick(end + 365 * 24 * 60 * MINUTE)])
    newest = {alert.alert_id: alert for alert in alerts(changes)}
    assert sum(alert.count for alert in newest.values()) == len(opening)


def fold_origins(log: list[Candidate]) -> list[Candidate]:
    """Return the log with upstream offsets that rise, so that no row is a repeat."""
    return [
        msgspec.structs.replace(row, upstream_offset=offset) if row.kind else row
        for offset, row in enumerate(log)
    ]


# The slow twin: every alert is looked at for every row, and nothing is kept in order.


@dataclass(slots=True)
class TwinAlert:
    opened: int
    last: int
    touched: int
    count: int = 0
    level: float = 0.0
    cleared: int | None = None
    told: int = 0


class TwinFold:
    """The life of single alerts of one kind, without storms, counts and limits of updates."""

    def __init__(self, plan: AlertPlan) -> None:
        [self.kind] = plan.kinds.values()
        self.clock = -(2**62)
        self.alerts: dict[str, TwinAlert] = {}
        self.ended: list[tuple[str, int, int, int, float]] = []

    def fold(self, log: list[Candidate]) -> None:
        for row in log:
            self.clock = max(self.clock, row.event_time)
            self._expire()
            if row.kind is not None and row.level >= self.kind.keep_at:
                self._count(row)
                self._expire()

    def _expire(self) -> None:
        for entity, alert in list(self.alerts.items()):
            if alert.cleared is None:
                end = max(alert.last + self.kind.hold_ms, alert.opened + self.kind.open_min_ms)
                if end <= self.clock:
                    alert.cleared = end
            if alert.cleared is not None:
                rest = max(alert.cleared, alert.touched) + self.kind.quiet_ms
                if rest <= self.clock:
                    del self.alerts[entity]
                    self.ended.append(
                        (entity, alert.opened, alert.cleared, alert.count, alert.level)
                    )

    def _count(self, row: Candidate) -> None:
        alert = self.alerts.get(row.entity)
        opens = row.level >= self.kind.open_at
        over = row.event_time + max(self.kind.hold_ms, self.kind.open_min_ms) <= self.clock
        if alert is None:
            if not opens:
                return
            alert = self.alerts[row.entity] = TwinAlert(row.event_time, row.event_time, self.clock)
        elif alert.cleared is not None and not over:
            if not opens:
                return
            alert.cleared = None
        alert.count += 1
        alert.level = max(alert.level, row.level)
        alert.last = max(alert.last, row.event_time)
        alert.touched = self.clock


@settings(max_examples=300, deadline=None)
@given(logs(kinds=("heat",)))
def test_the_fold_agrees_with_a_slow_twin(log: list[Candidate]) -> None:
    plan = plan_of(HEAT)
    log = [*fold_origins(log), tick(START + 10**9)]
    fold, twin = AlertFold(plan), TwinFold(plan)
    newest = {alert.alert_id: alert for alert in alerts(fold.fold(log))}
    twin.fold(log)
    found = [
        (alert.entity, alert.opened_time, alert.cleared_time, alert.count, alert.level)
        for alert in newest.values()
    ]
    assert sorted(found, key=str) == sorted(twin.ended, key=str)
    assert fold.keys == len(twin.alerts) == 0


def test_an_origin_that_is_not_above_the_highest_is_ignored() -> None:
    log = Log()
    one = log.at(0, 0.6)
    fold = AlertFold(plan_of(kind()))
    assert len(fold.fold([one, one])) == 1
    second = msgspec.structs.replace(one, sub=1, entity="s-2")
    assert len(fold.fold([second, one, second])) == 1
    elsewhere = msgspec.structs.replace(one, upstream_partition=1, entity="s-3")
    assert len(fold.fold([elsewhere])) == 1


def test_nothing_is_left_of_alerts_that_are_forgotten() -> None:
    log = Log()
    fold = AlertFold(PLAN)
    fold.fold([log.at(0, 0.9, f"s-{n}", kind=name) for n in range(50) for name in PLAN.kinds])
    assert fold.bytes > 50_000
    fold.fold([tick(START + 24 * 60 * MINUTE)])
    assert (fold.keys, fold.open) == (0, 0)
    assert fold.bytes < 1_000


def test_the_bytes_that_are_reported_cover_what_is_held() -> None:
    log = Log()
    candidates = [
        log.at(n / 100, 0.6, f"sensor-{n % 500}", facts={"speed": 12.5, "lane": "a" * 30})
        for n in range(5000)
    ]
    fold = AlertFold(plan_of(kind()))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fold.fold(msgspec.json.decode(msgspec.json.encode(candidates), type=list[Candidate]))
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.5 * held < fold.bytes < 4 * held


def test_a_state_that_grows_too_big_is_a_named_error() -> None:
    log = Log()
    fold = AlertFold(plan_of(kind()), memory_bytes_max=20_000)
    with pytest.raises(StateBudgetError, match="20,000 are allowed") as caught:
        fold.fold([log.at(0, 0.6, f"s-{n}") for n in range(100)])
    assert caught.value.code == "state_budget"
    assert "partitions" in caught.value.fix


@pytest.mark.parametrize(
    "changed",
    [
        {"open_at": 0.6},
        {"keep_at": 0.2},
        {"hold": "11m"},
        {"quiet": "1h"},
        {"entity": "corridor"},
        {"count_min": 2},
        {"severities": ((0.5, "low"),)},
        {"storm": Storm()},
    ],
)
def test_state_of_other_declarations_is_refused_with_what_to_do(changed: dict[str, Any]) -> None:
    taken = AlertFold(plan_of(kind())).snapshot()
    with pytest.raises(ConflictError, match="other alert declarations") as caught:
        AlertFold(plan_of(kind(**changed))).restore(taken)
    assert caught.value.code == "state_of_other_alerts"
    assert "Rebuild" in caught.value.fix


def test_other_texts_do_not_make_a_state_unfit() -> None:
    taken = AlertFold(plan_of(kind())).snapshot()
    AlertFold(plan_of(kind(text="Hot at {entity}"))).restore(taken)


def test_state_of_another_version_is_refused() -> None:
    taken = AlertFold(PLAN).snapshot() | {"version": 99}
    with pytest.raises(ConflictError, match="another version of stream-infer"):
        AlertFold(PLAN).restore(taken)


def test_a_kind_that_nobody_declared_stops_the_fold() -> None:
    with pytest.raises(ConflictError, match="not declared"):
        AlertFold(plan_of(kind())).fold([Log().at(0, 0.6, kind="noise")])


def test_one_customer_s_many_payments_at_a_terminal_take_bounded_room() -> None:
    log = Log()
    fold = AlertFold(plan_of(kind(distinct_min=3, within="1d", hold="1d", other="customer_id")))
    fold.fold([log.at(0, 0.6, other="c-1")])
    one = fold.bytes
    fold.fold([log.at(0, 0.6, other="c-1") for _ in range(1000)])
    assert fold.bytes == one


def test_equal_states_give_equal_snapshots_whatever_the_hashes_of_texts() -> None:
    log = Log()
    names = [f"c-{number}" for number in range(50)]
    fold = AlertFold(plan_of(kind(other="customer_id")))
    fold.fold([log.at(0, 0.6, other=name) for name in names])
    [living] = msgspec.msgpack.decode(fold.snapshot()["living"])
    assert sorted(names) in living
