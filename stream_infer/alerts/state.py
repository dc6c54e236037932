"""What the alert stage remembers: values that a snapshot holds as they are.

    Living     an alert that is open, or was cleared within its quiet period
    Gathering  candidates of an entity that are too few yet for an alert
    Openings   when alerts of one kind opened of late in one group

Each has a time on the partition's clock when it is due: told, cleared or forgotten.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from stream_infer.alerts.candidate import Candidate
from stream_infer.alerts.declared import KindPlan
from stream_infer.alerts.lifecycle import Status

EVENT_IDS_MAX = 20
"""Of an alert's events the first half and the newest half are named; `count` says how many."""
MEMBER_IDS_MAX = 20
OTHERS_MAX = 1_000
"""Different `other` that one alert tells apart; `members` stays there, and `count` goes on."""

ENTITY, GROUP, GATHERING, OPENINGS = range(4)
"""The scope of a key: what kind of thing it is the key of."""

# Bytes, measured with tracemalloc on CPython 3.11 and rounded up: what a value costs beside the
# text in it.
_LIVING_BYTES, _CLOCK_BYTES, _ITEM_BYTES, _REASON_BYTES = 1_500, 64, 130, 260


class Key(NamedTuple):
    """Kind's index, scope, and the entity or group."""

    kind: int
    scope: int
    name: str


class Living(msgspec.Struct, array_like=True):
    """An alert and what is known about it; see `stream_infer.alerts.wire.Alert` for the fields.

    best        the candidate with the highest level, the first of equals
    touched     the partition's clock when its newest candidate was folded
    others      different `other` so far
    told_*      what its newest record said, and the clock then
    scheduled   its live entry among what is due; no part of the state
    """

    key: Key
    group: str
    status: Status
    alert_id: str
    opened_time: int
    last_time: int
    touched: int
    best: Candidate
    severity: int
    cleared_time: int | None = None
    count: int = 0
    members: int = 0
    member_ids: list[str] = []
    others: set[str] = set()
    event_ids: list[str] = []
    reopened: int = 0
    revision: int = 0
    told_severity: int = -1
    told_count: int = 0
    told_clock: int = 0
    scheduled: int = 0

    @classmethod
    def of(
        cls, candidate: Candidate, key: Key, alert_id: str, kind: KindPlan, clock: int
    ) -> Living:
        """Return an alert that nothing is counted of yet, and that is not open yet."""
        return cls(
            key,
            candidate.group,
            Status.NONE,
            alert_id,
            opened_time=candidate.event_time,
            last_time=candidate.event_time,
            touched=clock,
            best=candidate,
            severity=kind.severity(candidate.level),
        )

    def end(self, kind: KindPlan) -> int:
        """Return when it is cleared, or when its quiet period is over."""
        if self.cleared_time is None:
            return max(self.last_time + kind.hold_ms, self.opened_time + kind.open_min_ms)
        # Counted from the newest candidate that was heard, too: one that came late, long after
        # its own time, must not find the alert forgotten that the late one before it opened.
        return max(self.cleared_time, self.touched) + kind.quiet_ms

    @property
    def is_single(self) -> bool:
        """Whether it is about an entity, and not about a group."""
        return self.key.scope == ENTITY

    @property
    def is_owed(self) -> bool:
        """Whether candidates were counted that no record has told yet."""
        return self.count > self.told_count

    def due(self, kind: KindPlan) -> int:
        """Return when the clock has something to do: tell what is owed, or end it."""
        end = self.end(kind)
        return min(end, self.told_clock + kind.update_every_ms) if self.is_owed else end

    def add(self, candidate: Candidate, kind: KindPlan, clock: int) -> None:
        """Count a candidate in."""
        self.count += 1
        self.last_time = max(self.last_time, candidate.event_time)
        self.touched = clock
        self.severity = max(self.severity, kind.severity(candidate.level))
        if candidate.level > self.best.level:
            self.best = candidate
        _remember(self.event_ids, event_of(candidate))
        other = candidate.other
        if self.is_single and other is not None and len(self.others) < OTHERS_MAX:
            if other not in self.others:
                self.add_member(other)
            self.others.add(other)

    def add_member(self, name: str) -> None:
        """Count a member in that was none before."""
        self.members += 1
        if len(self.member_ids) < MEMBER_IDS_MAX:
            self.member_ids.append(name)

    def absorb(self, other: Living) -> None:
        """Take over a single alert of the group."""
        self.count += other.count
        self.last_time = max(self.last_time, other.last_time)
        self.severity = max(self.severity, other.severity)
        if other.best.level > self.best.level:
            self.best = other.best
        for event_id in other.event_ids:
            _remember(self.event_ids, event_id)
        self.add_member(other.key.name)

    def is_worth_telling(self, kind: KindPlan, clock: int) -> bool:
        """Whether it changed so much, or was told so long ago, that a record is due."""
        return (
            self.severity > self.told_severity
            or self.count >= 2 * self.told_count
            or clock - self.told_clock >= kind.update_every_ms
        )

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        best = self.best
        texts = sum(map(len, self.event_ids)) + sum(map(len, self.member_ids)) + len(self.key.name)
        items = len(self.event_ids) + len(self.member_ids) + len(self.others)
        return (
            _LIVING_BYTES
            + texts
            + items * _ITEM_BYTES
            + (len(best.reasons) + len(best.facts)) * _REASON_BYTES
        )


