"""How good the fraud pipeline's alerts are on a generated world, alert by alert, fraud by fraud.

An alert about a card is right when a payment that it counts is a fraud. One about a
terminal is right when frauds hit two or more of the customers whose payments it counts,
for it says that the terminal is the cause. A fraudulent payment lies *under an alert* when
one about its customer or its terminal was opened no later than by this payment and was
open still. Frauds of one cause are one *case* (a compromised terminal or card, an account,
a tested number, a single payment): caught when one of its payments lies under an alert,
and told after the time from its first payment in the judged days to that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.decisions import Decider
from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.maker import CandidateMaker, ScoredRows
from stream_infer.alerts.reasons import by_one
from stream_infer.alerts.spec import Alerts
from stream_infer.events.columns import EventColumns
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.features.table import compute_features
from stream_infer.models.alert_run import Raised, raise_alerts, verdicts
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import DAY_MS, Transactions, World, generate
from stream_infer.simulators.records import label_columns, transaction_columns
from stream_infer.simulators.transactions import (
    FRAUD_NAMES,
    HONEST,
    TERMINAL,
    TESTING,
)

CARD_ALERT = "card_fraud"
TERMINAL_ALERT = "terminal_fraud"
_ROWS = 65_536
_CASE_GAP_MS = {TESTING: DAY_MS}
_CASE_GAP_ELSE_MS = 5 * DAY_MS
"""Payments of one victim that lie further apart are two cases."""


@dataclass(frozen=True, slots=True)
class FraudRun:
    """A generated world and what the pipeline said about it.

    codes   (n,) int8, decision of each payment: 0 approve, 1 review, 2 decline
    alerts  all alerts
    """

    world: World
    transactions: Transactions
    codes: NDArray[np.int8]
    alerts: list[Raised]


def run_fraud(pipeline: Pipeline, scorer: Scorer, world: World) -> FraudRun:
    """Let the pipeline score a world and raise alerts.

    pipeline  with alerts of the built-in kinds
    Raises    ValueError for a pipeline without alerts
    """
    if pipeline.alerts is None:
        raise ValueError("the pipeline declares no alerts")
    plan = compile_plan(pipeline)
    transactions = generate(world)
    columns = transaction_columns(transactions)
    matrix = compute_features(plan, columns, label_columns(transactions.by_label_time()))
    scores = scorer.score(matrix)
    alert_plan = compile_alerts(pipeline.alerts, pipeline.name)
    maker = CandidateMaker(alert_plan, pipeline.events, plan.feature_names)
    scored = _scored(pipeline.alerts, plan, columns, matrix, scores, scorer)
    end_ms = world.start_ms + world.days * DAY_MS
    return FraudRun(
        world,
        transactions,
        scorer.decision_codes(scores).astype(np.int8),
        raise_alerts(alert_plan, (maker.make(rows).values for rows in scored), end_ms),
    )


def _scored(
    alerts: Alerts,
    plan: Plan,
    columns: EventColumns,
    matrix: NDArray[np.float64],
    scores: NDArray[np.float32],
    scorer: Scorer,
) -> Iterator[ScoredRows]:
    decider = Decider(alerts, plan.pipeline.events, plan.feature_names)
    for first in range(0, len(columns), _ROWS):
        rows = slice(first, first + _ROWS)
        part, words = columns.slice(first, min(first + _ROWS, len(columns))), scores[rows]
        yield ScoredRows(
            part,
            plan.pipeline.events.topic,
            np.zeros(len(part), np.int64),
            np.arange(first, first + len(part)),
            matrix[rows],
            decider.decide(part, matrix[rows], scorer.decisions(words)),
            words,
            by_one(scorer.score),
            scorer.name,
            scorer.version,
        )


@dataclass(frozen=True, slots=True)
class _Spans:
    """When alerts of one kind were open, by entity."""

    spans: dict[str, list[tuple[int, int]]]

    @classmethod
    def of(cls, alerts: Sequence[Raised], kind: str) -> _Spans:
        spans = defaultdict(list)
        for each in alerts:
            if each.alert.kind == kind and not each.is_group:
                spans[each.alert.entity].append((each.opened, each.ended))
        return cls(dict(spans))

    def over(self, entities: Sequence[str], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which rows lie in a span of their entity."""
        found = np.zeros(len(entities), np.bool_)
        for row, entity in enumerate(entities):
            found[row] = any(
                first <= times[row] <= last for first, last in self.spans.get(entity, ())
            )
        return found


