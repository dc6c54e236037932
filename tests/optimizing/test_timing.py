"""Models are timed in turns; what is chosen of the times is a plain function."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.optimizing.timing import (
    BATCHES,
    CALLS,
    THROUGHPUT_ROWS,
    Speed,
    choose_chunk,
    load_ms,
    measure_speeds,
    tune_chunk,
)


def test_models_run_in_turns_each_as_often_as_the_others() -> None:
    seen: list[tuple[str, int]] = []

    def model(name: str) -> object:
        return lambda rows: seen.append((name, len(rows)))

    rows = np.zeros((100, 2), np.float32)
    made = measure_speeds({"a": model("a"), "b": model("b")}, rows, rounds=4)  # type: ignore[dict-item]
    assert set(made) == {"a", "b"}
    large = [name for name, size in seen if size == THROUGHPUT_ROWS][2:]
    assert large == ["a", "b", "b", "a", "a", "b", "b", "a"]
    for batch, calls in zip(BATCHES, CALLS, strict=True):
        for name in "ab":
            assert seen.count((name, batch)) == 4 * calls
    assert set(made["a"].latency_us) == set(BATCHES)
    assert all(half <= most for half, most in made["a"].latency_us.values())


def test_a_multiple_is_of_times_measured_side_by_side() -> None:
    # The machine slowed down in the last rounds, for both: the multiple does not move.
    slow = Speed(1.0, np.array([2.0, 2.0, 20.0, 20.0]), {})
    quick = Speed(1.0, np.array([1.0, 1.0, 10.0, 10.0]), {})
    assert quick.over(slow) == (2.0, 2.0, 2.0)
    assert slow.over(quick)[0] == 0.5


@pytest.mark.parametrize(
    ("seconds", "given", "chosen"),
    [
        ({64: 1.0, 256: 1.01, 1024: 1.04}, 1024, 1024),
        ({64: 1.0, 256: 1.01, 1024: 1.06}, 1024, 64),
        ({64: 2.0, 256: 1.0, 1024: 1.01}, 64, 256),
    ],
)
def test_a_chunk_is_changed_for_a_clear_gain_only(
    seconds: dict[int, float], given: int, chosen: int
) -> None:
    assert choose_chunk(seconds, given) == chosen


def test_the_given_chunk_is_tried_among_the_others() -> None:
    tried = set()

    def score(chunk: int) -> object:
        tried.add(chunk)
        return lambda rows: None

    chosen = tune_chunk(score, np.zeros((10, 2), np.float32), 100)  # type: ignore[arg-type]
    assert 100 in tried
    assert chosen in tried


def test_loading_is_done_a_few_times_and_the_quickest_counts() -> None:
    calls: list[int] = []
    assert load_ms(lambda: calls.append(1)) >= 0
    assert len(calls) > 2
