"""What one partition's alert stage holds, and when each of it is due.

`AlertStore` owns the held values, who belongs to which group, when each value is due, and
the count of bytes. What becomes of an alert is for `stream_infer.alerts.fold` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from stream_infer.alerts.candidate import Candidate
from stream_infer.alerts.declared import AlertPlan, KindPlan
from stream_infer.alerts.lifecycle import Status
from stream_infer.alerts.state import (
    GATHERING,
    GROUP,
    OPENINGS,
    Gathering,
    Held,
    Key,
    Living,
    Openings,
)
from stream_infer.errors import ConflictError

SNAPSHOT_VERSION = 1
_JOINED_BYTES = 300
_FRAME_VALUES = 1_000
"""Held values of one frame of a capture."""

Snapshot = dict[str, Any]
_Encoded = bytes  # the class below has a property of that name


class AlertStore:
    """The held values of one partition.

    held    key -> value
    joined  member -> its group's alert
    """

    def __init__(self, plan: AlertPlan) -> None:
        self.plan = plan
        self.kinds = tuple(plan.kinds.values())
        self.held: dict[Key, Held] = {}
        self.joined: dict[Key, Key] = {}
        self._members: dict[Key, dict[Key, None]] = {}
        self._dues: list[tuple[int, Key]] = []
        self._held_bytes = 0

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return self._held_bytes + len(self.joined) * _JOINED_BYTES

    @property
    def next_due(self) -> int | None:
        """When something held may be due next, ms; never later than that. None: nothing is."""
        return self._dues[0][0] if self._dues else None

    def living(self, key: Key) -> Living | None:
        """Return the alert under a key, or None."""
        held = self.held.get(key)
        return held if isinstance(held, Living) else None

    def hold(self, held: Held, bytes_before: int) -> None:
        """Keep a value that is new or has changed.

        bytes_before  its `bytes` before the change, 0 when it is new
        """
        self._held_bytes += held.bytes - bytes_before
        is_new = held.key not in self.held
        self.held[held.key] = held
        due = self._due_of(held)
        # A later time is found when the old one has come, so that a candidate costs no push.
        if is_new or due < held.scheduled:
            self._schedule(held, due)

    def drop(self, held: Held, bytes_before: int | None = None) -> None:
        """Forget a value; `bytes_before` where it has changed since it was held."""
        del self.held[held.key]
        self._held_bytes -= held.bytes if bytes_before is None else bytes_before

    def reschedule(self, held: Held) -> None:
        """Put a value among what is due again, after its time moved."""
        self._schedule(held, self._due_of(held))

    def due(self, clock: int) -> Iterator[Held]:
        """Yield what has come due, by time and key; also what is scheduled meanwhile.

        Whoever takes it drops it or reschedules it.
        """
        dues = self._dues
        while dues and dues[0][0] <= clock:
            scheduled, key = heappop(dues)
            held = self.held.get(key)
            if held is None or held.scheduled != scheduled:
                continue  # it went, or stands elsewhere among what is due
            if self._due_of(held) > scheduled:
                self.reschedule(held)
            else:
                yield held

    def bind(self, member: Key, group: Key) -> None:
        """Make an entity a member of its group's alert."""
        self.joined[member] = group
        self._members.setdefault(group, {})[member] = None

    def release(self, group: Key) -> None:
        """Let all members of a group's alert go."""
        for member in self._members.pop(group, ()):
            del self.joined[member]

    def singles(self, kind: KindPlan, group: str) -> list[Living]:
        """Return the alerts about entities of a group, by key. Cost O(held)."""
        return [
            held
            for _, held in sorted(self.held.items())
            if isinstance(held, Living)
            and held.is_single
            and (held.key.kind, held.group) == (kind.index, group)
        ]

    def gather(self, candidate: Candidate, kind: KindPlan, clock: int) -> list[Candidate]:
        """Return the candidates that open an alert together, the given one last, or nothing."""
        if kind.spec.count_min == 1 and kind.spec.distinct_min == 1:
            return [candidate]
        key = Key(kind.index, GATHERING, candidate.entity)
        gathering = self.held.get(key)
        if not isinstance(gathering, Gathering):
            gathering = Gathering(key)
        before = gathering.bytes if key in self.held else 0
        if not gathering.add(candidate, kind, clock):
            self.hold(gathering, before)
            return []
        if key in self.held:
            self.drop(gathering, before)
        return gathering.items

    def is_storm(self, kind: KindPlan, group: str, clock: int) -> bool:
        """Whether an alert that opens now joins its group's."""
        if kind.storm is None:
            return False
        if kind.storm.absorb:
            whole = self.living(Key(kind.index, GROUP, group))
            if whole is not None and whole.status is Status.OPEN:
                return True
        openings = self.held.get(Key(kind.index, OPENINGS, group))
        return isinstance(openings, Openings) and openings.is_storm(kind, clock)

    def note_opening(self, kind: KindPlan, group: str, clock: int) -> None:
        """Remember that an alert of a group opened, where storms are declared."""
        if kind.storm is None:
            return
        key = Key(kind.index, OPENINGS, group)
        openings = self.held.get(key)
        if not isinstance(openings, Openings):
            openings = Openings(key)
        before = openings.bytes if key in self.held else 0
        openings.add(kind, clock)
        self.hold(openings, before)

    def snapshot(self) -> Snapshot:
        """Return what is held as bytes, in an order of its own."""
        encode = msgspec.msgpack.Encoder(order="deterministic").encode
        held = [msgspec.structs.replace(held, scheduled=0) for _, held in sorted(self.held.items())]
        return {
            "version": SNAPSHOT_VERSION,
            "alerts_version": self.plan.fingerprint,
            "living": encode([item for item in held if isinstance(item, Living)]),
            "gathering": encode([item for item in held if isinstance(item, Gathering)]),
            "openings": encode([item for item in held if isinstance(item, Openings)]),
            "joined": encode(sorted(self.joined.items())),
        }

    def capture(self) -> Iterator[Snapshot | None]:
        """Return what is held now, in frames; what changes afterwards does not show in them.

        Cost  2 us a held value at once, the rest frame by frame
        """
        encode = msgspec.msgpack.Encoder(order="deterministic").encode
        held = []
        for key, value in self.held.items():
            # When it is looked at next is no part of the state; equal states give equal bytes.
            scheduled, value.scheduled = value.scheduled, 0
            held.append((key, type(value).__name__, encode(value)))
            value.scheduled = scheduled
        return self._frames(held, encode(sorted(self.joined.items())))

    def _frames(
        self, held: list[tuple[Key, str, _Encoded]], joined: _Encoded
    ) -> Iterator[Snapshot | None]:
        yield {"part": "joined", "joined": joined}
        held.sort()
        yield None
        for first in range(0, len(held), _FRAME_VALUES):
            values = held[first : first + _FRAME_VALUES]
            yield {"part": "held", "held": [[sort, value] for _, sort, value in values]}

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Put one of a capture's frames into this store, which was empty."""
        decode = msgspec.msgpack.decode
        if frame["part"] == "joined":
            for member, group in decode(frame["joined"], type=list[tuple[Key, Key]]):
                self.bind(member, group)
            return
        for sort, value in frame["held"]:
            item: Held = decode(value, type=_SORTS[sort])
            item.scheduled = 0
            self.hold(item, 0)

    @classmethod
    def of(cls, plan: AlertPlan, snapshot: Snapshot) -> AlertStore:
        """Return the store of a snapshot; raise `ConflictError` when it does not fit the plan."""
        check_fit(snapshot, plan)
        decode = msgspec.msgpack.decode
        held: list[Held] = [
            *decode(snapshot["living"], type=list[Living]),
            *decode(snapshot["gathering"], type=list[Gathering]),
            *decode(snapshot["openings"], type=list[Openings]),
        ]
        store = cls(plan)
        store.held = {item.key: item for item in held}
        for member, group in decode(snapshot["joined"], type=list[tuple[Key, Key]]):
            store.bind(member, group)
        for item in held:
            item.scheduled = store._due_of(item)
        store._dues = [(item.scheduled, item.key) for item in held]
        heapify(store._dues)
        store._held_bytes = sum(item.bytes for item in held)
        return store

    def _due_of(self, held: Held) -> int:
        return held.due(self.kinds[held.key.kind])

    def _schedule(self, held: Held, due: int) -> None:
        held.scheduled = due
        heappush(self._dues, (due, held.key))


_SORTS: dict[str, type[Held]] = {sort.__name__: sort for sort in (Living, Gathering, Openings)}


def check_fit(snapshot: Mapping[str, Any], plan: AlertPlan) -> None:
    """Raise `ConflictError` unless the snapshot is of this form and of these declarations."""
    for name, code, expected, cause in (
        ("version", "state_version", SNAPSHOT_VERSION, "another version of stream-infer"),
        ("alerts_version", "state_of_other_alerts", plan.fingerprint, "other alert declarations"),
    ):
        if snapshot.get(name) != expected:
            raise ConflictError(
                code,
                f"The saved state of the alerts of {plan.pipeline!r} was made by {cause}.",
                "Rebuild it from the log of candidates, or bring the declarations back.",
                found=snapshot.get(name),
                expected=expected,
            )
