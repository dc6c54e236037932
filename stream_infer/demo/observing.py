"""From what is watched and what is true to a `View`, a few times a second."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from stream_infer.alerts.wire import Alert
from stream_infer.demo.judging import (
    Outcome,
    Verdict,
    judge_fraud,
    judge_incident,
    judge_payment_alert,
    judge_road_alert,
)
from stream_infer.demo.truth import PaymentsTruth, RoadsTruth
from stream_infer.demo.view import Cell, Corridor, Lane, ShownAlert, Tally, View
from stream_infer.demo.watching import Watched

STALE_MS = 10 * 60_000
"""A sensor that said nothing for ten of its intervals is drawn as silent."""
SHOWN_MAX = 8
"""Of each pipeline."""
NEW_EVERY_S = 1.0
"""Alerts may come quicker than people read: one takes its place on the screen a second."""
TALLY_EVERY_S = 0.5


class Observer:
    """Makes views; owns which alerts are on the screen and the newest tally."""

    no_tally: ClassVar[Tally] = Tally()

    def __init__(
        self,
        payments: Watched,
        roads: Watched,
        payments_truth: PaymentsTruth,
        roads_truth: RoadsTruth,
        empty: View,
    ) -> None:
        self._payments = payments
        self._roads = roads
        self._payments_truth = payments_truth
        self._roads_truth = roads_truth
        self._empty = empty
        self._boards = (_Board("payments", payments), _Board("roads", roads))
        self._next_alert_s = 0.0
        self._next_tally_s = 0.0
        self._tally = Tally()

    def view(self, now_s: float) -> View:
        """Return what is to be seen now."""
        for watched in (self._payments, self._roads):
            watched.rates.look(now_s, watched.scored)
        if now_s >= self._next_alert_s:
            self._next_alert_s = now_s + NEW_EVERY_S
            for board in self._boards:
                board.choose()
        if now_s >= self._next_tally_s:
            self._next_tally_s = now_s + TALLY_EVERY_S
            self._tally = self.tally()
        return replace(
            self._empty,
            lanes=(_lane("payments", self._payments), _lane("roads", self._roads)),
            corridors=self._corridors(),
            alerts=tuple(self._show(board, name) for board in self._boards for name in board.shown),
            tally=self._tally,
        )

    def _show(self, board: _Board, name: str) -> ShownAlert:
        watched = board.watched
        alert = watched.alerts[name]
        return ShownAlert(
            lane=board.lane,
            time_ms=alert.opened_time,
            kind=alert.kind,
            severity=alert.severity,
            text=alert.text,
            verdict=self._judge(watched, alert) if _counts(watched, alert) else None,
            cleared=alert.status == "cleared",
        )

    def _judge(self, watched: Watched, alert: Alert) -> Verdict:
        if watched is self._payments:
            return judge_payment_alert(alert, self._payments_truth)
        return judge_road_alert(alert, self._roads_truth, _clock(watched))

    def _corridors(self) -> tuple[Corridor, ...]:
        clock_ms = _clock(self._roads)
        alerted = {
            sensor
            for alert in self._roads.alerts.values()
            if alert.status == "open"
            for sensor in ((alert.entity,) if alert.scope == "entity" else alert.member_ids)
        }
        troubled = self._troubled(clock_ms)
        rows: dict[str, list[Cell]] = defaultdict(list)
        ends: dict[str, float] = {}
        for name, place in self._roads_truth.places.items():
            newest = self._roads.newest.get(name)
            fresh = newest is not None and newest.event_time > clock_ms - STALE_MS
            speed = newest.speed if newest is not None and fresh else None
            rows[place.corridor].append(
                Cell(
                    level=newest.level_of_service if newest is not None and fresh else None,
                    share=None if speed is None else speed / place.free_flow_kmh,
                    alert=name in alerted,
                    incident=name in troubled,
                )
            )
            ends[place.corridor] = max(ends.get(place.corridor, 0.0), place.position_km)
        return tuple(
            Corridor(name=name, length_km=ends[name], cells=tuple(cells))
            for name, cells in rows.items()
        )

    def _troubled(self, clock_ms: int) -> set[str]:
        """Return the sensors that are nearest to an incident of this moment."""
        nearest = set()
        for incident in self._roads_truth.incidents:
            if incident.start_time <= clock_ms < incident.end_time:
                near = [
                    p for p in self._roads_truth.places.values() if p.corridor == incident.corridor
                ]
                place = min(near, key=lambda p: abs(p.position_km - incident.position_km))
                nearest.add(place.sensor_id)
        return nearest

    def tally(self) -> Tally:
        """Hold all of the present against the truth."""
        payments, roads, clock_ms = self._payments, self._roads, _clock(self._roads)
        by_entity: dict[str, list[Alert]] = defaultdict(list)
        for alert in payments.alerts.values():
            for entity in (alert.entity,) if alert.scope == "entity" else alert.member_ids:
                by_entity[entity].append(alert)
        frauds = [
            (fraud.kind, judge_fraud(fraud, by_entity))
            for fraud in self._payments_truth.frauds
            if _is_live(payments, fraud.event_time)
        ]
        incidents = [
            judge_incident(incident, roads.alerts.values(), self._roads_truth.places, clock_ms)
            for incident in self._roads_truth.incidents
            if _is_live(roads, incident.start_time)
        ]
        judged = [
            (alert.kind, self._judge(watched, alert))
            for watched in (payments, roads)
            for alert in watched.alerts.values()
            if _counts(watched, alert)
        ]
        verdicts = Counter(verdict for _kind, verdict in judged)
        return Tally(
            frauds=len(frauds),
            frauds_caught=sum(outcome == "caught" for _kind, outcome in frauds),
            incidents=len(incidents) - incidents.count("undecided"),
            incidents_caught=incidents.count("caught"),
            incidents_undecided=incidents.count("undecided"),
            alerts=len(judged),
            alerts_right=verdicts["right"],
            alerts_wrong=verdicts["wrong"],
            alerts_undecided=verdicts["undecided"],
            fraud_kinds=_fraud_kinds(frauds),
            alert_kinds=_alert_kinds(judged),
        )


def _fraud_kinds(frauds: Sequence[tuple[str, Outcome]]) -> dict[str, tuple[int, int]]:
    happened = Counter(kind for kind, _outcome in frauds)
    caught = Counter(kind for kind, outcome in frauds if outcome == "caught")
    return {kind: (happened[kind], caught[kind]) for kind in sorted(happened)}


def _alert_kinds(judged: Sequence[tuple[str, Verdict]]) -> dict[str, tuple[int, int, int]]:
    counts = Counter(judged)
    return {
        kind: (counts[kind, "right"], counts[kind, "wrong"], counts[kind, "undecided"])
        for kind in sorted({kind for kind, _verdict in judged})
    }


def _lane(title: str, watched: Watched) -> Lane:
    taken, load = watched.latencies, watched.load
    return Lane(
        title=title,
        rate=watched.rates.now,
        rates=tuple(watched.rates.kept),
        sent=load.fed.sent["events"],
        scored=watched.scored,
        latency_ms=(taken.percentile(50), taken.percentile(99), taken.percentile(99.9)),
        age_ms=watched.median_age_ms(),
        dead_letters=watched.dead_letters,
        late=watched.late,
        clock_ms=watched.clock_ms,
        speed=load.pace.time.speed,
    )


def _clock(watched: Watched) -> int:
    return watched.clock_ms or 0


class _Board:
    """Which alerts of one pipeline are on the screen, the newest first."""

    def __init__(self, lane: str, watched: Watched) -> None:
        self.lane = lane
        self.watched = watched
        self.shown: list[str] = []
        self._seen: set[str] = set()
        self._kinds: list[str] = []

    def choose(self) -> None:
        """Give one of the alerts that came since the last look the first place.

        Of several, one of the kind that was shown longest ago, and the gravest of those.
        """
        alerts = self.watched.alerts
        new = [name for name in alerts if name not in self._seen]
        if not new:
            return
        self._seen.update(new)

        def rank(name: str) -> tuple[int, int, int]:
            kind = alerts[name].kind
            waited = self._kinds.index(kind) if kind in self._kinds else len(self._kinds)
            return waited, *_gravity(alerts[name])

        chosen = max(new, key=rank)
        self._kinds = [alerts[chosen].kind, *(k for k in self._kinds if k != alerts[chosen].kind)]
        self.shown.insert(0, chosen)
        del self.shown[SHOWN_MAX:]


def _counts(watched: Watched, alert: Alert) -> bool:
    """Say whether an alert was open at any moment of the present.

    What opened in the past may catch what happens now, so it is judged, too.
    """
    ended_ms = alert.cleared_time
    return watched.load.opened_ms is not None and (
        ended_ms is None or ended_ms >= watched.load.pace.time.live_ms
    )


def _is_live(watched: Watched, time_ms: int) -> bool:
    return time_ms >= watched.load.pace.time.live_ms


_SEVERITIES = ("low", "medium", "high", "critical")


def _gravity(alert: Alert) -> tuple[int, int]:
    order = _SEVERITIES.index(alert.severity) if alert.severity in _SEVERITIES else 0
    return order, alert.opened_time
