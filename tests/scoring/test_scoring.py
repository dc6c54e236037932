from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.errors import ConflictError
from stream_infer.scoring.manifest import Thresholds
from stream_infer.scoring.session import DECISIONS, Scorer
from support.onnx_models import FEATURES, FINGERPRINT, WEIGHTS, logistic_model, write_model


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return Scorer(write_model(tmp_path / "one"), FEATURES, FINGERPRINT)


def rows(n: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, 40, (n, 3))


def test_a_score_is_the_probability_of_class_1(scorer: Scorer) -> None:
    matrix = rows(100)
    expected = 1 / (1 + np.exp(-(matrix @ WEIGHTS.astype(np.float64))[:, 0]))
    scores = scorer.score(matrix)
    assert scores.dtype == np.float32
    assert scores.shape == (100,)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_two_output_columns_are_read_as_classes_0_and_1(tmp_path: Path, scorer: Scorer) -> None:
    folder = write_model(tmp_path / "two", logistic_model(columns=2))
    two = Scorer(folder, FEATURES, FINGERPRINT)
    assert two.score(rows(50)).tobytes() == scorer.score(rows(50)).tobytes()


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 23])
def test_every_row_is_scored_whatever_the_chunk(scorer: Scorer, n: int) -> None:
    alone = [scorer.score(row[None, :])[0] for row in rows(n)]
    scores = scorer.score(rows(n))
    assert scores.shape == (n,)
    assert scores.tobytes() == np.array(alone, np.float32).tobytes()


@given(cuts=st.lists(st.integers(0, 200), max_size=8), row_chunk=st.integers(1, 70))
def test_scores_do_not_depend_on_where_batches_are_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], row_chunk: int
) -> None:
    folder = write_model(tmp_path_factory.mktemp("model"), row_chunk=row_chunk)
    scorer = Scorer(folder, FEATURES, FINGERPRINT)
    matrix = rows(200)
    parts = [scorer.score(part) for part in np.split(matrix, sorted(cuts))]
    assert np.concatenate(parts).tobytes() == scorer.score(matrix).tobytes()


def test_the_memory_layout_of_the_matrix_does_not_matter(scorer: Scorer) -> None:
    matrix = rows(40)
    assert scorer.score(np.asfortranarray(matrix)).tobytes() == scorer.score(matrix).tobytes()
    assert scorer.score(matrix[::2]).tobytes() == scorer.score(matrix)[::2].tobytes()


def test_threads_that_share_a_scorer_do_not_disturb_each_other(scorer: Scorer) -> None:
    batches = [rows(333, seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scorer.score, batches))
    for batch, scores in zip(batches, together, strict=True):
        assert scores.tobytes() == scorer.score(batch).tobytes()


def test_scores_of_one_batch_are_not_overwritten_by_the_next(scorer: Scorer) -> None:
    first = scorer.score(rows(5, 1))
    kept = first.copy()
    scorer.score(rows(5, 2))
    assert first.tobytes() == kept.tobytes()


def test_a_value_beyond_float32_gives_a_score_and_no_warning(scorer: Scorer) -> None:
    assert scorer.score(np.array([[1e300, 0.0, 0.0]]))[0] == 1.0


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,)])
def test_a_matrix_of_another_width_is_refused(scorer: Scorer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConflictError, match="takes 3 features"):
        scorer.score(np.zeros(shape))


def test_a_score_at_the_threshold_has_the_decision(tmp_path: Path) -> None:
    # float32(0.7) is below the double 0.7: a comparison in float64 would approve it.
    thresholds = Thresholds(review=0.7, decline=0.9)
    scorer = Scorer(write_model(tmp_path, thresholds=thresholds), FEATURES, FINGERPRINT)
    edge = np.array([0.7, 0.9], np.float32)
    below = np.nextafter(edge, np.float32(0))
    assert scorer.decisions(edge) == ["review", "decline"]
    assert scorer.decisions(below) == ["approve", "review"]


def test_a_score_that_is_no_number_goes_to_review(scorer: Scorer) -> None:
    scores = np.array([np.nan, 0.1, np.inf, 0.95, -np.inf], np.float32)
    assert scorer.decisions(scores) == ["review", "approve", "review", "decline", "review"]


@given(st.lists(st.floats(0, 1, width=32), max_size=50))
def test_decisions_agree_with_the_rule_in_plain_words(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    scorer = Scorer(write_model(tmp_path_factory.mktemp("model")), FEATURES, FINGERPRINT)
    scores = np.array(values, np.float32)
    expected = [
        "decline" if value >= np.float32(0.9) else "review" if value >= 0.5 else "approve"
        for value in scores
    ]
    assert scorer.decisions(scores) == expected
    assert [DECISIONS[code] for code in scorer.decision_codes(scores)] == expected


def test_a_pipeline_with_other_features_is_told_which(tmp_path: Path) -> None:
    with pytest.raises(ConflictError) as caught:
        Scorer(write_model(tmp_path), ("amount", "count", "risk"), FINGERPRINT)
    assert caught.value.code == "features_differ"
    assert caught.value.details == {"missing": ["mean"], "unused": ["risk"]}


def test_a_pipeline_with_features_in_another_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="order differs"):
        Scorer(write_model(tmp_path), FEATURES[::-1], FINGERPRINT)


def test_a_pipeline_that_computes_the_same_names_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConflictError) as caught:
        Scorer(write_model(tmp_path), FEATURES, "0" * 64)
    assert caught.value.code == "features_fingerprint_differs"
