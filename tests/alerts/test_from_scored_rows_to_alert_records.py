"""The whole way without Kafka: scored rows, candidates, alerts, records; and what the docs show."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from stream_infer.alerts.decisions import Decider
from stream_infer.alerts.declared import check_names, compile_alerts
from stream_infer.alerts.defaults import fraud_alerts
from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.lists import ListRecord
from stream_infer.alerts.maker import CandidateMaker, ScoredRows
from stream_infer.alerts.reasons import by_one
from stream_infer.alerts.stage import AlertEmitter, AlertReader
from stream_infer.alerts.wire import Alert, decode_alert
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.scoring.session import Scorer
from support.alerts import START
from support.columns import Row, columns_of

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
PLAN = compile_plan(fraud)
ALERTS = compile_alerts(fraud_alerts, fraud.name)

# A card's usual day, and then a terminal whose payments of the known weeks were mostly fraud.
USUAL = [60.0, 0, 0, 2, 12, 50, 58.0, 61.0, 60.0, 3, 20, 80, 0.0, 0.0, 0.0, 1, 60.0]
ODD = [912.0, 0, 1, 9, 21, 60, 480.0, 240.0, 110.0, 3, 20, 80, 0.9, 0.8, 0.5, 6, 3100.0]


def alerts_of(rows: list[list[float]], customers: list[str]) -> list[Alert]:
    """Return the alerts that rows of one terminal raise with the model that ships."""
    model = Path(str(files("stream_infer.models.ready"))) / "fraud" / "1"
    scorer = Scorer(model, PLAN.feature_names, PLAN.fingerprint)
    matrix = np.array(rows, np.float64)
    columns = columns_of(
        [
            Row(
                START + 1000 * at,
                keys={"customer_id": customer, "terminal_id": "4711"},
                values={"amount": round(row[0] * 100)},
            )
            for at, (row, customer) in enumerate(zip(rows, customers, strict=True))
        ],
        fraud.events.entities,
        ("amount",),
    )
    scores = scorer.score(matrix)
    decided = Decider(fraud_alerts, fraud.events, PLAN.feature_names).decide(
        columns, matrix, scorer.decisions(scores)
    )
    records = CandidateMaker(ALERTS, fraud.events, PLAN.feature_names).make(
        ScoredRows(
            columns,
            "fraud.by-terminal",
            np.zeros(len(rows), np.int64),
            np.arange(len(rows)),
            matrix,
            decided,
            scores,
            by_one(scorer.score),
            scorer.name,
            scorer.version,
        )
    )
    read = AlertReader(ALERTS).read(records.values)
    assert read.bad == []
    changes = AlertFold(ALERTS).fold(read.candidates)
    written = AlertEmitter(ALERTS, fraud.events.sensitive).records(changes)
    return [decode_alert(record.value) for record in written if record.topic == "alerts-fraud"]


def test_a_usual_payment_raises_nothing() -> None:
    assert alerts_of([USUAL], ["c-1"]) == []


def test_an_odd_payment_is_an_alert_with_reasons_that_a_person_understands() -> None:
    [alert] = alerts_of([USUAL, ODD], ["c-1", "c-2"])
    assert (alert.kind, alert.entity, alert.decision) == ("card_fraud", "c-2", "decline")
    assert alert.text.startswith("Payment of 912.00 at terminal 4711: ")
    assert alert.reasons
    assert all((reason.contribution or 0) > 0.01 for reason in alert.reasons)


def test_a_terminal_where_two_customers_are_hit_has_an_alert_of_its_own() -> None:
    found = alerts_of([ODD] * 3, ["c-1", "c-1", "c-2"])
    [terminal] = [alert for alert in found if alert.kind == "terminal_fraud"]
    assert (terminal.entity, terminal.members, terminal.count) == ("4711", 2, 3 - 1)
    assert terminal.text.startswith("2 customers hit at terminal 4711: ")
    assert {alert.entity for alert in found if alert.kind == "card_fraud"} == {"c-1", "c-2"}


def test_the_declaration_in_the_docs_is_right() -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own text
    compile_alerts(names["alerts"], fraud.name)
    check_names(names["alerts"], fraud.events, PLAN.feature_names)


def test_the_records_in_the_docs_have_the_fields_that_there_are() -> None:
    alert, listed = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    assert set(alert) <= set(Alert.__struct_fields__)
    assert set(listed) <= set(ListRecord.__struct_fields__)