def measure_fraud(run: FraudRun, first_day: int, until_day: int) -> dict[str, Any]:
    """Return counts of the days [first_day, until_day), see `added` for those of several runs.

    Alerts count on the day on which they open. `stopped` payments have the decision review or
    decline.
    """
    rows, start = run.transactions, run.world.start_ms
    first, until = start + first_day * DAY_MS, start + until_day * DAY_MS
    judged = (rows.event_time >= first) & (rows.event_time < until)
    fraud = np.flatnonzero(judged & rows.is_fraud)
    frauds = rows.take(fraud)
    under = _Spans.of(run.alerts, CARD_ALERT).over(frauds.customer_ids, frauds.event_time)
    under |= _Spans.of(run.alerts, TERMINAL_ALERT).over(frauds.terminal_ids, frauds.event_time)
    opened = [each for each in run.alerts if first <= each.opened < until]
    return {
        "payments": int(judged.sum()),
        "frauds": len(fraud),
        "frauds_under_alert": int(under.sum()),
        "stopped": int((run.codes[judged] > 0).sum()),
        "frauds_stopped": int((run.codes[fraud] > 0).sum()),
        "alerts": {
            CARD_ALERT: _judge(opened, CARD_ALERT, _card_is_right(run)),
            TERMINAL_ALERT: _judge(opened, TERMINAL_ALERT, _terminal_is_right(run)),
        },
        "storms": sum(each.is_group for each in opened),
        "kinds": _by_kind(frauds, under),
    }


def _judge(
    opened: Sequence[Raised], kind: str, is_right: Callable[[Raised], bool]
) -> dict[str, int]:
    mine = [each for each in opened if each.alert.kind == kind and not each.is_group]
    right = sum(map(is_right, mine))
    return verdicts(right, len(mine) - right)


def _counted(run: FraudRun, by: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return the stopped rows of each entity: those that alerts are made of."""
    rows = defaultdict(list)
    for row in np.flatnonzero(run.codes > 0).tolist():
        rows[by[row]].append(row)
    return {entity: np.array(own) for entity, own in rows.items()}


def _rows_of(
    run: FraudRun, counted: dict[str, NDArray[np.int64]], each: Raised
) -> NDArray[np.int64]:
    rows = counted.get(each.alert.entity, np.zeros(0, np.int64))
    times = run.transactions.event_time[rows]
    return rows[(times >= each.opened) & (times <= each.alert.updated_time)]


def _card_is_right(run: FraudRun) -> Callable[[Raised], bool]:
    counted = _counted(run, run.transactions.customer_ids)
    truth = run.transactions.is_fraud
    return lambda each: bool(truth[_rows_of(run, counted, each)].any())


def _terminal_is_right(run: FraudRun) -> Callable[[Raised], bool]:
    counted = _counted(run, run.transactions.terminal_ids)
    truth, customer = run.transactions.is_fraud, run.transactions.customer

    def is_right(each: Raised) -> bool:
        # What came before it opened made it open; its last day is as good as its next one.
        widened = replace(each, opened=each.opened - DAY_MS)
        rows = _rows_of(run, counted, widened)
        return len(np.unique(customer[rows[truth[rows]]])) > 1

    return is_right


def _by_kind(frauds: Transactions, under: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    found = {}
    for code, name in enumerate(FRAUD_NAMES):
        if code == HONEST:
            continue
        rows = np.flatnonzero(frauds.fraud == code)
        cases = list(_cases(frauds, rows, code))
        told = [case[under[case]] for case in cases]
        caught = [(case, hit) for case, hit in zip(cases, told, strict=True) if len(hit)]
        delays = [
            int(frauds.event_time[hit[0]] - frauds.event_time[case[0]]) for case, hit in caught
        ]
        found[name] = {
            "payments": len(rows),
            "under_alert": int(under[rows].sum()),
            "cases": len(cases),
            "cases_caught": len(caught),
            "delays_ms": delays,
        }
    return found


def _cases(frauds: Transactions, rows: NDArray[np.int64], code: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each case, in order of time."""
    victim = (frauds.terminal if code == TERMINAL else frauds.customer)[rows]
    time = frauds.event_time[rows]
    order = np.lexsort((time, victim))
    gap = _CASE_GAP_MS.get(code, _CASE_GAP_ELSE_MS)
    new = (np.diff(victim[order]) != 0) | (np.diff(time[order]) > gap)
    if code == 1:  # amount: each payment is a case of its own
        new[:] = True
    yield from (part for part in np.split(rows[order], np.flatnonzero(new) + 1) if len(part))
