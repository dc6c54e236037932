"""The text of an alert: understood by a person, masked, and never in the way."""

from __future__ import annotations

import msgspec
import numpy as np
import orjson
import pytest

from stream_infer.alerts.candidate import CandidateDecoder, FeatureReason, tick
from stream_infer.alerts.decisions import Decided
from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.defaults import fraud_alerts, traffic_alerts
from stream_infer.alerts.maker import CandidateMaker, ScoredRows
from stream_infer.alerts.spec import Alerts, Storm
from stream_infer.alerts.texts import AlertTexts
from stream_infer.alerts.wire import Alert
from stream_infer.errors import ConfigError
from stream_infer.events.decode import EventDecoder
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.scoring.conditions import ROAD_LEVELS
from support.alerts import HOUR, MINUTE, START, Log, folded, kind, plan_of

FRAUD = compile_alerts(fraud_alerts, "fraud")
REASONS = (
    FeatureReason("TX_AMOUNT", 912.0, 81.4, 0.6),
    FeatureReason("CUSTOMER_ID_NB_TX_1DAY_WINDOW", 9.0, 2.0, 0.2),
    FeatureReason("TERMINAL_ID_RISK_7DAY_WINDOW", 0.31, 0.0, 0.1),
)


def card(**words: object) -> Alert:
    given: dict[str, object] = {
        "kind": "card_fraud",
        "reasons": REASONS,
        "facts": {"amount": 912.0, "terminal_id": "4711"},
        **words,
    }
    [change] = folded(FRAUD, [Log().at(0, 2.9, "4111111111111111", **given)])
    return change.alert


def test_a_card_s_alert_says_what_and_why() -> None:
    assert AlertTexts(FRAUD).text(card()) == (
        "Payment of 912.00 at terminal 4711: the amount is 11.2 times this card's usual 81.40; "
        "9 payments of this card within a day, usually 2.0; "
        "a share of 31% of this terminal's payments in a known week was fraud."
    )


def test_the_rule_that_decided_is_named() -> None:
    text = AlertTexts(FRAUD).text(card(rule="amount-limit", reasons=()))
    assert text == "Payment of 912.00 at terminal 4711. Decided by the rule amount-limit."


def test_sensitive_fields_are_masked_wherever_they_stand() -> None:
    alert = msgspec.structs.replace(
        card(), facts={"amount": 912.0, "terminal_id": "T-1234567890123"}
    )
    text = AlertTexts(FRAUD, ["terminal_id", "TX_AMOUNT", "customer_id"]).text(alert)
    assert "T-12345" not in text
    assert "***0123" in text
    assert "81.4" not in text
    assert "TX_AMOUNT is ***" in text
    # Masking a number would show its format specification failing: the plain sentence instead.
    assert AlertTexts(FRAUD, ["amount", "customer_id"]).text(card(reasons=())) == (
        "Card fraud, customer ***1111."
    )


def test_a_terminal_s_alert_says_how_many_customers() -> None:
    log = Log()
    hits = [
        log.at(0, 2.5, "4711", kind="terminal_fraud", other=f"c-{number}") for number in range(2)
    ]
    [change] = folded(FRAUD, hits)
    assert AlertTexts(FRAUD).text(change.alert) == (
        "2 customers hit at terminal 4711. 2 events so far."
    )


def test_a_storm_s_text_says_how_many_and_where() -> None:
    plan = plan_of(kind("sensor_silent", group="corridor", storm=Storm(single_max=1, absorb=True)))
    log = Log()
    candidates = [
        log.at(0, 0.6, f"s-{number}", kind="sensor_silent", group="A 10") for number in range(2048)
    ]
    changes = folded(plan, [*candidates, tick(START + HOUR)])
    texts = [AlertTexts(plan).text(change.alert) for change in changes]
    assert texts[0] == "Sensor silent, sensor s-0."
    assert texts[2] == "Sensor silent, sensor s-0. It is part of a larger alert now."
    assert texts[-2] == "Sensor silent for 2,048 sensors in A 10."
    assert texts[-1] == "Sensor silent for 2,048 sensors in A 10. Over."


def test_a_storm_over_everybody_names_no_place() -> None:
    plan = plan_of(kind("card_fraud", entity="customer_id", storm=Storm(single_max=1)))
    log = Log()
    changes = folded(plan, [log.at(0, 0.6, f"c-{n}", kind="card_fraud") for n in range(2)])
    assert AlertTexts(plan).text(changes[-1].alert) == "Card fraud for 1 customer."


