"""Whether a dead letter may go back to where it came from, and as what. Pure.

Key, value and the record's own headers go out as they came; only ``si-attempt`` is set, to one
more than the dead letter's. If the record fails again, its next dead letter keeps that header
among the record's own, and so counts: a record that nothing can mend cannot circle for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stream_infer.events.deadletter import DeadLetterFacts, Header, original_headers

ATTEMPT = "si-attempt"
ATTEMPTS_MAX = 3
"""First try and two replays: what those did not mend, a person must look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which dead letters are meant; an empty part of it chooses all.

    codes, stages        as the headers have them
    since_ms, until_ms   time at which the dead letter was written: from, and before
    positions            of the dead letter or of its original
    """

    codes: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    positions: frozenset[str] = field(default_factory=frozenset)

    def takes(
        self, facts: DeadLetterFacts, timestamp_ms: int, position: str, original: str | None
    ) -> bool:
        """Say whether the dead letter is one of them."""
        return (
            (not self.codes or facts.error_code in self.codes)
            and (not self.stages or facts.stage in self.stages)
            and (self.since_ms is None or timestamp_ms >= self.since_ms)
            and (self.until_ms is None or timestamp_ms < self.until_ms)
            and (not self.positions or position in self.positions or original in self.positions)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A record to be sent again.

    partition  the original's; None: by the key, in a topic that is another one
    headers    the record's own, with the number of this attempt
    attempt    2 for the first replay
    """

    topic: str
    partition: int | None
    headers: list[Header]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a dead letter is not sent again."""

    code: str
    reason: str


def decide_resend(
    facts: DeadLetterFacts,
    headers: Sequence[Header],
    value_bytes: int,
    *,
    dead_letters: str,
    to: str | None = None,
    attempts_max: int = ATTEMPTS_MAX,
) -> Resend | Refusal:
    """Return what is to be sent for a dead letter, or why nothing may be.

    value_bytes   length of the dead letter's value
    dead_letters  the topic on which it stands
    to            topic in place of the original
    """
    attempt = attempt_of(headers)
    refusal = _not_whole(facts, value_bytes) or _nowhere_to(facts, dead_letters, to)
    if refusal is not None:
        return refusal
    if attempt >= attempts_max:
        return Refusal(
            code="attempts_exhausted",
            reason=f"It has failed {attempt} times, and {attempts_max} is the most.",
        )
    own = [header for header in original_headers(headers) if header[0] != ATTEMPT]
    return Resend(
        topic=to or str(facts.topic),
        partition=facts.partition if to in (None, facts.topic) else None,
        headers=[*own, (ATTEMPT, str(attempt + 1).encode())],
        attempt=attempt + 1,
    )


def attempt_of(headers: Sequence[Header]) -> int:
    """Return how often the record has been tried, at least 1.

    The highest counts: ours, written with the dead letter, says 1 for what it knows nothing of.
    """
    texts = [value for name, value in headers if name == ATTEMPT and value]
    return max((int(text) for text in texts if text.isdigit() and len(text) < 10), default=1) or 1


def _not_whole(facts: DeadLetterFacts, value_bytes: int) -> Refusal | None:
    if facts.stub:
        return Refusal(
            code="stub", reason="It is a stub: only the first bytes of the value were kept."
        )
    if facts.original_bytes is not None and facts.original_bytes != value_bytes:
        return Refusal(
            code="cut",
            reason=f"The value had {facts.original_bytes} bytes, and {value_bytes} are here.",
        )
    return None


def _nowhere_to(facts: DeadLetterFacts, dead_letters: str, to: str | None) -> Refusal | None:
    if to is None and facts.topic is None:
        unreadable = f" (unreadable: {', '.join(facts.unreadable)})" if facts.unreadable else ""
        return Refusal(
            code="origin_unknown", reason=f"Its headers name no original topic{unreadable}."
        )
    if (to or facts.topic) == dead_letters:
        return Refusal(code="own_topic", reason="It would come back to the topic it stands on.")
    # A pipeline's internal topics begin with its name, which is its group. What stands there has
    # an origin that the stage has passed already, so it would ignore the record without a word.
    if (
        to is None
        and facts.consumer_group
        and str(facts.topic).startswith(f"{facts.consumer_group}.")
    ):
        return Refusal(
            code="internal_topic",
            reason=f"{facts.topic} is internal: its stage ignores what it has passed already.",
        )
    return None
