"""Which alerts were right, and which frauds and incidents were caught. Pure.

The simulators know the truth; these are the rules by which alerts are held against it. Only
what happens while one watches counts: in the past of the worlds habits are still being learnt.

    a fraud is caught      when an alert of its card or its terminal is open at the payment's time,
                           or is opened by it
    an incident is caught  when an alert about slow or unusual traffic is open on its stretch
                           (where its queue can reach, and a little behind it) between its
                           beginning and 45 minutes after its end, and opened after the beginning
    it is undecided        while fewer than 15 minutes have passed since it began: the queue must
                           first reach a sensor

    an alert is right
      card_fraud           a payment of that card was a fraud between its opening and its last
                           payment
      terminal_fraud       so for the terminal, from a day before the opening
      congestion           traffic there truly fell below three quarters of the free-flow speed
                           within a quarter of an hour around it
      forecast_congestion  the same came true within 75 minutes; undecided until then
      anomaly              an incident on the stretch or a fault of the sensor was under way, or
                           was over for less than 45 minutes
      sensor_silent        the sensor was truly silent
    an alert about many sensors is right when it would be for one of them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from stream_infer.alerts.wire import Alert
from stream_infer.demo.truth import PaymentsTruth, Place, RoadsTruth
from stream_infer.simulators.records import FraudTruth, IncidentTruth

Verdict = Literal["right", "wrong", "undecided"]
Outcome = Literal["caught", "missed", "undecided"]

MINUTE_MS = 60_000
INCIDENT_AFTER_MS = 45 * MINUTE_MS
INCIDENT_BEFORE_MS = 15 * MINUTE_MS
UPSTREAM_KM, DOWNSTREAM_KM = 6.0, 2.0
SLOW_SHARE = 0.75
AROUND_MS = 15 * MINUTE_MS
FORECAST_MS = 75 * MINUTE_MS
TERMINAL_BEFORE_MS = 1_440 * MINUTE_MS
ROAD_KINDS = frozenset({"congestion", "forecast_congestion", "anomaly"})


def judge_fraud(fraud: FraudTruth, alerts: Mapping[str, list[Alert]]) -> Outcome:
    """Say whether a fraud was caught; `alerts` are those of each entity."""
    near = [*alerts.get(fraud.customer_id, ()), *alerts.get(fraud.terminal_id, ())]
    return "caught" if any(_open_at(alert, fraud.event_time) for alert in near) else "missed"


def judge_incident(
    incident: IncidentTruth,
    alerts: Iterable[Alert],
    places: Mapping[str, Place],
    clock_ms: int,
) -> Outcome:
    """Say whether an incident was caught by `clock_ms`."""
    until_ms = incident.end_time + INCIDENT_AFTER_MS
    for alert in alerts:
        if alert.kind in ROAD_KINDS and incident.start_time <= alert.opened_time <= until_ms:
            sensors = (places[name] for name in _about(alert) if name in places)
            if any(_on_stretch(incident, place) for place in sensors):
                return "caught"
    return "undecided" if clock_ms < incident.start_time + INCIDENT_BEFORE_MS else "missed"


def judge_payment_alert(alert: Alert, truth: PaymentsTruth) -> Verdict:
    """Say whether an alert about payments was right."""
    before_ms = TERMINAL_BEFORE_MS if alert.kind == "terminal_fraud" else 0
    frauds = truth.by_terminal if alert.kind == "terminal_fraud" else truth.by_customer
    found = [
        fraud
        for entity in _about(alert)
        for fraud in frauds.get(entity, ())
        if alert.opened_time - before_ms <= fraud.event_time <= alert.updated_time
    ]
    return "right" if found else "wrong"


def judge_road_alert(alert: Alert, truth: RoadsTruth, clock_ms: int) -> Verdict:
    """Say whether an alert about a road was right, as far as is known at `clock_ms`."""
    verdicts = {_judge_sensor(alert, name, truth, clock_ms) for name in _about(alert)}
    order: tuple[Verdict, ...] = ("right", "undecided", "wrong")
    return next((verdict for verdict in order if verdict in verdicts), "wrong")


def _judge_sensor(alert: Alert, sensor: str, truth: RoadsTruth, clock_ms: int) -> Verdict:
    opened, updated = alert.opened_time, alert.updated_time
    if alert.kind == "congestion":
        until_ms = min(updated + AROUND_MS, clock_ms)
        slowest = truth.slowest_share(sensor, opened - AROUND_MS, until_ms)
        return "right" if slowest < SLOW_SHARE else "wrong"
    if alert.kind == "forecast_congestion":
        if truth.slowest_share(sensor, opened, min(updated + FORECAST_MS, clock_ms)) < SLOW_SHARE:
            return "right"
        return "undecided" if clock_ms < opened + FORECAST_MS else "wrong"
    kinds = {"silent"} if alert.kind == "sensor_silent" else None
    faulty = any(
        fault.sensor_id == sensor
        and (kinds is None or fault.kind in kinds)
        and fault.start_time <= updated
        and opened <= fault.end_time + INCIDENT_AFTER_MS
        for fault in truth.faults
    )
    disturbed = kinds is None and any(
        incident.start_time <= updated
        and opened <= incident.end_time + INCIDENT_AFTER_MS
        and sensor in truth.places
        and _on_stretch(incident, truth.places[sensor])
        for incident in truth.incidents
    )
    return "right" if faulty or disturbed else "wrong"


def _on_stretch(incident: IncidentTruth, place: Place) -> bool:
    ahead_km = incident.position_km - place.position_km
    return place.corridor == incident.corridor and -DOWNSTREAM_KM <= ahead_km <= UPSTREAM_KM


def _open_at(alert: Alert, time_ms: int) -> bool:
    cleared = alert.cleared_time
    return alert.opened_time <= time_ms and (cleared is None or time_ms <= cleared)


def _about(alert: Alert) -> Iterable[str]:
    return (alert.entity,) if alert.scope == "entity" else alert.member_ids
