"""The life of an alert, as a table.

For each kind an entity is in one of four states:

    NONE     no alert
    OPEN     an alert is open
    CLEARED  its alert was cleared a short time ago, and would be opened again
    JOINED   it is a member of its group's open alert: a storm

`TRANSITIONS` is the whole truth about what may follow what; `decide`, for a group's alert
`decide_whole`, and `expire` choose, `follow` looks up and refuses what is not in the table. A
group's alert lives by the same table; it is never JOINED.

              ┌──────────── forget ────────────┐
              ▼                                │
    ┌────▶ NONE ── open ──▶ OPEN ── clear ──▶ CLEARED
    │       │               │ ▲ update          │ ▲ amend
    │      join           merge └──── reopen ───┤ └─┘
    │       ▼               ▼                   │
    └leave─ JOINED ◀────────┴─────── join ──────┘
"""

from __future__ import annotations

from enum import StrEnum

from stream_infer.errors import ConflictError


class Status(StrEnum):
    """Where an entity stands."""

    NONE = "none"
    OPEN = "open"
    CLEARED = "cleared"
    JOINED = "joined"


class Action(StrEnum):
    """What happens to it."""

    OPEN = "open"
    UPDATE = "update"
    CLEAR = "clear"
    REOPEN = "reopen"
    AMEND = "amend"
    JOIN = "join"
    MERGE = "merge"
    LEAVE = "leave"
    FORGET = "forget"


TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (Status.NONE, Action.OPEN): Status.OPEN,
    (Status.NONE, Action.JOIN): Status.JOINED,
    (Status.OPEN, Action.UPDATE): Status.OPEN,
    (Status.OPEN, Action.CLEAR): Status.CLEARED,
    (Status.OPEN, Action.MERGE): Status.JOINED,
    (Status.CLEARED, Action.REOPEN): Status.OPEN,
    (Status.CLEARED, Action.AMEND): Status.CLEARED,
    (Status.CLEARED, Action.JOIN): Status.JOINED,
    (Status.CLEARED, Action.FORGET): Status.NONE,
    (Status.JOINED, Action.LEAVE): Status.NONE,
}


def follow(status: Status, action: Action) -> Status:
    """Return the state that follows.

    Raises  ConflictError ``alert_transition_forbidden`` for what the table does not allow
    """
    try:
        return TRANSITIONS[status, action]
    except KeyError as error:
        raise ConflictError(
            "alert_transition_forbidden",
            f"An alert that is {status} cannot {action}.",
            "This is a fault of the alert stage: stop the worker and keep its log.",
            status=str(status),
            action=str(action),
        ) from error


def decide(status: Status, *, opens: bool, late: bool, storming: bool) -> Action | None:
    """Return what a candidate at the keeping level or above does to its entity, or None.

    opens     whether the level, and the counts that are asked for, open an alert
    late      whether its whole effect lies behind the partition's clock: it opens no alert
              again that was cleared meanwhile, or a replay of old data would flap
    storming  whether so many alerts opened of late that this one joins its group's
    """
    if status is Status.NONE and opens:
        return Action.JOIN if storming else Action.OPEN
    if status is Status.OPEN:
        return Action.UPDATE
    if status is Status.CLEARED and late:
        return Action.AMEND
    if status is Status.CLEARED and opens:
        return Action.JOIN if storming else Action.REOPEN
    return None  # a member's candidate counts for its group; one that opens nothing is nothing


def decide_whole(status: Status, *, late: bool) -> Action:
    """Return what one more member does to its group's alert: opens it, or goes on with it.

    late  as in `decide`
    """
    match status:
        case Status.NONE:
            return Action.OPEN
        case Status.CLEARED:
            return Action.AMEND if late else Action.REOPEN
        case Status.OPEN | Status.JOINED:  # a group is never joined: `follow` refuses it
            return Action.UPDATE


def expire(status: Status) -> Action | None:
    """Return what happens when the partition's clock reaches the end that a state has."""
    match status:
        case Status.OPEN:
            return Action.CLEAR
        case Status.CLEARED:
            return Action.FORGET
        case Status.NONE | Status.JOINED:
            return None