class Gathering(msgspec.Struct, array_like=True):
    """Candidates that would open an alert and are too few yet, in log order.

    Bounded by what is asked for: of each `other` no more are kept than `count_min`, and
    there are fewer different ones than `distinct_min`, or the alert would be open.
    """

    key: Key
    items: list[Candidate] = []
    touched: int = 0
    scheduled: int = 0

    def due(self, kind: KindPlan) -> int:
        """Return when it is forgotten."""
        newest = max(item.event_time for item in self.items)
        return max(newest, self.touched) + kind.within_ms

    def add(self, candidate: Candidate, kind: KindPlan, clock: int) -> bool:
        """Take a candidate in and return whether they are enough now."""
        self.touched = clock
        items = [*self.items, candidate]
        floor = max(item.event_time for item in items) - kind.within_ms
        items = [item for item in items if item.event_time > floor]
        same = [item for item in items if item.other == candidate.other]
        if len(same) > kind.spec.count_min:
            items = [item for item in items if item is not same[0]]
        self.items = items
        different = len({item.other for item in items})
        return len(items) >= kind.spec.count_min and different >= kind.spec.distinct_min

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        return sum(
            _LIVING_BYTES + (len(item.reasons) + len(item.facts)) * _REASON_BYTES
            for item in self.items
        )


class Openings(msgspec.Struct, array_like=True):
    """Clocks at which the newest alerts of a kind opened in a group, at most `single_max`."""

    key: Key
    clocks: list[int] = []
    scheduled: int = 0

    def due(self, kind: KindPlan) -> int:
        """Return when the newest one no longer counts."""
        within = 0 if kind.storm is None else kind.storm.within_ms
        return self.clocks[-1] + within

    def add(self, kind: KindPlan, clock: int) -> None:
        """Note that an alert opened."""
        self.clocks.append(clock)
        if kind.storm is not None:
            del self.clocks[: -kind.storm.single_max]

    def is_storm(self, kind: KindPlan, clock: int) -> bool:
        """Whether as many as may opened within the time."""
        storm = kind.storm
        if storm is None or len(self.clocks) < storm.single_max:
            return False
        return self.clocks[0] > clock - storm.within_ms

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        return _CLOCK_BYTES * (len(self.clocks) + 4)


Held = Living | Gathering | Openings


def event_of(candidate: Candidate) -> str:
    """Return the id of the candidate's event; of what no event made, its place in the log."""
    return candidate.event_id or "{}-{}-{}.{}".format(*_origin(candidate))


def alert_id(pipeline: str, kind: str, key: Key, candidate: Candidate) -> str:
    """Return the id of the alert that a candidate opens: the same in every replay."""
    facts = [pipeline, kind, key.scope, key.name, event_of(candidate)]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:32]


def _origin(candidate: Candidate) -> tuple[str, int, int, int]:
    return (
        candidate.upstream_topic,
        candidate.upstream_partition,
        candidate.upstream_offset,
        candidate.sub,
    )


def _remember(event_ids: list[str], event_id: str) -> None:
    event_ids.append(event_id)
    if len(event_ids) > EVENT_IDS_MAX:
        del event_ids[EVENT_IDS_MAX // 2]
