"""What a version breaches, and what is done about it: evidence in, decisions out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_infer.events.evidence import Evidence
from stream_infer.guardrails.deciding import Decider, DeciderRules, Decision
from stream_infer.guardrails.hours import HOUR_MS
from stream_infer.guardrails.judging import GuardLimits, judge, surely_above
from stream_infer.guardrails.windows import EvidenceWindow, Totals
from stream_infer.registry.history import Standing
from stream_infer.scoring.reference import Histogram, Reference
from support.guarding import SCORES, evidence
from support.registries import NOON_MS, registry_with

LIMITS = GuardLimits()


def totals(*records: Evidence) -> Totals:
    found = Totals()
    for each in records:
        found.add(each)
    return found


def codes(seen: Totals, beside: Totals | None = None, usual: tuple[int, ...] = ()) -> list[str]:
    return [breach.code for breach in judge(seen, beside, usual, None, LIMITS)]


WELL = totals(*[evidence("1")] * 10)


@pytest.mark.parametrize(
    ("worse", "code"),
    [
        ({"errors": 50, "rows": 950}, "errors"),
        ({"not_finite": 40}, "not_finite"),
        ({"run_us": 60_000}, "slow"),
        ({"worst_us": 90_000}, "slow_rows"),
        ({"alerts": 90}, "alert_rate"),
        ({"alerts": 0}, "alert_rate"),
        ({"scores": (100, 500, 400)}, "score_drift"),
    ],
)
def test_each_limit_is_told_by_its_word(worse: dict[str, Any], code: str) -> None:
    assert codes(totals(*[evidence(**worse)] * 10), WELL, SCORES) == [code]


def test_a_version_that_is_slower_by_less_than_anybody_feels_breaches_nothing() -> None:
    beside = totals(*[evidence("1", run_us=300)] * 10)
    assert codes(totals(*[evidence(run_us=4_000)] * 10), beside, SCORES) == []


def test_rows_that_come_one_by_one_are_no_slow_version() -> None:
    """A run costs tens of µs, whatever its rows: beside runs of hundreds that is much a row."""
    beside = totals(*[evidence("1", run_us=2_000)] * 10)
    alone = totals(*[evidence(run_us=60_000, runs=1_000)] * 10)
    assert codes(alone, beside, SCORES) == []
    assert codes(totals(*[evidence(run_us=160_000, runs=1_000)] * 10), beside, SCORES) == ["slow"]


def test_a_version_that_is_well_breaches_nothing() -> None:
    assert codes(totals(*[evidence()] * 10), WELL, SCORES) == []


@pytest.mark.parametrize("few", [{"rows": 5, "errors": 1}, {"rows": 9, "alerts": 1, "scores": ()}])
def test_a_handful_of_rows_breaches_nothing(few: dict[str, Any]) -> None:
    assert codes(totals(evidence(run_us=45, **few)), WELL, SCORES) == []


def test_two_versions_that_alert_alike_are_hardly_ever_told_apart() -> None:
    random = np.random.default_rng(4)
    alerts = random.binomial(300, 0.02, (2_000, 2))
    found = []
    for one, two in alerts.tolist():
        seen, beside = (totals(evidence(rows=300, alerts=each)) for each in (one, two))
        found.append(codes(seen, beside))
    assert sum("alert_rate" in each for each in found) <= 2


def test_without_anything_to_compare_with_the_manifest_is_asked() -> None:
    reference = Reference(
        score=Histogram(edges=(0.1, 0.5), counts=(9_000, 600, 400)), alerting=0.02
    )
    seen = totals(*[evidence(alerts=200, scores=(100, 500, 400))] * 10)
    found = judge(seen, None, (), reference, LIMITS)
    assert [each.code for each in found] == ["alert_rate", "score_drift"]
    assert judge(seen, None, (), None, LIMITS) == []


def test_a_share_is_only_above_its_limit_when_the_rows_hardly_allow_chance() -> None:
    assert not surely_above(1, 10, 0.001)
    assert surely_above(100, 1_000, 0.001)
    assert not surely_above(0, 0, 0.001)


def test_evidence_leaves_the_window_when_it_is_old() -> None:
    window = EvidenceWindow(30_000)
    for second in range(60):
        window.add(evidence(at=NOON_MS + second * 1_000))
    found = window.totals(NOON_MS + 59_000)
    assert found["2"].records == 30
    assert window.totals(NOON_MS + 200_000) == {}


def test_scores_are_compared_with_the_same_hour_of_earlier_weeks() -> None:
    window = EvidenceWindow(30_000)
    window.add(evidence(at=NOON_MS, scores=(1, 2, 3)))
    window.add(evidence(at=NOON_MS + 168 * HOUR_MS, scores=(10, 20, 30)))
    window.add(evidence(at=NOON_MS + 169 * HOUR_MS, scores=(7, 7, 7)))
    assert window.usual_scores("2", NOON_MS + 336 * HOUR_MS).tolist() == [11, 22, 33]
    assert window.usual_scores("2", NOON_MS + 335 * HOUR_MS).tolist() == []
    assert window.usual_scores("1", NOON_MS + 336 * HOUR_MS).tolist() == []


class Deciding:
    """A decider that looks each second at the same evidence."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.window = EvidenceWindow(30_000)
        self.decider = Decider(DeciderRules(held=3))
        self.now_ms = NOON_MS + 60_000

    def look(self, **versions: dict[str, Any]) -> Decision | None:
        self.now_ms += 1_000
        for name, of in versions.items():
            self.window.add(evidence(name.removeprefix("v"), self.now_ms, **of))
        return self.decider.look(self.standing, self.window, {}, self.now_ms)


