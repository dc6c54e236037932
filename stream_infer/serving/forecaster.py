"""Holds the version that forecasts, and lets it be exchanged between batches."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.registry.entry import CHAMPION
from stream_infer.scoring.conditions import ConditionScorer


class Forecaster:
    """The version that judges readings: one value that is exchanged as a whole.

    A batch takes `champion` once, so that it is judged by one version and names that one. Of the
    aliases only the champion serves: nothing compares two forecasts yet.
    """

    def __init__(self, champion: ConditionScorer) -> None:
        self._serving: tuple[ConditionScorer, int] = champion, 0

    @property
    def champion(self) -> ConditionScorer:
        """The version that judges."""
        return self._serving[0]

    @property
    def number(self) -> int:
        """The entry of the model's history that says so."""
        return self._serving[1]

    def versions(self) -> dict[str, str]:
        """Return alias -> version that is loaded."""
        return {CHAMPION: self.champion.version or ""}

    def exchange(self, roles: Mapping[str, ConditionScorer], share: float, number: int) -> None:
        """Let the champion of these versions serve, from the next batch on."""
        self._serving = roles[CHAMPION], number
