"""What is to be done about the versions that serve, from a standing and what was seen. Pure.

A breach must be there in several looks in a row before an alias moves; a look is made a second.
Only a version on trial is moved: a challenger, or a champion that was promoted not long ago. One
that has served for longer, and one that a rollback brought back, stays whatever is seen of it:
what happens to it happens to the rows, another version gets the same ones, and moving on and on
would only change the scenery. Where nobody is left to go back to, nothing moves either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stream_infer.guardrails.judging import Breach, GuardLimits, judge
from stream_infer.guardrails.windows import EvidenceWindow
from stream_infer.registry.entry import CHALLENGER, CHAMPION, PREVIOUS, time_ms
from stream_infer.registry.history import Standing
from stream_infer.scoring.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class DeciderRules:
    """When an alias is moved without a person.

    limits     what a version may do
    held       looks in a row in which a breach must be there
    watch_ms   for how long after its promotion a champion is on trial
    """

    limits: GuardLimits = field(default_factory=GuardLimits)
    held: int = 3
    watch_ms: int = 86_400_000


@dataclass(frozen=True, slots=True)
class Decision:
    """One move that is to be made: compare-and-set, since it holds for this version alone.

    action    ``rollback`` of the champion, ``reject`` or ``promote`` of the challenger
    version   the one that is left, or promoted
    why       the breaches or the trial's figures, for the history and for people
    champion  the one that a challenger takes the place of
    """

    action: Literal["rollback", "reject", "promote"]
    version: str
    why: str
    champion: str | None = None


class Decider:
    """Looks at evidence, and says what to do; owns for how long each breach has been there."""

    def __init__(self, rules: DeciderRules) -> None:
        self._rules = rules
        self._held: dict[tuple[str, str], int] = {}

    def look(
        self,
        standing: Standing,
        window: EvidenceWindow,
        references: Mapping[str, Reference | None],
        now_ms: int,
    ) -> Decision | None:
        """Return the move that is to be made now, if any.

        references  version -> what its manifest says of where it was validated
        """
        totals = window.totals(now_ms)
        held: dict[tuple[str, str], int] = {}
        decision: Decision | None = None
        for alias, version, other in self._on_trial(standing, now_ms):
            seen = totals.get(version)
            if seen is None:
                continue
            usual = window.usual_scores(version, now_ms).tolist()
            breaches = judge(
                seen,
                totals.get(other or ""),
                usual,
                references.get(version),
                self._rules.limits,
                before_us=window.hours.row_us(other or "", now_ms),
            )
            lasting = [each for each in breaches if self._lasts(version, each, held)]
            if lasting and decision is None:
                action: Literal["rollback", "reject"] = (
                    "rollback" if alias == CHAMPION else "reject"
                )
                decision = Decision(action, version, "; ".join(each.message for each in lasting))
        self._held = held
        return decision

    def _lasts(self, version: str, breach: Breach, held: dict[tuple[str, str], int]) -> bool:
        key = (version, breach.code)
        held[key] = self._held.get(key, 0) + 1
        return held[key] >= self._rules.held

    def _on_trial(self, standing: Standing, now_ms: int) -> list[tuple[str, str, str | None]]:
        """Return (alias, version, version to compare with) of those that may be moved."""
        found: list[tuple[str, str, str | None]] = []
        champion, challenger = standing.champion, standing.aliases.get(CHALLENGER)
        before = standing.aliases.get(PREVIOUS)
        if champion is not None and standing.promoted:
            is_young = now_ms - time_ms(standing.promoted) < self._rules.watch_ms
            others = [each for each in standing.champions if each != champion]
            if is_young and any(each not in standing.barred for each in others):
                found.append((CHAMPION, champion, before))
        if challenger is not None:
            found.append((CHALLENGER, challenger, champion))
        return found
