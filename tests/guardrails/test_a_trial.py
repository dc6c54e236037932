from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.guardrails.trial import (
    STAKE_MAX,
    Trial,
    TrialRules,
    brier_differences,
    stake,
)

RULES = TrialRules(steps_min=50)


def ever(differences: NDArray[np.float64], rules: TrialRules) -> dict[str, float]:
    """Return the share of runs that ever answer so, looked at after each step.

    differences  (runs, steps); the same rule as `Trial`, for all runs at once
    """
    runs, steps = differences.shape
    total, square = np.zeros(runs), np.zeros(runs)
    better, worse = np.zeros(runs), np.zeros(runs)
    answers = np.full(runs, "go on", dtype=object)
    enough = -math.log(rules.alpha)
    for at in range(steps):
        step = differences[:, at]
        mean, variance = total / (at + 4.0), (square + 1.0) / (at + 4.0)
        better += np.log1p(stakes(mean, variance, rules.margin) * (step - rules.margin))
        worse += np.log1p(stakes(-mean, variance, rules.margin) * (-step - rules.margin))
        total += step
        square += step * step
        if at + 1 >= rules.steps_min:
            is_open = answers == "go on"
            answers[is_open & (better >= enough)] = "promote"
            answers[is_open & (better < enough) & (worse >= enough)] = "reject"
    return {word: float(np.mean(answers == word)) for word in ("promote", "reject", "go on")}


def stakes(
    mean: NDArray[np.float64], variance: NDArray[np.float64], margin: float
) -> NDArray[np.float64]:
    edge = np.maximum(mean - margin, 0.0)
    return np.asarray(np.minimum(edge / (variance + edge * edge), STAKE_MAX / (1 + margin)))


def test_the_stakes_of_many_runs_are_those_of_each() -> None:
    random = np.random.default_rng(0)
    means, variances = random.uniform(-1, 1, 200), random.uniform(0.01, 1, 200)
    found = stakes(means, variances, 0.02).tolist()
    pairs = zip(means.tolist(), variances.tolist(), strict=True)
    assert found == [stake(mean, variance, 0.02) for mean, variance in pairs]


def losses(runs: int, steps: int, *, better: float, seed: int) -> NDArray[np.float64]:
    """Return differences of two equally noisy models on rare positives."""
    random = np.random.default_rng(seed)
    truth = random.random((runs, steps)) < 0.05
    noise = random.normal(0, 0.1, (2, runs, steps))
    said = np.where(truth, 0.6, 0.04)
    champion = np.clip(said + noise[0], 0, 1)
    challenger = np.clip(said + np.where(truth, better, -better / 4) + noise[1], 0, 1)
    return brier_differences(champion, challenger, truth)


def test_equal_models_are_told_apart_in_fewer_than_alpha_of_all_trials() -> None:
    found = ever(losses(600, 3_000, better=0.0, seed=1), RULES)
    # Each side may be wrong with 5 %; looked at 3,000 times, a z-test would be in over a third.
    assert found["promote"] <= 0.05
    assert found["reject"] <= 0.05


def test_a_test_of_fixed_size_that_is_looked_at_each_step_would_be_wrong_often() -> None:
    differences = losses(600, 3_000, better=0.0, seed=1)
    steps = np.arange(1, 3_001)
    mean = np.cumsum(differences, axis=1) / steps
    deviation = np.sqrt(np.maximum(np.cumsum(differences**2, axis=1) / steps - mean**2, 1e-12))
    z = np.abs(mean) / (deviation / np.sqrt(steps))
    assert np.mean((z[:, 50:] > 1.96).any(axis=1)) > 0.25


def test_differences_that_depend_on_those_before_do_not_fool_it() -> None:
    random = np.random.default_rng(3)
    signs = random.choice([-1.0, 1.0], (600, 2_000))
    sizes = np.empty_like(signs)
    sizes[:, 0] = 0.5
    for at in range(1, 2_000):
        # Larger after gains: the mean given the past is 0 all the same.
        sizes[:, at] = np.where(signs[:, at - 1] > 0, 0.9, 0.1)
    found = ever(signs * sizes, RULES)
    assert found["promote"] <= 0.05
    assert found["reject"] <= 0.05


def test_a_better_challenger_is_promoted_and_a_worse_one_rejected() -> None:
    better = ever(losses(100, 6_000, better=0.2, seed=5), RULES)
    worse = ever(losses(100, 6_000, better=-0.2, seed=6), RULES)
    assert (better["promote"], better["reject"]) == (1.0, 0.0)
    assert (worse["promote"], worse["reject"]) == (0.0, 1.0)


def test_a_difference_below_the_margin_is_not_worth_a_promotion() -> None:
    rules = TrialRules(steps_min=50, margin=0.05)
    assert ever(losses(100, 3_000, better=0.1, seed=5), rules)["go on"] == 1.0


@pytest.mark.parametrize("better", [-0.3, 0.0, 0.3])
def test_the_answer_does_not_depend_on_how_the_steps_were_cut(better: float) -> None:
    differences = losses(1, 2_000, better=better, seed=9)[0].tolist()
    whole = Trial().after(differences, RULES)
    cut = Trial()
    for at in range(0, 2_000, 77):
        cut = cut.after(differences[at : at + 77], RULES)
    assert cut == whole
    assert whole.answer(RULES) == {-0.3: "reject", 0.0: "go on", 0.3: "promote"}[better]


def test_nothing_is_answered_before_there_is_enough() -> None:
    trial = Trial().after([1.0] * 199, TrialRules())
    assert trial.answer(TrialRules()) == "go on"
    assert trial.after([1.0], TrialRules()).answer(TrialRules()) == "promote"


@pytest.mark.parametrize("difference", [1.01, -2.0, math.nan])
def test_what_is_no_difference_of_losses_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match="difference"):
        Trial().after([difference], RULES)
