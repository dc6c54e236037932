from __future__ import annotations

import numpy as np
import pytest

from stream_infer.guardrails.stability import chi_squared, compare
from stream_infer.scoring.reference import count_into, quantile_edges

EDGES = quantile_edges(np.random.default_rng(0).normal(0, 1, 100_000))


def sample(rows: int, seed: int, shift: float = 0.0) -> tuple[int, ...]:
    values = np.random.default_rng(seed).normal(shift, 1, rows)
    return count_into(EDGES, values).counts


@pytest.mark.parametrize("rows", [30, 100, 1_000, 100_000])
def test_two_samples_of_one_distribution_are_no_drift_however_small(rows: int) -> None:
    found = [compare(sample(5_000, 2 * n), sample(rows, 2 * n + 1)) for n in range(300)]
    assert not any(each.drifted() for each in found)
    # And the bound of chance alone is hardly ever passed, which is what makes it one.
    assert sum(each.index > each.by_chance for each in found) <= 3


def test_the_usual_bound_would_be_passed_by_chance() -> None:
    found = [compare(sample(5_000, 2 * n), sample(100, 2 * n + 1)).index for n in range(300)]
    assert np.mean(np.array(found) > 0.1) > 0.1


@pytest.mark.parametrize("rows", [500, 100_000])
def test_a_shift_that_matters_is_drift(rows: int) -> None:
    assert compare(sample(50_000, 1), sample(rows, 2, shift=0.8)).drifted()


def test_a_shift_that_does_not_matter_is_none_however_sure_it_is() -> None:
    found = compare(sample(1_000_000, 1), sample(1_000_000, 2, shift=0.05))
    assert found.index > found.by_chance
    assert not found.drifted()


def test_a_bin_that_was_empty_before_is_compared() -> None:
    assert compare([1_000, 0], [500, 500]).drifted()


def test_without_rows_or_with_one_bin_nothing_is_said() -> None:
    for before, after in (([0, 0], [5, 5]), ([9], [9]), ([0, 0], [0, 0]), ([7, 0], [7, 0])):
        assert not compare(before, after).drifted()


def test_other_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="bins"):
        compare([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("freedom", "below", "expected"),
    [(1, 0.95, 3.84), (9, 0.99, 21.67), (9, 0.9999, 33.72), (19, 0.9999, 50.80)],
)
def test_chi_squared_is_as_tables_have_it(freedom: int, below: float, expected: float) -> None:
    assert chi_squared(freedom, below) == pytest.approx(expected, rel=0.03)
