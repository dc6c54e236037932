from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.records import KeyPartitioner
from stream_infer.scoring.session import Scorer
from stream_infer.serving.router import Router, Serving
from stream_infer.serving.sides import KeySides
from support.onnx_models import FEATURES, FINGERPRINT, write_model
from support.registries import model_content

KEYS = [f"customer-{number}" for number in range(5_000)]


class Fails:
    """Stands in for a session whose every run fails."""

    def run(self, *_: Any) -> Any:
        raise RuntimeError("the model does not like these rows")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Scorer]:
    root = tmp_path_factory.mktemp("models")
    return [
        Scorer(
            write_model(root / str(number), model_content(number), version=str(number)),
            FEATURES,
            FINGERPRINT,
        )
        for number in (1, 2, 3, 4)
    ]


def broken(scorer: Scorer) -> Scorer:
    model = dataclasses.replace(scorer.model, session=Fails())
    return Scorer(model, FEATURES, FINGERPRINT)


def rows(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(7).uniform(0, 50, (n, 3))


@given(
    share=st.floats(0, 1),
    keys=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=200),
    cut=st.integers(0, 200),
)
@settings(max_examples=60, deadline=None)
def test_each_row_is_scored_as_its_version_alone_would_however_batches_are_cut(
    versions: list[Scorer], share: float, keys: list[str], cut: int
) -> None:
    champion, challenger = versions[:2]
    router = Router(Serving(champion, challenger, share))
    matrix = rows(len(keys))
    tried = KeySides(challenger.version).tried(keys, share)
    alone = np.where(tried, challenger.score(matrix), champion.score(matrix))
    parts = [slice(0, min(cut, len(keys))), slice(min(cut, len(keys)), len(keys))]
    found = [router.route(keys[part], matrix[part]) for part in parts]
    assert np.concatenate([each.scores for each in found]).tolist() == alone.tolist()
    stamped: list[str] = []
    for each, part in zip(found, parts, strict=True):
        given = each.versions()
        stamped += [given] * len(keys[part]) if isinstance(given, str) else given
    assert stamped == ["2" if on else "1" for on in tried]


def test_a_key_stays_on_its_side_and_a_larger_share_only_adds_keys() -> None:
    sides = KeySides("2")
    small, large = sides.tried(KEYS, 0.05), sides.tried(KEYS, 0.3)
    assert (large | ~small).all()
    assert sides.tried(KEYS, 0.05).tolist() == KeySides("2").tried(KEYS, 0.05).tolist()
    assert not sides.tried(KEYS, 0.0).any()
    assert sides.tried(KEYS, 1.0).all()


def test_a_share_of_the_keys_is_that_share_in_every_partition() -> None:
    tried = KeySides("2").tried(KEYS, 0.2)
    partitions = np.array([place for _, place in KeyPartitioner(8).place(KEYS)])
    for partition in range(8):
        of_it = tried[partitions == partition]
        # Five standard deviations of a binomial share of some 625 keys.
        assert abs(of_it.mean() - 0.2) < 5 * (0.16 / len(of_it)) ** 0.5


def test_another_version_is_tried_on_other_keys() -> None:
    first, second = KeySides("2").tried(KEYS, 0.5), KeySides("3").tried(KEYS, 0.5)
    assert 0.45 < (first == second).mean() < 0.55


def test_decisions_follow_the_thresholds_of_the_version_that_scored(
    versions: list[Scorer],
) -> None:
    champion, challenger = versions[:2]
    routed = Router(Serving(champion, challenger, 0.5)).route(KEYS, rows(len(KEYS)))
    stamped = routed.versions()
    for scorer in (champion, challenger):
        those = [row for row, version in enumerate(stamped) if version == scorer.version]
        words = scorer.decisions(routed.scores[those])
        assert those
        assert [routed.decisions[row] for row in those] == words


