"""Which features lie elsewhere than where the serving version was validated, for people to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from stream_infer.guardrails.hours import EvidenceHours
from stream_infer.guardrails.judging import feature_drift
from stream_infer.guardrails.stability import EFFECT_MAX, Stability
from stream_infer.registry.history import Standing
from stream_infer.scoring.reference import Reference

log = structlog.get_logger("stream_infer.models")

EVERY_MS = 10_000
"""A day changes little in ten seconds."""


@dataclass(slots=True)
class DriftWatch:
    """Owns what was last found of the champion's features.

    version  which one that was; ``""`` before a day was seen
    found    feature -> how far it is
    """

    version: str = ""
    found: Mapping[str, Stability] = field(default_factory=dict)
    _looked_ms: int = 0
    _told: frozenset[str] = frozenset()

    def forget(self) -> None:
        """Know nothing any more."""
        self.version, self.found, self._looked_ms, self._told = "", {}, 0, frozenset()

    def look(
        self,
        hours: EvidenceHours,
        standing: Standing,
        references: Mapping[str, Reference | None],
        now_ms: int,
    ) -> None:
        """Compare the last day with the manifest, and say what has changed about it."""
        if now_ms - self._looked_ms < EVERY_MS:
            return
        self._looked_ms = now_ms
        version = standing.champion or ""
        self.found = feature_drift(hours.day(version, now_ms), references.get(version))
        self.version = version if self.found else ""
        drifted = frozenset(name for name, each in self.found.items() if each.drifted())
        if drifted - self._told:
            log.warning(
                "features_drifted",
                version=version,
                features={name: round(self.found[name].index, 3) for name in sorted(drifted)},
                allowed=EFFECT_MAX,
            )
        elif self._told and not drifted:
            log.info("features_as_validated", version=version)
        self._told = drifted
