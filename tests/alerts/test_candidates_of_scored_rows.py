"""Which rows become candidates, with which level, rule, reasons and facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.alerts.candidate import Candidate, CandidateDecoder, FeatureReason
from stream_infer.alerts.decisions import Decided, Decider
from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.lists import ListChange, Lists
from stream_infer.alerts.maker import CandidateMaker, CandidateRecords, ScoredRows
from stream_infer.alerts.reasons import by_one
from stream_infer.alerts.spec import Alerts, EntityList, Limit, UsualConstant
from stream_infer.errors import ConfigError
from stream_infer.events.columns import EventColumns
from stream_infer.events.measures import NO_VALUE
from stream_infer.pipelines.fraud import pipeline as fraud
from support.alerts import START, kind
from support.columns import Row, columns_of

FEATURES = ("amount_now", "usual_amount")
CARD = kind(
    "card_fraud",
    entity="customer_id",
    level="decision",
    open_at=2.0,
    keep_at=1.0,
    severities=((1.0, "medium"), (2.0, "high")),
    facts=("amount", "terminal_id", "usual_amount"),
)
TERMINAL = kind("terminal_fraud", entity="terminal_id", other="customer_id")
ALERTS = Alerts(
    topic="alerts-fraud",
    kinds=(CARD, TERMINAL),
    usual={"amount_now": UsualConstant(value=0.0)},
    limits=(
        Limit(name="amount-limit", of="amount", above=2000.0, score=0.7),
        Limit(name="high-amount", of="amount", above=1000.0, decision="review"),
        Limit(name="odd-habit", of="usual_amount", below=0.0, decision="review"),
        Limit(name="negative", of="amount", below=0.0, decision="review"),
    ),
    lists=(
        EntityList(name="blocked", entity="customer_id", kind="block", score=0.9),
        EntityList(name="allowed", entity="customer_id", kind="allow"),
    ),
)


def columns(amounts: list[float], **changed: Any) -> EventColumns:
    rows = [
        Row(
            START + at,
            id=f"t-{at}",
            keys={"customer_id": f"c-{at}", "terminal_id": "4711"},
            values={"amount": round(amount * 100)},
        )
        for at, amount in enumerate(amounts)
    ]
    made = columns_of(rows, ("customer_id", "terminal_id"), ("amount",), first_offset=100)
    return replace(made, source_topic="transactions", **changed)


def lists(**listed: str) -> Lists:
    changes = [
        ListChange(
            upstream_topic="fraud-lists",
            upstream_partition=0,
            upstream_offset=offset,
            list=name,
            entity=entity,
            listed=True,
        )
        for offset, (name, entity) in enumerate(listed.items())
    ]
    found = Lists()
    found.fold(changes)
    return found


def decided(
    rows: EventColumns, decisions: list[str | None] | None, known: Lists | None = None
) -> Decided:
    matrix = np.zeros((len(rows), 2))
    return Decider(ALERTS, fraud.events, FEATURES).decide(rows, matrix, decisions, known)


def made(
    rows: EventColumns, scores: list[float] | None, by: Decided, alerts: Alerts = ALERTS
) -> tuple[CandidateRecords, list[Candidate]]:
    plan = compile_alerts(alerts, "fraud")
    runs: list[int] = []

    def score(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        runs.append(len(matrix))
        return np.asarray(matrix[:, 0] / 1000, np.float32)

    records = CandidateMaker(plan, fraud.events, FEATURES).make(
        ScoredRows(
            rows,
            "fraud.by-terminal",
            np.full(len(rows), 3),
            np.arange(len(rows)) + 500,
            np.array([[scaled / 100, 80.0] for scaled in rows.values["amount"].tolist()]),
            by,
            None if scores is None else np.array(scores, np.float32),
            by_one(score),
            "fraud",
            "7",
        )
    )
    assert len(runs) <= 1
    return records, CandidateDecoder(plan.kinds).decode(records.values)[1]


def test_rows_that_keep_no_alert_open_become_no_candidates_and_run_no_model() -> None:
    rows = columns([10.0, 20.0])
    records, _ = made(rows, [0.1, 0.2], decided(rows, ["approve", "approve"]))
    assert records == CandidateRecords([], [], [])


def test_a_row_is_a_candidate_of_each_kind_that_it_reaches() -> None:
    rows = columns([10.0, 912.0])
    records, found = made(rows, [0.1, 0.912], decided(rows, ["approve", "decline"]))
    assert records.rows == [1, 1]
    assert records.keys == ["customer:c-1", "terminal:4711"]
    card, terminal = found
    assert (card.kind, card.sub, card.entity, card.level) == ("card_fraud", 0, "c-1", 2.912)
    assert (terminal.kind, terminal.sub, terminal.entity) == ("terminal_fraud", 1, "4711")
    assert (terminal.level, terminal.other) == (0.912, "c-1")
    assert card.event_id == "transactions-0-101"
    assert (card.upstream_topic, card.upstream_partition, card.upstream_offset) == (
        "fraud.by-terminal", 3, 501,
    )  # fmt: skip
    assert (card.score, card.decision, card.model, card.version) == (
        0.912, "decline", "fraud", "7",
    )  # fmt: skip
    assert card.facts == {"amount": 912.0, "terminal_id": "4711", "usual_amount": 80.0}
    [reason] = card.reasons
    assert (reason.feature, reason.value, reason.usual) == ("amount_now", 912.0, 0.0)
    assert reason.contribution == pytest.approx(0.912)


def test_a_score_at_the_threshold_as_it_is_printed_is_a_candidate() -> None:
    exact = replace(ALERTS, kinds=(kind("card_fraud", entity="customer_id", open_at=0.9),))
    exact = replace(exact, kinds=(replace(exact.kinds[0], keep_at=0.9),))
    rows = columns([1.0, 1.0, 1.0])
    _, found = made(rows, [0.9, 0.8999999, 0.9000001], decided(rows, None), exact)
    assert [candidate.level for candidate in found] == [0.9, 0.9000001]


def test_a_score_of_one_does_not_become_the_next_decision() -> None:
    rows = columns([10.0])
    _, [card, _] = made(rows, [1.0], decided(rows, ["review"]))
    assert 1.99 < card.level < 2


def test_a_score_that_is_no_number_is_looked_at_by_a_person() -> None:
    rows = columns([10.0])
    _, [card] = made(rows, [float("nan")], decided(rows, ["review"]))
    assert (card.kind, card.level, card.score, card.reasons) == ("card_fraud", 1.0, None, ())


def test_a_repeat_of_an_event_is_no_candidate_again() -> None:
    rows = columns([912.0, 912.0], duplicate_of=np.array([-1, 7]))
    records, _ = made(rows, [0.9, 0.9], decided(rows, ["decline", "decline"]))
    assert set(records.rows) == {0}


def test_a_limit_declines_what_the_model_approves_and_is_named() -> None:
    rows = columns([2500.0, 1500.0, 1000.0])
    by = decided(rows, ["approve", "approve", "approve"])
    assert by.decisions == ["decline", "review", "approve"]
    assert by.rule_column(3) == ["amount-limit", "high-amount", None]
    _, found = made(rows, [0.01, 0.01, 0.01], by)
    assert [(item.kind, item.decision, item.rule) for item in found] == [
        ("card_fraud", "decline", "amount-limit"),
        ("terminal_fraud", "decline", "amount-limit"),
        ("card_fraud", "review", "high-amount"),
        ("terminal_fraud", "review", "high-amount"),
    ]
    assert [item.level for item in found] == [2.7, 0.7, 1.5, 0.5]
    assert {item.score for item in found} == {0.01}


def test_a_limit_never_makes_a_decision_milder() -> None:
    rows = columns([1500.0])
    by = decided(rows, ["decline"])
    assert (by.decisions, by.rules) == (["decline"], {})


def test_a_limit_on_a_feature_and_an_absent_value() -> None:
    rows = columns([1.0, 1.0])
    rows.values["amount"][1] = NO_VALUE
    matrix = np.array([[0.0, -1.0], [0.0, np.nan]])
    by = Decider(ALERTS, fraud.events, FEATURES).decide(rows, matrix, ["approve", "approve"])
    assert by.rules == {0: "odd-habit"}


def test_a_blocked_customer_is_declined_and_an_allowed_one_is_no_candidate() -> None:
    rows = columns([10.0, 2500.0, 10.0])
    by = decided(rows, ["approve"] * 3, lists(blocked="c-0", allowed="c-1"))
    assert by.decisions == ["decline", "approve", "approve"]
    assert by.rules == {0: "blocked", 1: "allowed"}
    records, found = made(rows, [0.01, 0.99, 0.01], by)
    assert records.rows == [0, 0]
    assert {item.rule for item in found} == {"blocked"}


def test_who_is_on_both_lists_is_blocked() -> None:
    rows = columns([10.0])
    both = Lists()
    for name in ("blocked", "allowed"):
        both.fold(
            ListChange(
                upstream_topic=name, upstream_partition=0, upstream_offset=offset, list=name,
                entity="c-0", listed=True,
            )
            for offset in range(1)
        )  # fmt: skip
    by = decided(rows, ["approve"], both)
    assert (by.decisions, by.allowed) == (["decline"], frozenset())


def test_rules_decide_without_a_model_too() -> None:
    rows = columns([2500.0, 10.0])
    by = decided(rows, None)
    assert by.decisions == ["decline", None]
    _, found = made(rows, None, by)
    assert [(item.kind, item.score, item.level) for item in found] == [
        ("card_fraud", None, 2.7), ("terminal_fraud", None, 0.7),
    ]  # fmt: skip


def test_decisions_are_handed_through_where_no_rule_applies() -> None:
    rows = columns([10.0])
    decisions: list[str | None] = ["approve"]
    by = decided(rows, decisions)
    assert by.decisions is decisions
    assert by.rule_column(1) is None


def test_a_level_of_the_stage_s_own_needs_no_model() -> None:
    heat = kind(
        "heat",
        entity="terminal_id",
        level="heat",
        facts=("heat", "amount"),
        tells=("amount_now", "usual_amount"),
    )
    usual = {"amount_now": UsualConstant(value=3.0)}
    plan = compile_alerts(Alerts(topic="a", kinds=(heat,), usual=usual), "fraud")
    maker = CandidateMaker(plan, fraud.events, FEATURES, levels=("heat",))
    rows = columns([1.0, 2.0, 3.0])
    rows.values["amount"][0] = NO_VALUE
    records = maker.make(
        ScoredRows(
            rows, "t", np.zeros(3, np.int64), np.arange(3), np.zeros((3, 2)),
            Decided(None, {}, {}, frozenset()), levels={"heat": np.array([0.6, 0.1, np.nan])},
        )
    )  # fmt: skip
    [found] = CandidateDecoder(plan.kinds).decode(records.values)[1]
    assert (found.entity, found.level, found.facts) == ("4711", 0.6, {"heat": 0.6})
    assert found.reasons == (
        FeatureReason("amount_now", 0.0, 3.0, None),
        FeatureReason("usual_amount", 0.0, None, None),
    )
    with pytest.raises(ConfigError, match="'heat' is no level"):
        CandidateMaker(plan, fraud.events, FEATURES)
