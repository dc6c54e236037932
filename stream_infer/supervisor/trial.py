"""What to try next to find the record that kills. Pure: ends of children in, next step out.

    probe a range ──ended well──▶ nothing more kills there: over
          │ crashed on one record            ▲
          ▼                                  │ again, from the start of the state
    write its dead letter and its skip ──────┘

A throw-away child builds the state by a silent replay and takes the range record by record,
so that only a record that kills alone, on the state that it met, is poison. A crash in the
middle of the replay names a range of its own, which is then taken record by record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from stream_infer.dataplane.at_work import Span
from stream_infer.supervisor.endings import crash_of, in_words

POISON_MAX = 16
"""Poison records of one range. More of them speak against the model or the machine, and records
are not given up for those."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a throw-away child is to do.

    task    ``probe``: go through the range; ``condemn``: write dead letter and skip of its record
    span    the range, of one record for ``condemn``
    signal  that the record brought about, for ``condemn``
    """

    task: Literal["probe", "condemn"]
    span: Span
    signal: str = ""


@dataclass(slots=True)
class Trial:
    """Owns what is known of one suspect range.

    suspect  the range
    poison   records that killed a child alone, and are condemned
    outcome  None while there is something to try; else ``poison`` (some were found),
             ``innocent`` (nothing kills there), or ``failed``, with the cause
    """

    suspect: Span
    poison: list[Span] = field(default_factory=list)
    outcome: Literal["poison", "innocent", "failed"] | None = None
    cause: str = ""
    _ranges: list[Span] = field(default_factory=list)
    _step: Step | None = None

    def __post_init__(self) -> None:
        self._ranges = [self.suspect]
        self._step = Step("probe", self.suspect)

    @property
    def step(self) -> Step | None:
        """What to do now, None when it is over."""
        return self._step

    def ended(self, status: int, spans: Sequence[Span]) -> None:
        """Take the end of the child that did the step.

        spans  what it had in work
        """
        step, self._step = self._step, None
        if step is None:
            return
        signal = crash_of(status)
        if step.task == "condemn":
            self._after_condemning(step, status)
        elif status == 0:
            self._passed()
        elif signal is None:
            self._fail(f"the probe ended with {in_words(status)}")
        else:
            self._crashed(signal, spans)

    def _after_condemning(self, step: Step, status: int) -> None:
        if status != 0:
            self._fail(f"the dead letter was not written: {in_words(status)}")
            return
        self.poison.append(step.span)
        self._step = Step("probe", self._ranges[-1])

    def _passed(self) -> None:
        self._ranges.pop()
        if self._ranges:
            self._step = Step("probe", self._ranges[-1])
        else:
            self.outcome = "poison" if self.poison else "innocent"

    def _crashed(self, signal: str, spans: Sequence[Span]) -> None:
        place = (self.suspect.topic, self.suspect.partition)
        span = next((each for each in spans if (each.topic, each.partition) == place), None)
        if span is None:
            self._fail(f"the probe crashed by {signal} outside of any record")
        elif span.first < span.last and span in self._ranges:
            self._fail(f"the probe crashed by {signal} without a record of its own")
        elif span.first < span.last:
            self._ranges.append(span)
            self._step = Step("probe", span)
        elif len(self.poison) >= POISON_MAX:
            self._fail(
                f"{POISON_MAX} records of one range ended a process and {signal} comes again: look"
                " at the model and the machine"
            )
        else:
            self._step = Step("condemn", span, signal)

    def _fail(self, cause: str) -> None:
        self.outcome, self.cause = "failed", cause