@pytest.mark.parametrize("facts", [{}, {"amount": "many"}, {"terminal_id": "4711"}])
def test_a_fact_that_is_missing_or_of_another_form_gives_a_plain_sentence(
    facts: dict[str, object],
) -> None:
    text = AlertTexts(FRAUD).text(card(facts=facts, reasons=()))
    assert text == "Card fraud, customer 4111111111111111."


@pytest.mark.parametrize(
    ("value", "usual", "said"),
    [
        (3.0, 0.0, "heat is 3, usually 0"),
        (1234567.891234, None, "heat is 1,234,567.891"),
        (None, 2.0, "heat is unknown, usually 2"),
    ],
)
def test_a_reason_without_a_phrase_is_a_plain_sentence(
    value: float | None, usual: float | None, said: str
) -> None:
    alert = card(reasons=(FeatureReason("heat", value, usual, 0.5),))
    assert AlertTexts(FRAUD).text(alert).endswith(f": {said}.")


def test_a_road_s_alert_says_how_slow_it_is_and_how_it_usually_is() -> None:
    plan = compile_alerts(traffic_alerts, "traffic")
    log = Log()
    slow = [
        log.at(
            5 * at,
            4.0,
            "A10-17",
            kind="congestion",
            group="A10",
            facts={"speed": 31.4},
            reasons=(FeatureReason("now", 0.31, 0.94, None),),
        )
        for at in range(2)
    ]
    [change] = folded(plan, slow)
    assert AlertTexts(plan).text(change.alert) == (
        "Slow traffic at sensor A10-17, 31 km/h: "
        "31% of the free-flow speed, usually 94% at this hour. 2 events so far."
    )


def test_an_expected_jam_is_told_by_the_forecast_and_when_and_not_by_the_present() -> None:
    traffic = load_pipeline("traffic")
    plan, names = compile_alerts(traffic_alerts, "traffic"), compile_plan(traffic).feature_names
    maker = CandidateMaker(plan, traffic.events, names, levels=(*ROAD_LEVELS, "silent"))
    readings = (
        EventDecoder(traffic.events)
        .decode(
            [
                orjson.dumps({"sensor_id": "c3s07", "event_time": START + at * MINUTE, "speed": 98})
                for at in range(2)
            ]
        )
        .columns
    )
    readings.source_partition, readings.source_offset = np.zeros(2, np.int64), np.arange(2)
    matrix = np.full((2, len(names)), np.nan)
    matrix[:, names.index("now")], matrix[:, names.index("usual")] = 0.98, 0.97
    told = {
        "congestion": 0.02,
        "forecast_congestion": 0.58,
        "forecast_share": 0.42,
        "forecast_speed": 42.4,
        "forecast_minutes": 30.0,
    }
    made = maker.make(
        ScoredRows(
            readings,
            "sensor-readings",
            np.zeros(2, np.int64),
            np.arange(2),
            matrix,
            Decided(None, {}, {}, frozenset()),
            levels={name: np.full(2, value) for name, value in told.items()},
        )
    )
    [change] = folded(plan, CandidateDecoder(plan.kinds).decode(made.values)[1])
    assert AlertTexts(plan).text(change.alert) == (
        "Slow traffic is expected at sensor c3s07, 42 km/h in 30 minutes: "
        "42% of the free-flow speed, while 97% is usual at this hour. 2 events so far."
    )


def test_a_phrase_that_cannot_be_filled_gives_a_plain_sentence() -> None:
    alert = card(reasons=(FeatureReason("TX_AMOUNT", 5.0, 0.0, 0.5),))
    assert AlertTexts(FRAUD).text(alert).endswith(": TX_AMOUNT is 5, usually 0.")


def test_what_is_between_braces_reaches_nothing_but_the_names() -> None:
    with pytest.raises(ConfigError, match=r"__class__"):
        compile_alerts(Alerts(topic="a", kinds=(kind(text="{entity.__class__}"),)), "plant")


def test_an_alert_of_a_kind_that_is_not_declared_any_more_has_a_text() -> None:
    alert = msgspec.structs.replace(card(), kind="old_kind", reasons=())
    assert AlertTexts(compile_alerts(traffic_alerts, "traffic")).text(alert) == (
        "Old kind, customer 4111111111111111."
    )
