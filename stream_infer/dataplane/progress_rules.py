"""When a partition's progress is worth a word to the other workers. Pure.

Words are for catch-up. In between, at the end of a log, a partition holds nobody, and what
passes there within a moment is nobody's business.
"""

from __future__ import annotations

from typing import NamedTuple

from stream_infer.dataplane.alignment import Standing
from stream_infer.events.progress import Place

LOOK_SECONDS = 0.02
"""How often is looked whether a word is due: two workers that catch up wait for each other's."""

BEHIND_SECONDS = 0.25
"""A partition that was read to its end is behind again when it has had unread records so long."""

REPEAT_SECONDS = 1.0
"""After so long a word is repeated while there are unread records: a sign of life."""

STEPS_IN_SKEW = 4
"""A head that moved by a fourth of the skew is told. A partition goes on when it may do half a
skew, so the lowest head, of which others know at least so much, always may."""


class Said(NamedTuple):
    """What is said of a partition: see `stream_infer.events.progress`."""

    place: Place
    head: int | None = None


def say(standing: Standing, *, is_restoring: bool) -> Said:
    """Return what is to be said of a partition that stands there."""
    if not standing.unread:
        return Said("end")
    if is_restoring:
        return Said("restoring")
    if standing.head is None:
        return Said("unread")
    return Said("head", standing.head)


class Telling:
    """What was said of one partition of ours in this assignment.

    skew_ms  of its alignment group
    """

    def __init__(self, skew_ms: int) -> None:
        self._step_ms = max(1, skew_ms // STEPS_IN_SKEW)
        self._said: Said | None = None
        self._said_s = 0.0
        self._unread_since_s: float | None = None

    def maybe_tell(self, now: Said, now_s: float) -> bool:
        """Return whether a word is due, and take it as said then."""
        if now.place == "end":
            self._unread_since_s = None
        elif self._unread_since_s is None:
            self._unread_since_s = now_s
        if not self._is_due(now, now_s):
            return False
        self._said, self._said_s = now, now_s
        return True

    def _is_due(self, now: Said, now_s: float) -> bool:
        said = self._said
        if said is None:
            return True
        if now.place == "end":
            return said.place != "end"
        if said.place == "end":
            since_s = self._unread_since_s
            return since_s is not None and now_s - since_s >= BEHIND_SECONDS
        if now_s - self._said_s >= REPEAT_SECONDS:
            return True
        if now.head is None:
            return False
        return said.head is None or abs(now.head - said.head) >= self._step_ms
