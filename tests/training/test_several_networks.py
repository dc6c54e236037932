"""The mean of a few networks that imitate the same model, as training writes it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.training import averaging, distilling
from stream_infer.training.averaging import distil_mean, with_augmented
from stream_infer.training.calibration import LOG_ODDS, Calibration
from stream_infer.training.candidates import Fitted, Network
from stream_infer.training.distilling import (
    Lesson,
    hidden_sizes,
    imitate,
    imitate_at_two_paces,
    lesson,
    log_odds,
)
from stream_infer.training.graphs import OUTPUT, Part, finished
from stream_infer.training.making import run_graph
from stream_infer.training.samples import Samples
from stream_infer.training.squeezing import fit_softly
from support.optimizing import fitted, payments


@pytest.fixture(scope="module")
def taught() -> tuple[Fitted, Calibration, Samples]:
    rows = payments(10)
    return *fitted("trees", rows), rows


@pytest.fixture
def _few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distilling, "FULL_PACE_EPOCHS", 5)
    monkeypatch.setattr(distilling, "FINE_TUNING_EPOCHS", 2)


def graph(network: Network, width: int) -> bytes:
    return finished(LOG_ODDS.add_to(network.add_to(Part())).then("Sigmoid", name=OUTPUT), width)


def errors(network: Network, soft: Lesson) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (network.answer(soft.matrix) - soft.target) ** 2
    return found


@pytest.mark.usefixtures("_few_epochs")
@pytest.mark.parametrize("columns", [3, 6])
def test_scores_of_three_networks_are_the_same_bits_in_batches_of_every_size(
    taught: tuple[Fitted, Calibration, Samples], columns: int
) -> None:
    rows = taught[2]
    # Three columns: whole vectors of four would hide what is done with the last values.
    matrix = np.ascontiguousarray(rows.matrix[:1_500, :columns])
    soft = lesson(matrix, rows.truth[:1_500] * 0.8 + 0.1, seed=0)
    network = averaging.imitate_by_mean(soft, hidden=averaging.HIDDEN, count=3, seed=0)
    assert hidden_sizes(network) == (144, 72)
    content = graph(network, columns)
    whole = run_graph(content, matrix)
    assert len(np.unique(whole)) > 1_000
    for size in (1, 2, 3, 7, 13, 64, 1_024):
        assert run_graph(content, matrix, size).tobytes() == whole.tobytes()


@pytest.mark.usefixtures("_few_epochs")
def test_a_mean_is_of_networks_of_other_seeds_that_learnt_rows_put_together_too(
    taught: tuple[Fitted, Calibration, Samples],
) -> None:
    model, calibration, pool = taught
    found = distil_mean(model, calibration, pool, count=2, seed=5)

    def say(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return calibration.apply(model.answer(rows))

    soft = lesson(pool.matrix, say(pool.matrix), seed=5)
    rows = with_augmented(soft, say, seed=5, times=averaging.MEAN_TIMES)
    assert len(rows.matrix) > 2 * len(soft.matrix)
    added = rows.matrix[len(soft.matrix) :]
    np.testing.assert_array_equal(rows.target[len(soft.matrix) :], log_odds(say(added)))
    scaling = fit_softly(rows.matrix)
    alone = [
        imitate_at_two_paces(rows, seed=seed, hidden=averaging.HIDDEN, scaling=scaling)
        for seed in (5, 6)
    ]
    meant = np.mean([each.answer(pool.matrix) for each in alone], axis=0)
    np.testing.assert_allclose(found.answer(pool.matrix), meant, atol=1e-9)
    squares = [errors(each, soft).mean() for each in alone]
    assert abs(squares[0] - squares[1]) > 1e-4
    assert errors(found, soft).mean() < np.mean(squares)


def test_a_network_that_learns_on_at_half_the_pace_is_closer_than_before(
    taught: tuple[Fitted, Calibration, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calibration, pool = taught
    soft = lesson(pool.matrix, calibration.apply(model.answer(pool.matrix)), seed=0)
    monkeypatch.setattr(distilling, "FULL_PACE_EPOCHS", 10)
    monkeypatch.setattr(distilling, "FINE_TUNING_EPOCHS", 6)
    begun = imitate(soft, seed=0, hidden=(16, 8), epochs=10)
    went_on = imitate_at_two_paces(soft, seed=0, hidden=(16, 8), scaling=None)
    assert errors(went_on, soft).mean() < 0.9 * errors(begun, soft).mean()
