"""The life of a partition in this worker, as a table of what may follow what, and why.

                      ┌───────────── revoked ──────────────┐
                      │                                    ▼
    ASSIGNED ──▶ RESTORING ──▶ RUNNING ──── revoked ──▶ DRAINING ──▶ CLOSED ──▶ LOST
      │  │            │           │                        │           ▲
      │  │            └───────────┤ the group moved on     │ the group moved on
      │  │                        ▼                        ▼           │
      │  └──────────────────▶  FENCED ◀────────────────────┘           │
      │                           └────────────── ended ───────────────┘
      └── revoked ──▶ DRAINING

- FENCED: the group has given the partition to another before this worker was told. What it made
  since its last commit is void, and so is its state. It stands still until it is revoked.
- CLOSED: nothing runs and nothing is under way. Its state is kept where it is exactly the fold
  of what is committed.
- LOST: the next assignment does not have it; now its state goes, too. A partition that comes back
  begins a new life.

Everything here is a decision from facts: no clock, no client.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from stream_infer.dataplane.batch import Partition
from stream_infer.errors import StreamInferError

REBALANCE_SECONDS = 30.0
"""How long the group waits for its members in a rebalance (Kafka's rebalance.timeout.ms). A
member that takes longer is put out, and what it has in work is done again by others."""

REVOKE_SHARE = 2 / 3
"""Of that time, for finishing and committing. The rest is for joining the group again."""

DRAIN_SHARE = 1 / 2
"""Of the time for finishing and committing, in which answers to outputs are waited for."""


class Phase(Enum):
    """Where a partition is in its life."""

    ASSIGNED = "assigned"
    RESTORING = "restoring"
    RUNNING = "running"
    DRAINING = "draining"
    FENCED = "fenced"
    CLOSED = "closed"
    LOST = "lost"


class Cause(Enum):
    """What moves a partition from one phase to the next."""

    STARTED = "its task has begun"
    RESTORED = "its state is the fold up to where it starts"
    REVOKED = "the group takes it back, or the worker stops"
    MOVED_ON = "the group has gone on without this worker"
    ENDED = "nothing of it is under way any more"
    NOT_ASSIGNED_AGAIN = "the next assignment does not have it"


TRANSITIONS: Mapping[tuple[Phase, Cause], Phase] = MappingProxyType(
    {
        (Phase.ASSIGNED, Cause.STARTED): Phase.RESTORING,
        (Phase.ASSIGNED, Cause.REVOKED): Phase.DRAINING,
        (Phase.ASSIGNED, Cause.MOVED_ON): Phase.FENCED,
        (Phase.RESTORING, Cause.RESTORED): Phase.RUNNING,
        (Phase.RESTORING, Cause.REVOKED): Phase.DRAINING,
        (Phase.RESTORING, Cause.MOVED_ON): Phase.FENCED,
        (Phase.RUNNING, Cause.REVOKED): Phase.DRAINING,
        (Phase.RUNNING, Cause.MOVED_ON): Phase.FENCED,
        (Phase.DRAINING, Cause.REVOKED): Phase.DRAINING,  # took too long, and is given up now
        (Phase.DRAINING, Cause.MOVED_ON): Phase.FENCED,
        (Phase.DRAINING, Cause.ENDED): Phase.CLOSED,
        # What was fenced is told so again by each thing that it had under way, and it is revoked
        # once the client knows; neither changes what is left of it.
        (Phase.FENCED, Cause.MOVED_ON): Phase.FENCED,
        (Phase.FENCED, Cause.REVOKED): Phase.FENCED,
        (Phase.FENCED, Cause.ENDED): Phase.CLOSED,
        (Phase.CLOSED, Cause.NOT_ASSIGNED_AGAIN): Phase.LOST,
    }
)

UNDECIDED = frozenset({Phase.ASSIGNED, Phase.RESTORING})
"""Phases in which a partition's state is not yet right."""


class TransitionError(StreamInferError):
    """A partition was to go where its life does not lead: a fault of this program."""

    def __init__(self, source: Partition, phase: Phase, cause: Cause) -> None:
        super().__init__(
            "illegal_transition",
            f"{source} is {phase.value}, where this cannot happen: {cause.value}.",
            "Report it with the log; the worker stops, and nothing is committed wrong.",
            topic=source.topic,
            partition=source.partition,
            phase=phase.value,
            cause=cause.name.lower(),
        )


class Life:
    """Where one partition is in its life. It changes by `move` only.

    source  topic and partition, for errors
    """

    def __init__(self, source: Partition) -> None:
        self._source = source
        self._phase = Phase.ASSIGNED
        self._was_fenced = False

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self._phase

    @property
    def was_fenced(self) -> bool:
        """Whether the group went on without it at any time."""
        return self._was_fenced

    def move(self, cause: Cause) -> None:
        """Go where `cause` leads; raise TransitionError where it leads nowhere."""
        following = TRANSITIONS.get((self._phase, cause))
        if following is None:
            raise TransitionError(self._source, self._phase, cause)
        self._phase = following
        self._was_fenced = self._was_fenced or following is Phase.FENCED


# -- decisions of a revocation ---------------------------------------------------------------------


class Ending(Enum):
    """What happens to what was written and is not committed."""

    COMMIT = "commit"
    GIVE_UP = "give up"


def ending(*, was_fenced: bool, is_answered: bool) -> Ending:
    """Say how a partition's work ends.

    was_fenced   the group has gone on without it: it would refuse the commit
    is_answered  everything that was sent has been acknowledged in time
    """
    return Ending.COMMIT if is_answered and not was_fenced else Ending.GIVE_UP


def keeps_state(*, was_fenced: bool, folded_to: int, committed: int) -> bool:
    """Say whether a partition's state is worth keeping in case that it comes back.

    folded_to  offset that the state is exactly the fold up to
    committed  what this worker knows to be committed

    Only where both are the same: another owner goes on from what is committed, and a state ahead
    of that would have folded what the other one may see in another order.
    """
    return not was_fenced and folded_to == committed


class Deadline:
    """The one time limit that all steps of a revocation share.

    now_s    when it begins, by a clock that never goes back
    whole_s  for how long it is; `revoke_seconds` says
    """

    def __init__(self, now_s: float, whole_s: float) -> None:
        self._end_s = now_s + whole_s
        self._drain_end_s = now_s + whole_s * DRAIN_SHARE

    def drain_s(self, now_s: float) -> float:
        """Return for how long answers may still be waited for; not all, a commit needs time too."""
        return max(0.0, self._drain_end_s - now_s)

    def left_s(self, now_s: float) -> float:
        """Return what is left of it."""
        return max(0.0, self._end_s - now_s)


def revoke_seconds(rebalance_s: float = REBALANCE_SECONDS) -> float:
    """Return how long a revocation may take where the group waits `rebalance_s` for its members."""
    return rebalance_s * REVOKE_SHARE
