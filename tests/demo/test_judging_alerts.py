"""Alerts are held against the truth by the rules that the page about the demo states."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.alerts.wire import Alert
from stream_infer.demo.judging import (
    judge_fraud,
    judge_incident,
    judge_payment_alert,
    judge_road_alert,
)
from stream_infer.demo.truth import PaymentsTruth, Place, RoadsTruth
from stream_infer.simulators.records import FaultTruth, FraudTruth, IncidentTruth

MINUTE = 60_000
NOW = 1_000 * MINUTE
PLACES = {f"s{km}": Place(f"s{km}", "c0", float(km), 100.0) for km in (0, 2, 4, 6, 8, 10, 12)} | {
    "other": Place("other", "c1", 6.0, 100.0)
}


def alert(kind: str, entity: str, opened: int, **changes: Any) -> Alert:
    known: dict[str, Any] = {
        "alert_id": f"{kind}-{entity}-{opened}",
        "revision": 1,
        "pipeline": "p",
        "kind": kind,
        "change": "opened",
        "status": "open",
        "severity": "high",
        "scope": "entity",
        "entity_type": None,
        "entity": entity,
        "group": "",
        "opened_time": opened * MINUTE,
        "updated_time": opened * MINUTE,
        "cleared_time": None,
        "level": 1.0,
        "score": None,
        "decision": None,
        "rule": None,
        "model": None,
        "version": None,
        "count": 1,
        "members": 0,
        "member_ids": (),
        "member_type": None,
        "reopened": 0,
        "reasons": (),
        "facts": {},
        "event_ids": (),
        "merged_into": None,
    }
    times = {f"{name}_time": at * MINUTE for name, at in changes.pop("at", {}).items()}
    return Alert(**(known | times | changes))


def fraud(minute: int, customer: str = "c1", terminal: str = "m1") -> FraudTruth:
    return FraudTruth(f"t{minute}", customer, terminal, minute * MINUTE, "card")


def payments_truth(*frauds: FraudTruth) -> PaymentsTruth:
    truth = PaymentsTruth()
    truth.note([msgspec.json.encode(each) for each in frauds])
    return truth


def incident(start: int = 100, end: int = 130, km: float = 8.0) -> IncidentTruth:
    return IncidentTruth(
        incident_id="i",
        corridor="c0",
        position_km=km,
        start_time=start * MINUTE,
        end_time=end * MINUTE,
        severity=0.9,
    )


def roads_truth(*known: IncidentTruth | FaultTruth) -> RoadsTruth:
    truth = RoadsTruth(PLACES)
    truth.note([msgspec.json.encode(each) for each in known])
    return truth


# -- frauds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minute", "outcome"),
    [(9, "missed"), (10, "caught"), (15, "caught"), (20, "caught"), (21, "missed")],
)
def test_a_fraud_is_caught_while_an_alert_of_its_card_is_open(minute: int, outcome: str) -> None:
    #          10 ────────── 20
    #   9      │ 10    15    │20    21
    known = {"c1": [alert("card_fraud", "c1", 10, at={"cleared": 20})]}
    assert judge_fraud(fraud(minute), known) == outcome


def test_a_fraud_is_caught_by_an_alert_of_its_terminal_too_and_by_no_other_s() -> None:
    of_terminal = alert("terminal_fraud", "m1", 10)
    assert judge_fraud(fraud(50), {"m1": [of_terminal]}) == "caught"
    assert judge_fraud(fraud(50, terminal="m2"), {"m1": [of_terminal]}) == "missed"


def test_an_alert_of_a_card_is_right_when_one_of_its_payments_was_a_fraud() -> None:
    truth = payments_truth(fraud(15))
    while_open = alert("card_fraud", "c1", 10, at={"updated": 15})
    too_early = alert("card_fraud", "c1", 10, at={"updated": 14})
    too_late = alert("card_fraud", "c1", 16, at={"updated": 20})
    assert judge_payment_alert(while_open, truth) == "right"
    assert judge_payment_alert(too_early, truth) == "wrong"
    assert judge_payment_alert(too_late, truth) == "wrong"


def test_an_alert_of_a_terminal_may_come_a_day_after_the_fraud() -> None:
    truth = payments_truth(fraud(10, terminal="m1"))
    assert judge_payment_alert(alert("terminal_fraud", "m1", 10 + 1_440), truth) == "right"
    assert judge_payment_alert(alert("terminal_fraud", "m1", 11 + 1_440), truth) == "wrong"
    assert judge_payment_alert(alert("card_fraud", "m1", 10), truth) == "wrong"


def test_an_alert_about_many_is_right_when_it_would_be_for_one_of_them() -> None:
    truth = payments_truth(fraud(10, customer="c2"))
    of_many = alert("card_fraud", "", 10, scope="group", member_ids=("c1", "c2"))
    assert judge_payment_alert(of_many, truth) == "right"


# -- roads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sensor", "opened", "outcome"),
    [
        ("s8", 100, "caught"),
        ("s2", 120, "caught"),  # 6 km upstream: the queue reaches so far
        ("s0", 120, "missed"),
        ("s10", 120, "caught"),  # 2 km behind it
        ("s12", 120, "missed"),
        ("other", 120, "missed"),
        ("s8", 99, "missed"),  # before it: about something else
        ("s8", 175, "caught"),  # 45 minutes after its end
        ("s8", 176, "missed"),
    ],
)
def test_an_incident_is_caught_on_its_stretch_and_in_its_time(
    sensor: str, opened: int, outcome: str
) -> None:
    found = judge_incident(incident(), [alert("congestion", sensor, opened)], PLACES, NOW)
    assert found == outcome


def test_a_silent_sensor_catches_no_incident() -> None:
    assert judge_incident(incident(), [alert("sensor_silent", "s8", 110)], PLACES, NOW) == "missed"


def test_an_incident_that_has_just_begun_is_not_missed_yet() -> None:
    assert judge_incident(incident(), [], PLACES, 114 * MINUTE) == "undecided"
    assert judge_incident(incident(), [], PLACES, 115 * MINUTE) == "missed"


def slow_at(truth: RoadsTruth, minute: int, share: float) -> RoadsTruth:
    row = list(PLACES).index("s8")
    truth.note_speeds(
        np.array([row]), np.array([minute * MINUTE]), np.array([share * 100], np.float32)
    )
    return truth


@pytest.mark.parametrize(
    ("minute", "share", "verdict"),
    [(85, 0.7, "right"), (84, 0.7, "wrong"), (115, 0.7, "right"), (100, 0.8, "wrong")],
)
def test_congestion_is_right_where_traffic_truly_was_slow(
    minute: int, share: float, verdict: str
) -> None:
    truth = slow_at(roads_truth(), minute, share)
    assert judge_road_alert(alert("congestion", "s8", 100), truth, NOW) == verdict


def test_a_forecast_is_open_until_its_time_has_come() -> None:
    truth = slow_at(roads_truth(), 170, 0.5)
    told = alert("forecast_congestion", "s8", 100)
    # What the simulation already knows of the future does not count before it is there.
    assert judge_road_alert(told, truth, 169 * MINUTE) == "undecided"
    assert judge_road_alert(told, truth, 170 * MINUTE) == "right"
    assert judge_road_alert(told, roads_truth(), 174 * MINUTE) == "undecided"
    assert judge_road_alert(told, roads_truth(), 175 * MINUTE) == "wrong"


def fault(kind: str, sensor: str = "s8") -> FaultTruth:
    return FaultTruth(
        kind=kind,
        sensor_id=sensor,
        start_time=100 * MINUTE,
        end_time=130 * MINUTE,
        drift_per_hour=0.0,
    )


def test_an_anomaly_is_right_when_a_fault_or_an_incident_explains_it() -> None:
    told = alert("anomaly", "s8", 120)
    assert judge_road_alert(told, roads_truth(fault("stuck")), NOW) == "right"
    assert judge_road_alert(told, roads_truth(incident()), NOW) == "right"
    assert judge_road_alert(told, roads_truth(fault("stuck", "s6")), NOW) == "wrong"
    assert judge_road_alert(alert("anomaly", "s8", 90), roads_truth(incident()), NOW) == "wrong"


def test_a_sensor_is_silent_only_by_a_fault_of_that_kind() -> None:
    told = alert("sensor_silent", "s8", 120)
    assert judge_road_alert(told, roads_truth(fault("silent")), NOW) == "right"
    assert judge_road_alert(told, roads_truth(fault("stuck"), incident()), NOW) == "wrong"
