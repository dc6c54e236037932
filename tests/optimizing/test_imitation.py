"""Networks that imitate, lose neurons and learn on; lines that lead back to the original."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.optimizing.lines import match_line
from stream_infer.optimizing.material import checked_reading
from stream_infer.optimizing.neurons import slimmer
from stream_infer.optimizing.reading import operators
from stream_infer.training.averaging import augmented, side_by_side
from stream_infer.training.distilling import hidden_sizes, imitate, lesson
from stream_infer.training.squeezing import fit_softly
from support.optimizing import fitted, graph_of, payments, run


def test_removed_neurons_are_gone_from_the_weights_and_fine_tuning_mends_what_it_can() -> None:
    rows = payments(20)
    model, line = fitted("trees", rows)
    said = run(graph_of(model, line), rows.matrix)
    soft = lesson(rows.matrix, said, seed=0)
    whole = imitate(soft, seed=0, hidden=(16, 8), epochs=20)
    small = slimmer(whole, soft.matrix, 0.5)
    assert hidden_sizes(small) == (8, 4)
    assert [weights.shape for weights, _ in small.layers] == [(6, 8), (8, 4), (4, 1)]
    tuned = imitate(soft, seed=0, epochs=15, start=small)
    assert hidden_sizes(tuned) == (8, 4)

    def error(network: object) -> float:
        answers = network.answer(soft.matrix)  # type: ignore[attr-defined]
        return float(np.average((answers - soft.target) ** 2, weights=soft.weights))

    assert error(tuned) < 0.7 * error(small)
    again = imitate(soft, seed=0, epochs=15, start=slimmer(whole, soft.matrix, 0.5))
    np.testing.assert_array_equal(again.layers[0][0], tuned.layers[0][0])


def test_fine_tuning_begins_with_the_network_that_is_given() -> None:
    rows = payments(10)
    model, line = fitted("trees", rows)
    soft = lesson(rows.matrix, run(graph_of(model, line), rows.matrix), seed=0)
    long = imitate(soft, seed=0, hidden=(16, 8), epochs=30)
    fresh = imitate(soft, seed=0, hidden=(16, 8), epochs=1)
    went_on = imitate(soft, seed=0, epochs=1, start=long)

    def error(network: object) -> float:
        return float(((network.answer(soft.matrix) - soft.target) ** 2).mean())  # type: ignore[attr-defined]

    assert error(went_on) < 1.3 * error(long)
    assert error(went_on) < 0.7 * error(fresh)


def test_neurons_that_say_nothing_go_first_and_their_mean_stays() -> None:
    rows = payments(10)
    model, line = fitted("trees", rows)
    soft = lesson(rows.matrix, run(graph_of(model, line), rows.matrix), seed=0)
    network = imitate(soft, seed=0, hidden=(8, 6), epochs=3)
    weights, biases = (np.array(each) for each in network.layers[0])
    weights[:, 2:6] = 0
    biases[2:6] = 3.0  # always 3, whatever the row
    still = type(network)(network.scaling, [(weights, biases), *network.layers[1:]])
    small = slimmer(still, soft.matrix, 0.5)
    assert small.layers[0][0].shape == (6, 4)
    kept_all = slimmer(still, soft.matrix, 1.0)
    np.testing.assert_allclose(kept_all.answer(soft.matrix), still.answer(soft.matrix))


def test_rows_put_together_take_every_column_from_a_real_row_and_depend_on_the_seed_only() -> None:
    rows = payments(20)
    model, line = fitted("trees", rows)
    soft = lesson(rows.matrix, run(graph_of(model, line), rows.matrix), seed=0)
    made = augmented(soft, 5)
    assert len(made) > 100
    for column in range(made.shape[1]):
        assert np.isin(made[:, column], soft.matrix[:, column]).all()
    seen = {row.tobytes() for row in soft.matrix}
    assert sum(row.tobytes() not in seen for row in made) > 0.8 * len(made)
    np.testing.assert_array_equal(made, augmented(soft, 5))
    assert not np.array_equal(made, augmented(soft, 6))
    assert len(augmented(soft, 5, 3)) == 3 * len(made)


@pytest.mark.parametrize("scale", [1.0, 0.01, 300.0])
def test_a_line_leads_answers_of_any_scale_to_the_log_odds_they_mean(scale: float) -> None:
    random = np.random.default_rng(0)
    odds = np.clip(random.normal(-4, 2, 5_000), -9, 6)
    answers = scale * (np.exp(0.4 * odds) - 3)
    line = match_line(answers, odds)
    assert (np.diff(line.log_odds) > 0).all()
    assert (np.diff(line.answers) > 0).all()
    found = np.interp(answers, line.answers, line.log_odds)
    assert np.abs(found - odds).mean() < 0.1


def test_a_line_of_answers_that_are_all_the_same_is_flat_but_a_line() -> None:
    line = match_line(np.zeros(10), np.full(10, -3.0))
    assert line.apply(np.zeros(3)) == pytest.approx(1 / (1 + np.exp(3)), abs=0.02)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_inputs_squeezed_in_one_step_are_read_back_from_the_graph(missing: float) -> None:
    rows = payments(10, missing=missing)
    model, line = fitted("trees", rows)
    soft = lesson(rows.matrix, run(graph_of(model, line), rows.matrix), seed=0)
    scaling = fit_softly(soft.matrix)
    assert np.abs(scaling.apply(soft.matrix)).max() < 50
    network = imitate(soft, seed=0, hidden=(8, 4), epochs=3, scaling=scaling)
    content = graph_of(network)
    assert ("IsNaN" in operators(content)) == bool(missing)
    said = run(content, rows.matrix)
    meant = 1 / (1 + np.exp(-network.answer(rows.matrix)))
    np.testing.assert_allclose(said, meant, atol=1e-5)
    reading = checked_reading(content, rows.matrix, said)
    assert reading.network is not None
    np.testing.assert_allclose(
        reading.network.answer(rows.matrix), network.answer(rows.matrix), atol=1e-3
    )


def test_networks_side_by_side_are_one_that_answers_with_their_mean() -> None:
    rows = payments(4)
    model, line = fitted("trees", rows)
    soft = lesson(rows.matrix, run(graph_of(model, line), rows.matrix), seed=0)
    scaling = fit_softly(soft.matrix)
    networks = [
        imitate(soft, seed=seed, hidden=(6, 4), epochs=2, scaling=scaling) for seed in range(3)
    ]
    together = side_by_side(networks)
    assert hidden_sizes(together) == (18, 12)
    meant = np.mean([each.answer(rows.matrix) for each in networks], axis=0)
    np.testing.assert_allclose(together.answer(rows.matrix), meant, atol=1e-9)
    np.testing.assert_allclose(run(graph_of(together), rows.matrix), 1 / (1 + np.exp(-meant)),
                               atol=1e-5)  # fmt: skip
