"""The alert stage's fold: candidates in, changes of alerts out, state kept.

`AlertFold` owns the state of the alert stage for one partition. Like every stage's, its
state is a function of the records of its log in their order, and of nothing else: not of
how they were cut into batches, nor of any clock but the partition's own, which candidates
and ticks move forward and nothing moves back. A tick or a candidate whose time lies behind
it ends nothing.

A row does three things, in this order: it moves the clock, and whatever is due by then is
told, cleared or forgotten; it is counted for its entity, by the table of
`stream_infer.alerts.lifecycle`; and what it opened in the past is cleared at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from stream_infer.alerts.candidate import Candidate
from stream_infer.alerts.declared import AlertPlan, KindPlan
from stream_infer.alerts.lifecycle import Action, Status, decide, decide_whole, expire, follow
from stream_infer.alerts.state import (
    ENTITY,
    GROUP,
    Key,
    Living,
    alert_id,
)
from stream_infer.alerts.store import SNAPSHOT_VERSION, AlertStore, Snapshot, check_fit
from stream_infer.alerts.telling import alert_of
from stream_infer.alerts.wire import Alert, Change
from stream_infer.errors import ConflictError, StateBudgetError

_NOTHING_SEEN = (-1, -1)
_UPSTREAM_BYTES = 300

_CHANGES: dict[Action, Change] = {
    Action.OPEN: "opened",
    Action.UPDATE: "updated",
    Action.REOPEN: "reopened",
    Action.AMEND: "amended",
}


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A record about an alert, and the row of the batch that brought it about."""

    row: int
    alert: Alert