def test_rows_are_explained_by_the_version_that_scored_them(versions: list[Scorer]) -> None:
    matrix = rows(len(KEYS))
    routed = Router(Serving(versions[0], versions[1], 0.5)).route(KEYS, matrix)
    chosen = [7, 3, *range(100, 200)]
    groups = routed.by_version(chosen)
    assert sorted(row for _, those in groups for row in those) == sorted(chosen)
    for score, those in groups:
        assert score(matrix[those]).tolist() == routed.scores[those].tolist()


def test_a_challenger_that_fails_costs_nobody_an_answer(versions: list[Scorer]) -> None:
    champion, challenger = versions[0], broken(versions[1])
    router = Router(Serving(champion, challenger, 0.5), counts=True)
    matrix = rows(len(KEYS))
    routed = router.route(KEYS, matrix)
    assert routed.scores.tolist() == champion.score(matrix).tolist()
    assert routed.versions() == "1"
    tallies = router.take()
    assert tallies[challenger].errors == KeySides("2").tried(KEYS, 0.5).sum()
    assert tallies[champion].rows == len(KEYS)


def test_a_champion_that_fails_is_an_error(versions: list[Scorer]) -> None:
    router = Router(Serving(broken(versions[0]), versions[1], 0.5))
    with pytest.raises(RuntimeError):
        router.route(KEYS, rows(len(KEYS)))


def test_a_shadow_scores_beside_and_changes_nothing(versions: list[Scorer]) -> None:
    champion, shadow = versions[0], versions[2]
    matrix = rows(100)
    alone = Router(Serving(champion)).route(KEYS[:100], matrix)
    routed = Router(Serving(champion, shadow=shadow)).route(KEYS[:100], matrix)
    assert routed.scores.tolist() == alone.scores.tolist()
    assert (routed.decisions, routed.versions()) == (alone.decisions, "1")
    assert routed.shadow is not None
    assert routed.shadow.scores.tolist() == shadow.score(matrix).tolist()
    silent = Router(Serving(champion, shadow=broken(shadow))).route(KEYS[:100], matrix)
    assert (silent.shadow, silent.versions()) == (None, "1")


def test_the_fast_model_serves_under_overload_and_says_so(versions: list[Scorer]) -> None:
    router = Router(Serving(versions[0], fast=versions[3]))
    assert router.route(KEYS[:10], rows(10)).versions() == "1"
    router.is_overloaded = True
    assert router.route(KEYS[:10], rows(10)).versions() == "4"
    router.serve(Serving(versions[0]))
    assert router.route(KEYS[:10], rows(10)).versions() == "1"


def test_the_next_batch_after_an_exchange_is_scored_by_the_new_version(
    versions: list[Scorer],
) -> None:
    router = Router(Serving(versions[0]))
    before = router.route(KEYS[:10], rows(10))
    router.serve(Serving(versions[1]))
    after = router.route(KEYS[:10], rows(10))
    assert (before.versions(), after.versions()) == ("1", "2")


def test_no_rows_are_no_work(versions: list[Scorer]) -> None:
    routed = Router(Serving(versions[0], versions[1], 0.5)).route([], np.empty((0, 3)))
    assert (len(routed.scores), routed.decisions) == (0, [])


def test_a_tally_counts_rows_alerts_numbers_and_bins(versions: list[Scorer]) -> None:
    ticks = iter(range(100))
    router = Router(Serving(versions[0]), counts=True, seconds=lambda: next(ticks) / 10)
    matrix = rows(1_000)
    matrix[:3] = np.nan
    routed = router.route(KEYS[:1_000], matrix)
    tally = router.take()[versions[0]]
    assert (tally.rows, tally.not_finite, tally.errors) == (1_000, 3, 0)
    assert tally.alerts == sum(word != "approve" for word in routed.decisions)
    assert tally.scores.sum() == 997
    assert tally.seconds == pytest.approx(0.1)
    assert 0 < tally.sampled <= 256
    assert router.take() == {}
