"""What a stage's partition has done, for metrics and the demo."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.dataplane.stage import StepResult


@dataclass(slots=True)
class Counters:
    """What a stage's partition has done since it was assigned."""

    batches: int = 0
    events: int = 0
    forwarded: int = 0
    scored: int = 0
    alerts: int = 0
    dead_letters: int = 0
    late: int = 0
    duplicates: int = 0
    ignored: int = 0
    restored: int = 0
    align_waits: int = 0
    align_breaches: int = 0

    def add(self, result: StepResult) -> None:
        """Count one step."""
        self.events += result.events
        self.forwarded += result.emitted.forwarded
        self.scored += result.emitted.scored
        self.alerts += result.emitted.alerts
        self.dead_letters += result.dead_letters
        self.late += result.late
        self.duplicates += result.duplicates
        self.ignored += result.ignored