class AlertFold:
    """The fold of the alert stage over one partition.

    plan              what is declared
    memory_bytes_max  bound on `bytes`; `fold` raises `StateBudgetError` beyond it, after
                      which the state must be restored
    """

    def __init__(self, plan: AlertPlan, memory_bytes_max: int | None = None) -> None:
        self.plan = plan
        self.clock_ms: int | None = None
        self._memory_bytes_max = memory_bytes_max
        self._seen: dict[str, tuple[int, int]] = {}
        self._store = AlertStore(plan)
        self._row = 0
        self._changes: list[AlertChange] = []

    @property
    def open(self) -> int:
        """Alerts that are open."""
        return sum(
            isinstance(held, Living) and held.status is Status.OPEN
            for held in self._store.held.values()
        )

    @property
    def keys(self) -> int:
        """Entities and groups that something is remembered of."""
        return len(self._store.held) + len(self._store.joined)

    @property
    def entries(self) -> int:
        """Alerts, and candidates that gather for one."""
        return len(self._store.held)

    @property
    def next_due_ms(self) -> int | None:
        """When the passing of time may change something next; None when nothing waits."""
        return self._store.next_due

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return self._store.bytes + len(self._seen) * _UPSTREAM_BYTES

    def fold(self, candidates: Sequence[Candidate]) -> list[AlertChange]:
        """Fold the rows in order and return what changed, in the order in which it did.

        Raises  StateBudgetError ``state_budget``; ConflictError for a kind that is not declared
        Cost    about 20 us a candidate; what is due is found in O(log n)
        """
        self._changes = []
        for row, candidate in enumerate(candidates):
            self._row = row
            if self._is_new(candidate):
                self._step(candidate)
        self._check_budget()
        return self._changes

    def snapshot(self) -> Snapshot:
        """Return the state as plain values; equal states, equal snapshots.

        It holds text, whole numbers, lists and bytes, so that any codec takes it.
        """
        return self._store.snapshot() | {
            "clock": self.clock_ms,
            "upstreams": {name: list(place) for name, place in sorted(self._seen.items())},
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the state by a snapshot's.

        Raises  ConflictError when other declarations made it, StateBudgetError when it is too big
        """
        self._store = AlertStore.of(self.plan, snapshot)
        self.clock_ms = snapshot["clock"]
        self._seen = {name: (offset, sub) for name, (offset, sub) in snapshot["upstreams"].items()}
        self._check_budget()

    @property
    def fingerprint(self) -> str:
        """Which declarations the state belongs to."""
        return self.plan.fingerprint

    def capture(self) -> Iterator[Snapshot | None]:
        """Return the state as it is now, in frames that are read between folds that go on.

        None stands for a slice of work that brings no frame.
        """
        head = {
            "part": "head",
            "version": SNAPSHOT_VERSION,
            "alerts_version": self.plan.fingerprint,
            "clock": self.clock_ms,
            "upstreams": {name: list(place) for name, place in sorted(self._seen.items())},
        }
        return chain([head], self._store.capture())

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Put one of a capture's frames, in their order, into this fold, which was empty.

        Raises  as `restore`; the fold is worth nothing then
        """
        if frame["part"] == "head":
            check_fit(frame, self.plan)
            self._seen = {name: (offset, sub) for name, (offset, sub) in frame["upstreams"].items()}
            self.clock_ms = frame["clock"]
        else:
            self._store.restore_frame(frame)
        self._check_budget()

    # One row.

    def _is_new(self, candidate: Candidate) -> bool:
        """Whether the candidate's origin is above all that was seen of its upstream partition."""
        if candidate.upstream_offset < 0:
            return True  # a record of our own, such as a tick, which does no harm twice
        upstream = f"{candidate.upstream_topic}-{candidate.upstream_partition}"
        place = (candidate.upstream_offset, candidate.sub)
        if place <= self._seen.get(upstream, _NOTHING_SEEN):
            return False
        self._seen[upstream] = place
        return True

    def _step(self, candidate: Candidate) -> None:
        clock = self.clock_ms
        self.clock_ms = candidate.event_time if clock is None else max(clock, candidate.event_time)
        self._do_what_is_due(self.clock_ms)
        if candidate.kind is None:
            return
        kind = self.plan.kinds.get(candidate.kind)
        if kind is None:
            raise ConflictError(
                "unknown_kind",
                f"A candidate is of kind {candidate.kind!r}, which is not declared.",
                "Declare the kind again, or let the alert stage's reader refuse its candidates.",
                kind=candidate.kind,
            )
        if candidate.level >= kind.keep_at:
            self._count(candidate, kind, self.clock_ms)
            self._do_what_is_due(self.clock_ms)

    def _count(self, candidate: Candidate, kind: KindPlan, clock: int) -> None:
        """Let a candidate at the keeping level or above change its entity's alert."""
        key = Key(kind.index, ENTITY, candidate.entity)
        group = self._store.joined.get(key)
        if group is not None:
            self._apply(Action.UPDATE, group, candidate, kind, clock)
            return
        living = self._store.living(key)
        status = Status.NONE if living is None else living.status
        opens = candidate.level >= kind.open_at
        evidence: list[Candidate] = []
        if opens and status is Status.NONE:
            evidence = self._store.gather(candidate, kind, clock)
            opens = bool(evidence)
        action = decide(
            status,
            opens=opens,
            late=kind.is_late(candidate.event_time, clock),
            storming=opens and self._store.is_storm(kind, candidate.group, clock),
        )
        if action is None:
            return
        if action in (Action.OPEN, Action.REOPEN, Action.JOIN):
            self._store.note_opening(kind, candidate.group, clock)
        if action is Action.JOIN:
            self._join(key, candidate, kind, clock, evidence[:-1])
        else:
            self._apply(action, key, candidate, kind, clock, evidence[:-1])

    def _apply(
        self,
        action: Action,
        key: Key,
        candidate: Candidate,
        kind: KindPlan,
        clock: int,
        earlier: Sequence[Candidate] = (),
        member: str | None = None,
    ) -> None:
        """Carry out what changes one alert, count the candidate in, and tell it where due."""
        living = self._store.living(key)
        before = 0 if living is None else living.bytes
        status = follow(Status.NONE if living is None else living.status, action)
        if living is None:
            name = alert_id(self.plan.pipeline, kind.name, key, candidate)
            living = Living.of(candidate, key, name, kind, clock)
        living.status = status
        if action is Action.REOPEN:
            living.cleared_time = None
            living.reopened += 1
        for item in (*earlier, candidate):
            living.add(item, kind, clock)
        if member is not None:
            living.add_member(member)
        merged = []
        if key.scope == GROUP and action in (Action.OPEN, Action.REOPEN):
            merged = self._absorb(living, kind)
        told = action in (Action.OPEN, Action.REOPEN)
        if told or living.is_worth_telling(kind, clock):
            self._tell(living, kind, _CHANGES[action])
        for single in merged:
            self._merge(single, living, kind, clock)
        self._store.hold(living, before)

    # Storms: many alerts of one group become one.

    def _join(
        self,
        key: Key,
        candidate: Candidate,
        kind: KindPlan,
        clock: int,
        earlier: Sequence[Candidate],
    ) -> None:
        """Make an entity a member of its group's alert, which may open by it."""
        living = self._store.living(key)
        follow(Status.NONE if living is None else living.status, Action.JOIN)
        if living is not None:
            self._store.drop(living)
        place = Key(kind.index, GROUP, candidate.group)
        whole = self._store.living(place)
        action = decide_whole(
            Status.NONE if whole is None else whole.status,
            late=kind.is_late(candidate.event_time, clock),
        )
        self._apply(action, place, candidate, kind, clock, earlier, candidate.entity)
        if action is not Action.AMEND:  # else the group's alert is over, and so is belonging to it
            self._store.bind(key, place)

    def _absorb(self, whole: Living, kind: KindPlan) -> list[Living]:
        """Return the group's single open alerts, counted into its own, where that is declared."""
        if kind.storm is None or not kind.storm.absorb:
            return []
        singles = [
            single
            for single in self._store.singles(kind, whole.group)
            if single.status is Status.OPEN
        ]
        for single in singles:
            whole.absorb(single)
        return singles

    def _merge(self, single: Living, whole: Living, kind: KindPlan, clock: int) -> None:
        follow(single.status, Action.MERGE)
        single.status, single.cleared_time = Status.JOINED, clock
        self._tell(single, kind, "merged", merged_into=whole.alert_id)
        self._store.drop(single)
        self._store.bind(single.key, whole.key)

    # What the clock does.

    def _do_what_is_due(self, clock: int) -> None:
        for held in self._store.due(clock):
            if isinstance(held, Living):
                self._go_on(held, self._store.kinds[held.key.kind], clock)
            else:
                self._store.drop(held)

    def _go_on(self, living: Living, kind: KindPlan, clock: int) -> None:
        """Tell what is owed, or take an alert to the state that follows."""
        end = living.end(kind)
        action = expire(living.status) if end <= clock else None
        if action is not Action.CLEAR and living.is_owed:
            self._tell(living, kind, "updated" if living.status is Status.OPEN else "amended")
        if action is Action.CLEAR:
            living.status, living.cleared_time = follow(living.status, action), end
            self._tell(living, kind, "cleared")
            self._store.release(living.key)
        if action is Action.FORGET:
            follow(living.status, action)
            self._store.drop(living)
        else:
            self._store.reschedule(living)

    def _tell(
        self, living: Living, kind: KindPlan, change: Change, merged_into: str | None = None
    ) -> None:
        living.revision += 1
        living.told_severity, living.told_count = living.severity, living.count
        living.told_clock = self.clock_ms or 0
        alert = alert_of(living, kind, self.plan.pipeline, change, merged_into)
        self._changes.append(AlertChange(self._row, alert))

    def _check_budget(self) -> None:
        limit = self._memory_bytes_max
        if limit is not None and self.bytes > limit:
            raise StateBudgetError(
                "state_budget",
                f"The alerts of one partition need {self.bytes:,} bytes; {limit:,} are allowed.",
                "Allow more memory per partition, create the topics with more partitions, or "
                "declare a shorter hold and quiet period.",
                bytes=self.bytes,
                bytes_max=limit,
            )
