"""Short runs with faults, as `make chaos` does many; and what a judge of exactly once sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chaos.script import Script, Step
from chaos.session import Outcome, Plan, run_seed
from stream_infer.audit.recompute.report import RecomputeReport

pytestmark = pytest.mark.kafka

RATE = 100
"""Payments a second: enough for faults to hit something, quickly recomputed."""

KILLS = (
    Step(2.0, "kill_worker", 0.2),
    Step(1.0, "kill_worker", 0.9),
    Step(3.0, "kill_worker", 0.5),
    Step(15.0, "kill_worker", 0.2),  # when partitions have long been taken over
    Step(15.0, "kill_worker", 0.9),
)
"""The first ones may hit workers that have nothing in work."""


def plan(*steps: Step, plant: str | None = None, workers: int = 2, rate: int = 300) -> Plan:
    script = Script(seed=1, nodes=1, workers=workers, steps=steps)
    return Plan(seed=1, script=script, rate=rate, plants=[plant] if plant else [])


def recomputed(outcome: Outcome) -> RecomputeReport:
    report = outcome.verdict.recomputed
    assert report is not None, outcome.verdict.problems
    return report


async def test_a_killed_worker_and_a_refused_batch_double_lose_and_change_nothing(
    tmp_path: Path,
) -> None:
    steps = (Step(1.0, "refused_output", 0.5), Step(1.0, "kill_worker", 0.2))
    outcome = await run_seed(plan(*steps, workers=1, rate=RATE), tmp_path)
    assert not outcome.red, outcome.verdict.problems
    assert recomputed(outcome).delivery == "exactly_once"
    assert recomputed(outcome).total("refused") > 0
    assert recomputed(outcome).total("expected") > outcome.sent


async def test_a_send_whose_answer_nobody_awaits_is_seen_as_a_loss(tmp_path: Path) -> None:
    step = Step(1.0, "refused_output", 0.5)
    outcome = await run_seed(plan(step, plant="unawaited_send", workers=1, rate=RATE), tmp_path)
    assert outcome.red
    assert recomputed(outcome).total("lost") > 0, outcome.line()


@pytest.mark.thorough
async def test_a_full_disk_and_wrong_clocks_are_met_and_change_nothing(tmp_path: Path) -> None:
    steps = (
        Step(2.0, "clock_jump", 0.1),
        Step(2.0, "disk_full", 0.9),
        Step(1.0, "clock_jump", 0.9),
        Step(2.0, "kill_worker", 0.2),
    )
    made = plan(*steps, rate=RATE)
    assert made.script is not None
    made = replace(made, script=replace(made.script, folder=True))
    outcome = await run_seed(made, tmp_path)
    assert not outcome.red, outcome.verdict.problems
    assert outcome.shifted > 0, outcome.line()
    assert outcome.without_effect == []


@pytest.mark.thorough
async def test_exactly_once_switched_off_is_seen_as_doubles(tmp_path: Path) -> None:
    made = replace(plan(*KILLS), delivery="at_least_once", judged_as="exactly_once")
    outcome = await run_seed(made, tmp_path)
    assert outcome.red
    assert recomputed(outcome).twice > 0, outcome.line()


@pytest.mark.thorough
@pytest.mark.parametrize("plant", [None, "no_fencing"])
async def test_a_zombie_harms_nothing_unless_nobody_fences_it(
    tmp_path: Path, plant: str | None
) -> None:
    steps = (Step(3.0, "zombie", 0.2), Step(3.0, "zombie", 0.7), Step(3.0, "zombie", 0.9))
    outcome = await run_seed(plan(*steps, plant=plant), tmp_path)
    assert recomputed(outcome).verdict == ("failed" if plant else "proven"), outcome.line()
    assert (recomputed(outcome).twice > 0) is (plant is not None), outcome.line()


@pytest.mark.thorough
@pytest.mark.parametrize("plant", [None, "checkpoint_ahead"])
async def test_a_checkpoint_harms_nothing_unless_it_is_ahead_of_what_is_committed(
    tmp_path: Path, plant: str | None
) -> None:
    """Transactions are long here, so that a killed worker leaves much that is not committed."""
    steps = (Step(5.0, "kill_at_checkpoint", 0.0), Step(2.0, "kill_at_checkpoint", 0.0))
    made = plan(*steps, plant=plant)
    made = replace(made, session_s=8.0, settings={"commit_interval_ms": "4000"})
    outcome = await run_seed(made, tmp_path)
    assert outcome.without_effect == []
    assert recomputed(outcome).verdict == ("failed" if plant else "proven"), outcome.line()
    assert (recomputed(outcome).total("lost") > 0) is (plant is not None), outcome.line()