def promoted() -> Standing:
    registry = registry_with("1", "2", "3")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    registry.assign("tiny", "challenger", "3", share=0.1)
    return registry.standing("tiny")


BAD: dict[str, Any] = {"errors": 500, "rows": 500}


def test_a_breach_that_lasts_moves_the_champion_back_and_says_why() -> None:
    deciding = Deciding(promoted())
    assert [deciding.look(v2=BAD), deciding.look(v2=BAD)] == [None, None]
    decision = deciding.look(v2=BAD)
    assert decision is not None
    assert (decision.action, decision.version) == ("rollback", "2")
    assert "failed at" in decision.why


def test_a_breach_that_is_gone_at_one_look_begins_anew() -> None:
    deciding = Deciding(promoted())
    deciding.look(v2=BAD)
    deciding.look(v2=BAD)
    deciding.window = EvidenceWindow(30_000)
    assert deciding.look(v2={}) is None
    deciding.window = EvidenceWindow(30_000)
    assert [deciding.look(v2=BAD), deciding.look(v2=BAD)] == [None, None]


def test_a_challenger_is_rejected_and_the_champion_stays() -> None:
    deciding = Deciding(promoted())
    found = [deciding.look(v2={}, v3=BAD) for _ in range(3)]
    assert found[-1] is not None
    assert (found[-1].action, found[-1].version) == ("reject", "3")


def test_a_champion_that_a_rollback_brought_back_stays() -> None:
    registry = registry_with("0", "1", "2")
    for version in ("0", "1", "2"):
        registry.promote("tiny", version)
    registry.roll_back("tiny")
    deciding = Deciding(registry.standing("tiny"))
    assert [deciding.look(v1=BAD) for _ in range(5)] == [None] * 5


def test_a_champion_that_has_served_for_long_or_is_the_only_one_stays() -> None:
    deciding = Deciding(promoted())
    deciding.now_ms += 2 * 86_400_000
    assert [deciding.look(v2=BAD) for _ in range(5)] == [None] * 5
    registry = registry_with("1")
    registry.promote("tiny", "1")
    alone = Deciding(registry.standing("tiny"))
    assert [alone.look(v1=BAD) for _ in range(5)] == [None] * 5
