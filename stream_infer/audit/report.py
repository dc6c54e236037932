"""What an audit found, and its verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["proven", "failed", "unproven"]

SAMPLES_MAX = 10
"""Event ids named for each kind of finding: enough to look at, not a dump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """Each record of the input, up to what was committed, against what came out for it.

    pipeline            name, and of the consumer group
    topic               the input
    ranges              partition -> ``[first, next)`` offsets that were audited
    records             input records in the ranges
    scored              of them, scored at least once
    dead_letters        of them, on the dead-letter topic at least once
    lost                of them, without any output and not in flight; None where the cut of an
                        output log leaves it open
    missing             the same count, whatever may be behind it
    scored_twice        scored more than once
    dead_letters_twice  more than once among the dead letters
    scored_and_dead     both
    in_flight           records behind the committed offset, and those inside the pipeline
    outputs_beyond      outputs for input records outside the ranges
    outputs_foreign     outputs that name no record of the input
    unproven            reasons why nothing is proven, empty if it is
    samples             finding -> some of its event ids
    """

    pipeline: str
    topic: str
    ranges: dict[int, tuple[int, int]]
    records: int
    scored: int
    dead_letters: int
    missing: int
    scored_twice: int
    dead_letters_twice: int
    scored_and_dead: int
    in_flight: int
    outputs_beyond: int
    outputs_foreign: int
    outputs_cut: bool = False
    unproven: list[str] = field(default_factory=list)
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lost(self) -> int | None:
        """Records that are lost for certain; None when an output log no longer tells."""
        return None if self.outputs_cut else self.missing

    @property
    def doubled(self) -> int:
        """Records for which more came out than one output."""
        return self.scored_twice + self.dead_letters_twice + self.scored_and_dead

    @property
    def verdict(self) -> Verdict:
        """Return ``failed`` when something is certainly wrong, ``unproven``, or ``proven``."""
        if self.lost or self.doubled:
            return "failed"
        return "unproven" if self.unproven else "proven"

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        return {
            "pipeline": self.pipeline,
            "topic": self.topic,
            "verdict": self.verdict,
            "records": self.records,
            "scored": self.scored,
            "dead_letters": self.dead_letters,
            "lost": self.lost,
            "missing": self.missing,
            "scored_twice": self.scored_twice,
            "dead_letters_twice": self.dead_letters_twice,
            "scored_and_dead": self.scored_and_dead,
            "in_flight": self.in_flight,
            "outputs_beyond": self.outputs_beyond,
            "outputs_foreign": self.outputs_foreign,
            "ranges": {
                str(partition): {"first": first, "next": after}
                for partition, (first, after) in sorted(self.ranges.items())
            },
            "unproven": self.unproven,
            "samples": self.samples,
        }
