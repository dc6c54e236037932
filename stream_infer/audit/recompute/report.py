"""What a recomputation found, and its verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stream_infer.audit.recompute.differences import UNDETERMINED, Difference
from stream_infer.audit.report import Verdict

SHOWN_MAX = 10
"""Findings of each kind and stage that are described."""


@dataclass(slots=True, kw_only=True)
class StageFindings:
    """One stage's outputs against the fold of its input.

    stage         its name
    topic         what it reads
    ranges        partition -> ``[declared start, committed)`` offsets that were judged
    records       records folded
    expected      outputs that must be there
    beyond        outputs that are there and right, of records behind the committed offset
    lost          expected and not found
    twice         found more often than once, each further copy counted
    different     found, with another content than recomputed
    unexpected    found, and no record of the input makes them
    disordered    found before an output that should have come earlier
    refused       not there because Kafka refused them; a dead letter says so
    open_lost     not found, where a cut log or a missing model leaves open whether they were there
    other_model   outputs of a model that is not at hand
    twin_rows     events that the slow twins computed too
    twin_differs  of them, those for which the twins say something else
    """

    stage: str
    topic: str
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)
    records: int = 0
    expected: int = 0
    beyond: int = 0
    lost: int = 0
    twice: int = 0
    different: int = 0
    unexpected: int = 0
    disordered: int = 0
    refused: int = 0
    open_lost: int = 0
    other_model: int = 0
    twin_rows: int = 0
    twin_differs: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """Findings that are errors in every mode of delivery."""
        return self.lost + self.different + self.unexpected + self.disordered + self.twin_differs

    def has_room(self, kind: str) -> bool:
        """Say whether another finding of this kind is to be described."""
        return sum(each.kind == kind for each in self.differences) < SHOWN_MAX

    def describe(self, difference: Difference) -> None:
        """Add a finding's description, if there is room."""
        if self.has_room(difference.kind):
            self.differences.append(difference)

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        counts = {
            name: getattr(self, name)
            for name in (
                "stage", "topic", "records", "expected", "beyond", "lost", "twice", "different",
                "unexpected", "disordered", "refused", "open_lost", "other_model", "twin_rows",
                "twin_differs",
            )
        }  # fmt: skip
        return counts | {
            "ranges": {
                str(p): {"first": first, "next": after}
                for p, (first, after) in sorted(self.ranges.items())
            },
            "differences": [each.as_json() for each in self.differences],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeReport:
    """Every stage's outputs against the fold of its own log.

    pipeline    name, and of the consumer group
    delivery    what the pipeline promises: ``exactly_once`` makes a doubled output an error
    stages      in the order in which data passes them
    unproven    reasons why nothing is proven, empty if it is
    """

    pipeline: str
    delivery: str
    stages: list[StageFindings]
    unproven: list[str]

    @property
    def twice(self) -> int:
        """Outputs beyond the first of each."""
        return sum(each.twice for each in self.stages)

    def total(self, name: str) -> int:
        """Return the sum of one count over the stages."""
        return sum(getattr(each, name) for each in self.stages)

    @property
    def verdict(self) -> Verdict:
        """Return ``failed`` when something is certainly wrong, ``unproven``, or ``proven``."""
        if any(each.wrong for each in self.stages):
            return "failed"
        if self.delivery == "exactly_once" and self.twice:
            return "failed"
        return "unproven" if self.unproven else "proven"

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        names = ("expected", "lost", "twice", "different", "unexpected", "disordered")
        return {
            "pipeline": self.pipeline,
            "verdict": self.verdict,
            "delivery": self.delivery,
            **{name: self.total(name) for name in names},
            "stages": [each.as_json() for each in self.stages],
            "unproven": self.unproven,
            "undetermined": UNDETERMINED,
        }
