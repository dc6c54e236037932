"""Alerts of the models that ship are right far more often than wrong, on worlds nobody tuned on.

The figures of docs/models.md come of `benchmarks/alert_quality.py`, on larger worlds; the
floors here leave room for what one small world makes of them.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.alerts import defaults
from stream_infer.alerts.wire import Alert
from stream_infer.features.plan import compile_plan
from stream_infer.models import fraud_alerts, road_alerts
from stream_infer.models.alert_run import Raised, added
from stream_infer.models.fraud_alerts import FraudRun, measure_fraud, run_fraud
from stream_infer.models.ready import ready_model_dir
from stream_infer.models.road_alerts import RoadRun, measure_roads, run_roads
from stream_infer.models.traffic import MONDAY_MS
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.model import load_model
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import DAY_MS, World
from stream_infer.simulators.road_plan import SILENT, STUCK, Fault, Incident
from stream_infer.simulators.traffic import Roads, sensor_table
from stream_infer.simulators.transactions import HONEST, TERMINAL, TESTING, Transactions

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
WORLD = World(
    seed=501, customers=1_000, terminals=2_000, days=52, accounts_lost=0.0004, cards_tested=0.0004
)
ROADS = Roads(seed=501, network_seed=501, start_ms=MONDAY_MS, minutes=1_440)
EMPTY = Alert(
    alert_id="a",
    revision=1,
    pipeline="p",
    kind="card_fraud",
    change="opened",
    status="open",
    severity="high",
    scope="entity",
    entity_type="customer_id",
    entity="c0",
    group="",
    opened_time=0,
    updated_time=0,
    cleared_time=None,
    level=2.5,
    score=None,
    decision=None,
    rule=None,
    model=None,
    version=None,
    count=1,
    members=0,
    member_ids=(),
    member_type=None,
    reopened=0,
    reasons=(),
    facts={},
    event_ids=(),
    merged_into=None,
)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    plan = compile_plan(pipeline)
    return Scorer(ready_model_dir("fraud"), plan.feature_names, plan.fingerprint)


@pytest.fixture(scope="module")
def frauds(scorer: Scorer) -> FraudRun:
    return run_fraud(pipeline, scorer, WORLD)


def raised(kind: str, entity: str, opened: int, updated: int, ended: int) -> Raised:
    alert = msgspec.structs.replace(EMPTY, kind=kind, entity=entity, updated_time=updated)
    return Raised(alert, opened, ended)


def test_most_fraud_alerts_are_right_and_most_frauds_lie_under_one(frauds: FraudRun) -> None:
    found = measure_fraud(frauds, 38, 52)
    counts = added(list(found["alerts"].values()))
    assert counts["right"] >= 0.75 * counts["opened"] > 30
    assert found["frauds_under_alert"] >= 0.5 * found["frauds"] > 100
    attacks = added([found["kinds"][kind] for kind in ("account", "testing", "amount")])
    assert attacks["cases_caught"] >= 0.9 * attacks["cases"] > 20


def test_without_history_alerts_are_right_as_well(frauds: FraudRun) -> None:
    found = measure_fraud(frauds, 0, 10)
    counts = added(list(found["alerts"].values()))
    assert counts["right"] >= 0.65 * counts["opened"] > 0
    assert counts["opened"] > 10
    tested = found["kinds"]["testing"]
    assert tested["cases_caught"] == tested["cases"] > 2


def test_the_same_world_raises_the_same_alerts(scorer: Scorer) -> None:
    world = replace(WORLD, customers=300, terminals=300, days=6)
    first, again = (run_fraud(pipeline, scorer, world).alerts for _ in range(2))
    assert first == again
    assert len(first) > 2


def payments(rows: list[tuple[int, int, int, int]]) -> Transactions:
    """Return payments of (ms, customer, terminal, kind of fraud)."""
    time, customer, terminal, kind = (
        np.array(column, np.int64) for column in zip(*rows, strict=True)
    )
    return Transactions(
        number=np.arange(len(rows)),
        event_time=WORLD.start_ms + time,
        customer=customer,
        terminal=terminal,
        amount_cents=np.full(len(rows), 100),
        fraud=kind.astype(np.int8),
        label_time=WORLD.start_ms + time,
    )


def test_verdicts_on_payments_are_those_of_a_case_worked_out_by_hand() -> None:
    start = WORLD.start_ms
    rows = payments(
        [
            (0, 0, 0, TESTING),  # before its alert opens
            (10, 0, 1, TESTING),  # opens it
            (20, 0, 1, HONEST),
            (30, 1, 2, HONEST),  # an alert about nothing
            (40, 2, 3, TERMINAL),
            (50, 3, 3, TERMINAL),  # the second customer: opens the terminal's alert
            (60, 4, 3, TERMINAL),  # approved, and under that alert
            (DAY_MS - 1, 5, 9, TERMINAL),  # nobody sees it
        ]
    )
    codes: NDArray[np.int8] = np.array([0, 2, 1, 2, 2, 2, 0, 0], np.int8)
    alerts = [
        raised("card_fraud", "c0", start + 10, start + 20, start + 100),
        raised("card_fraud", "c1", start + 30, start + 30, start + 100),
        raised("terminal_fraud", "m3", start + 50, start + 50, start + 100),
        raised("terminal_fraud", "m2", start + 30, start + 30, start + 100),
    ]
    found = measure_fraud(FraudRun(WORLD, rows, codes, alerts), 0, 1)
    assert (found["payments"], found["frauds"], found["frauds_under_alert"]) == (8, 6, 3)
    assert (found["stopped"], found["frauds_stopped"]) == (5, 3)
    assert found["alerts"]["card_fraud"] == {"opened": 2, "right": 1, "wrong": 1}
    assert found["alerts"]["terminal_fraud"] == {"opened": 2, "right": 1, "wrong": 1}
    kinds = found["kinds"]
    assert (kinds["testing"]["cases"], kinds["testing"]["delays_ms"]) == (1, [10])
    assert (kinds["terminal"]["cases"], kinds["terminal"]["cases_caught"]) == (2, 1)
    assert measure_fraud(FraudRun(WORLD, rows, codes, alerts), 1, 2)["alerts"]["card_fraud"] == {
        "opened": 0,
        "right": 0,
        "wrong": 0,
    }


def test_alerts_about_roads_are_right_and_incidents_are_caught() -> None:
    run = run_roads(load_model(ready_model_dir("traffic")), ROADS)
    found = measure_roads(run, MONDAY_MS, MONDAY_MS + 24 * HOUR_MS)
    for kind, least in (("congestion", 0.9), ("forecast_congestion", 0.8)):
        counts = found["alerts"][kind]
        assert counts["right"] >= least * counts["opened"] > 10, kind
    assert found["alerts"]["forecast_congestion"]["ahead"] > 5
    assert found["incidents"]["caught"] >= 0.7 * found["incidents"]["seen"] > 0


def test_a_sensor_that_says_nothing_is_told_and_the_truth_agrees() -> None:
    begin = MONDAY_MS + 90 * MINUTE_MS
    fault = Fault(sensor=2, kind=SILENT, start_ms=begin, end_ms=begin + HOUR_MS)
    roads = replace(ROADS, corridors=1, minutes=200, faults=(fault,), silent_per_sensor_day=0.0)
    found = measure_roads(run_roads(None, roads), MONDAY_MS, MONDAY_MS + 4 * HOUR_MS)
    assert found["alerts"]["sensor_silent"] == {"opened": 1, "right": 1, "wrong": 0}


def test_verdicts_on_roads_are_those_of_a_case_worked_out_by_hand() -> None:
    roads = Roads(corridors=1, sensors_per_corridor=6, minutes=200, start_ms=MONDAY_MS)
    table = sensor_table(roads)
    names = [row["sensor_id"] for row in table]
    shares = np.ones((6, 201))
    shares[3, 60:90] = 0.3  # the jam that the incident at station 4 makes upstream of it
    at = [MONDAY_MS + minute * MINUTE_MS for minute in range(201)]
    incidents = [
        Incident(
            corridor=0,
            position_km=float(table[4]["position_km"]),
            start_ms=at[55],
            end_ms=at[85],
            severity=0.9,
        ),
        Incident(corridor=0, position_km=0.0, start_ms=at[120], end_ms=at[140], severity=0.6),
    ]
    alerts = [
        raised("congestion", names[3], at[62], at[80], at[95]),
        raised("congestion", names[3], at[150], at[150], at[170]),
        raised("forecast_congestion", names[3], at[30], at[40], at[60]),
        raised("forecast_congestion", names[0], at[30], at[40], at[60]),
        raised("anomaly", names[1], at[20], at[20], at[50]),
        raised("sensor_silent", names[1], at[20], at[20], at[50]),
    ]
    faults = [Fault(sensor=1, kind=STUCK, start_ms=at[10], end_ms=at[30])]
    found = measure_roads(RoadRun(roads, shares, incidents, faults, names, alerts), at[0], at[200])
    assert found["alerts"] == {
        "congestion": {"opened": 2, "right": 1, "wrong": 1},
        "forecast_congestion": {"opened": 2, "right": 1, "wrong": 1, "ahead": 1},
        "anomaly": {"opened": 1, "right": 1, "wrong": 0},
        "sensor_silent": {"opened": 1, "right": 0, "wrong": 1},
    }
    assert found["incidents"] == {"all": 2, "seen": 1, "caught": 1, "delays_ms": [7 * MINUTE_MS]}


def test_the_benchmark_prints_what_it_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    alert_quality: Any = importlib.import_module("alert_quality")
    kinds = {
        name: {
            "payments": 4,
            "under_alert": 3,
            "cases": 2,
            "cases_caught": 1,
            "delays_ms": [60_000],
        }
        for name in ("amount", "testing")
    }
    card = {"opened": 10, "right": 9, "wrong": 1}
    counts = {"frauds": 8, "frauds_under_alert": 6, "alerts": {"card_fraud": card}, "kinds": kinds}
    monkeypatch.setattr(alert_quality, "fraud_figures", lambda seeds: {"days": counts})
    monkeypatch.setattr(sys, "argv", ["alert_quality.py", "--only", "fraud"])
    alert_quality.main()
    printed = capsys.readouterr().out
    assert "| days | 8 | 75% | 9/1 (90%) | 9/1 (90%) |" in printed
    assert "| days | 1/2 (75%; 1) | 1/2 (75%; 1) |" in printed
    monkeypatch.setattr(sys, "argv", ["alert_quality.py", "--only", "fraud", "--json"])
    alert_quality.main()
    assert json.loads(capsys.readouterr().out)["fraud"] == {"days": counts}


def test_the_kinds_that_are_judged_are_those_that_the_pipelines_declare() -> None:
    judged = {fraud_alerts.CARD_ALERT, fraud_alerts.TERMINAL_ALERT}
    assert judged == {kind.name for kind in defaults.fraud_alerts.kinds}
    assert set(road_alerts.KINDS) == {kind.name for kind in defaults.traffic_alerts.kinds}
