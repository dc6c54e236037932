"""One run with a few faults, as `make chaos` does many: nothing lost, nothing different."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from chaos import session
from chaos.script import Script, Step
from chaos.session import Plan, run_seed

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STEPS = (
    Step(2.0, "kill_worker", 0.2),
    Step(1.0, "cut_line", 0.3),
    Step(1.0, "refused_output", 0.5),
    Step(0.5, "kill_worker", 0.9),
)


async def run(plan: Plan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> session.Outcome:
    monkeypatch.setattr(
        session, "script_of", lambda seed, **_: Script(seed, nodes=1, workers=2, steps=STEPS)
    )
    return await run_seed(plan, folder)


async def test_killed_workers_lose_nothing_and_a_judge_of_exactly_once_sees_the_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = await run(Plan(seed=1), tmp_path, monkeypatch)
    assert not outcome.red, outcome.verdict.problems
    recomputed = outcome.verdict.recomputed
    assert recomputed is not None
    assert recomputed.twice > 0
    assert dataclasses.replace(recomputed, delivery="exactly_once").verdict == "failed"
    assert recomputed.total("refused") > 0


@pytest.mark.parametrize(
    ("plant", "count"), [("unawaited_send", "lost"), ("state_ahead", "different")]
)
async def test_a_planted_fault_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str, count: str
) -> None:
    outcome = await run(Plan(seed=1, plants=[plant]), tmp_path, monkeypatch)
    assert outcome.red
    recomputed = outcome.verdict.recomputed
    assert recomputed is not None
    assert recomputed.total(count) > 0, outcome.line()
