"""What the demo ends with: figures for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream_infer.audit.report import AuditReport, Verdict
from stream_infer.demo.figures import Latencies
from stream_infer.demo.view import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSummary:
    """One pipeline's part.

    events     written, of past and present
    late       scored events that came after the allowed lateness
    latencies  of events of the present
    report     of the audit; None when the run was broken off before it
    """

    events: int
    labels: int
    late: int
    latencies: Latencies
    report: AuditReport

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        return {
            "events": self.events,
            "labels": self.labels,
            "scored": self.report.scored,
            "dead_letters": self.report.dead_letters,
            "late": self.late,
            "lost": self.report.lost,
            "scored_twice": self.report.scored_twice,
            "latency_ms": self.latencies.as_json(),
            "audit": self.report.verdict,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole run.

    seconds         on the wall, from the first topic to the audit
    live_seconds    of them, how long the present lasted
    first_alert_s   from the moment when Kafka served until the first alert could be read
    decisions       decision -> payments
    """

    seconds: float
    live_seconds: float
    first_alert_s: float | None
    interrupted: bool
    pipelines: Mapping[str, PipelineSummary]
    decisions: Mapping[str, int]
    tally: Tally

    @property
    def verdict(self) -> Verdict:
        """The worst that the audits say."""
        said = {each.report.verdict for each in self.pipelines.values()}
        order: Sequence[Verdict] = ("failed", "unproven", "proven")
        return next(word for word in order if word in said)

    @property
    def lost(self) -> int | None:
        """Records without any output; None where an audit cannot tell."""
        counts = [each.report.lost for each in self.pipelines.values()]
        return None if None in counts else sum(count or 0 for count in counts)

    def total(self, name: str) -> int:
        """Return the sum of a count over the audits."""
        return sum(int(getattr(each.report, name)) for each in self.pipelines.values())

    @property
    def latencies(self) -> Latencies:
        """Of all pipelines together."""
        merged = Latencies()
        for each in self.pipelines.values():
            merged = merged.merged(each.latencies)
        return merged

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        tally = self.tally
        return {
            "seconds": round(self.seconds, 1),
            "live_seconds": round(self.live_seconds, 1),
            "interrupted": self.interrupted,
            "events": sum(each.events for each in self.pipelines.values()),
            "labels": sum(each.labels for each in self.pipelines.values()),
            "scored": self.total("scored"),
            "dead_letters": self.total("dead_letters"),
            "late": sum(each.late for each in self.pipelines.values()),
            "lost": self.lost,
            "scored_twice": self.total("scored_twice"),
            "alerts": tally.alerts,
            "alerts_right": tally.alerts_right,
            "alerts_wrong": tally.alerts_wrong,
            "alerts_undecided": tally.alerts_undecided,
            "alerts_by_kind": {
                kind: {"right": right, "wrong": wrong, "undecided": undecided}
                for kind, (right, wrong, undecided) in tally.alert_kinds.items()
            },
            "frauds": tally.frauds,
            "frauds_caught": tally.frauds_caught,
            "frauds_by_kind": {
                kind: {"happened": happened, "caught": caught}
                for kind, (happened, caught) in tally.fraud_kinds.items()
            },
            "incidents": tally.incidents,
            "incidents_caught": tally.incidents_caught,
            "incidents_undecided": tally.incidents_undecided,
            "first_alert_s": None if self.first_alert_s is None else round(self.first_alert_s, 2),
            "latency_ms": self.latencies.as_json(),
            "decisions": dict(self.decisions),
            "audit": self.verdict,
            "pipelines": {name: each.as_json() for name, each in self.pipelines.items()},
        }

    def rows(self) -> list[tuple[str, object]]:
        """Return what people read, as names and values."""
        told, tally = self.as_json(), self.tally
        latency = told["latency_ms"]
        judged = f"{tally.alerts_right:,} right, {tally.alerts_wrong:,} false"
        return [
            ("events written to Kafka", told["events"]),
            ("labels written to Kafka", told["labels"]),
            ("scored", told["scored"]),
            *((f"  {word}", count) for word, count in sorted(self.decisions.items())),
            ("late", told["late"]),
            ("dead letters", told["dead_letters"]),
            ("lost", told["lost"]),
            ("scored twice", told["scored_twice"]),
            (
                "latency, ms",
                " / ".join(f"{name} {'-' if ms is None else ms}" for name, ms in latency.items()),
            ),
            ("first alert after, s", told["first_alert_s"]),
            ("alerts", f"{tally.alerts:,}: {judged}, {tally.alerts_undecided:,} undecided"),
            ("frauds caught", f"{tally.frauds_caught:,} of {tally.frauds:,}"),
            (
                "incidents caught",
                f"{tally.incidents_caught:,} of {tally.incidents:,}"
                + (f", {tally.incidents_undecided} just begun" * bool(tally.incidents_undecided)),
            ),
        ]
