"""The time that passes in our logs: the wall's, but for when nobody could have written to them.

While Kafka is away sensors and payments go on, and what they send comes when it is back. A tick
that counted the outage would stand in front of it all: every sensor silent, every alert over.
The same goes for a process that stood still. So time passes turn by turn, and a turn counts
where every partition was answered in it.
"""

from __future__ import annotations

TURN_SECONDS = 1.0
"""A fetch is answered twice in that time, with data or without."""

STEP_SECONDS_MAX = 2 * TURN_SECONDS
"""What a turn counts at most: who was away for longer saw nothing in between."""


class LivedTime:
    """Seconds in which logs were seen to be idle or not."""

    def __init__(self) -> None:
        self._lived_s = 0.0
        self._looked_at_s: float | None = None
        self._answered_ms: int | None = None

    def seconds(self) -> float:
        """Return the time that has passed until the last turn; it never goes back."""
        return self._lived_s

    def turn(self, now_s: float, answered_ms: int | None) -> None:
        """Let the time since the last turn pass, if it counts.

        now_s        by a clock that never goes back
        answered_ms  when Kafka last answered about the partition that waits longest, epoch ms;
                     None where nothing was asked
        """
        before_s, self._looked_at_s = self._looked_at_s, now_s
        is_answered = answered_ms is None or answered_ms != self._answered_ms
        self._answered_ms = answered_ms
        if before_s is not None and is_answered:
            self._lived_s += min(now_s - before_s, STEP_SECONDS_MAX)
