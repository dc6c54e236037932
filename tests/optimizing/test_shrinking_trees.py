"""Trees that are cut back are smaller as arrays, keep their mean, and lose the least first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from stream_infer.optimizing.reading import TreeSum
from stream_infer.optimizing.shrinking import (
    collapsed,
    depths,
    fewer,
    leaves,
    leaves_refitted,
    passed,
    shallower,
    weakest_links_cut,
)
from stream_infer.training.forests import LEAF, Tree, float32_below


def rows(n: int = 600) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)


def target(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    noise = np.random.default_rng(1).normal(0, 0.1, len(matrix))
    return np.where(matrix[:, 0] > 0, 2.0, 0.0) + 0.5 * np.abs(matrix[:, 1]) + noise


def grown(matrix: NDArray[np.float32], seed: int = 0, **settings: Any) -> tuple[Tree, Any]:
    learner = DecisionTreeRegressor(random_state=seed, min_samples_leaf=5, **settings)
    learner.fit(matrix, target(matrix))
    nodes = learner.tree_
    leaf = nodes.children_left < 0
    tree = Tree(
        np.where(leaf, LEAF, nodes.feature).astype(np.int64),
        float32_below(np.where(leaf, 0.0, nodes.threshold)),
        np.where(leaf, 0, nodes.children_left).astype(np.int64),
        np.where(leaf, 0, nodes.children_right).astype(np.int64),
        np.zeros(len(leaf), np.bool_),
        np.where(leaf, nodes.value[:, 0, 0], 0.0),
    )
    return tree, learner


def answer(tree: Tree, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    return TreeSum([tree]).answer(matrix)


def test_what_rows_show_of_a_node_is_their_number_mean_and_spread() -> None:
    matrix = rows()
    tree, _ = grown(matrix)
    seen = passed(tree, matrix)
    said = answer(tree, matrix)
    for node, there in enumerate(tree.rows_at(matrix)):
        assert seen.weight[node] == pytest.approx(len(there), abs=1e-3)
        assert seen.mean[node] == pytest.approx(said[there].mean())
        assert seen.spread[node] == pytest.approx(((said[there] - said[there].mean()) ** 2).sum(),
                                                  abs=1e-6)  # fmt: skip


@pytest.mark.parametrize("goal", [2, 5, 13])
def test_cutting_the_weakest_links_is_cost_complexity_pruning_of_the_tree(goal: int) -> None:
    matrix = rows()
    tree, learner = grown(matrix)
    # The library's path of growing alphas: the first tree on it that is no larger than the goal.
    path = learner.cost_complexity_pruning_path(matrix, target(matrix))
    for alpha in path.ccp_alphas:
        _, meant = grown(matrix, ccp_alpha=alpha * (1 + 1e-9))
        if meant.get_n_leaves() <= goal:
            break
    else:
        raise AssertionError
    (cut,) = weakest_links_cut([tree], matrix, goal)
    assert leaves([cut]) == meant.get_n_leaves()
    np.testing.assert_allclose(answer(cut, matrix), meant.predict(matrix), atol=1e-6)


def test_over_several_trees_the_least_worthy_split_of_all_goes_first() -> None:
    matrix = rows()
    tree, _ = grown(matrix)
    small = Tree(tree.feature, tree.threshold, tree.left, tree.right, tree.nan_left,
                 tree.value * 1e-3)  # fmt: skip
    first, second = weakest_links_cut([tree, small], matrix, leaves([tree]) + 1)
    assert leaves([second]) == 1
    assert leaves([first]) == leaves([tree])


def test_no_more_is_cut_than_asked_and_nothing_when_nothing_is_asked() -> None:
    matrix = rows()
    tree, _ = grown(matrix)
    (same,) = weakest_links_cut([tree], matrix, leaves([tree]))
    np.testing.assert_array_equal(same.value, tree.value)
    (least,) = weakest_links_cut([tree], matrix, 1)
    assert len(least.feature) == 1
    assert least.value[0] == pytest.approx(answer(tree, matrix).mean())


def test_a_shallower_tree_has_no_longer_way_and_the_same_mean() -> None:
    matrix = rows()
    tree, _ = grown(matrix)
    (cut,) = shallower([tree], matrix, 3)
    assert depths(cut).max() == 3
    assert len(cut.feature) < len(tree.feature)
    assert answer(cut, matrix).mean() == pytest.approx(answer(tree, matrix).mean())


def test_fewer_trees_answer_on_the_scale_of_all() -> None:
    matrix = rows()
    trees = [grown(matrix, seed=seed, max_features=1)[0] for seed in range(8)]
    kept = fewer(trees, matrix, 2)
    whole, part = TreeSum(trees).answer(matrix), TreeSum(kept).answer(matrix)
    assert len(kept) == 2
    assert part.mean() == pytest.approx(whole.mean())
    assert np.polyfit(part, whole, 1)[0] == pytest.approx(1.0)


def test_leaves_that_no_row_reaches_do_no_harm() -> None:
    matrix = rows()
    tree, _ = grown(matrix)
    few = matrix[:3]
    (cut,) = weakest_links_cut([tree], few, 10)
    assert np.isfinite(cut.value).all()
    np.testing.assert_allclose(answer(cut, few), answer(tree, few))


def test_a_cut_node_takes_all_below_it_along() -> None:
    matrix = rows()
    tree, _ = grown(matrix)
    cut = np.zeros(len(tree.feature), np.bool_)
    cut[tree.left[0]] = True
    mean = passed(tree, matrix).mean
    small = collapsed(tree, cut, mean)
    below = tree.rows_at(matrix)[int(tree.left[0])]
    np.testing.assert_allclose(answer(small, matrix)[below], mean[tree.left[0]])
    rest = np.setdiff1d(np.arange(len(matrix)), below)
    np.testing.assert_array_equal(answer(small, matrix)[rest], answer(tree, matrix)[rest])


def test_leaves_that_are_refitted_bring_cut_trees_nearer_to_what_they_were() -> None:
    matrix = rows()
    trees = [grown(matrix, seed=seed, max_features=1)[0] for seed in range(6)]
    whole = TreeSum(trees).answer(matrix)
    cut = weakest_links_cut(trees, matrix, leaves(trees) // 6)
    again = leaves_refitted(cut, matrix, whole)
    before, after = (
        float(((TreeSum(each).answer(matrix) - whole) ** 2).mean()) for each in (cut, again)
    )
    assert after < 0.8 * before
    assert leaves(again) == leaves(cut)
    same = leaves_refitted(trees, matrix, whole)
    for one, other in zip(same, trees, strict=True):
        np.testing.assert_allclose(one.value, other.value, atol=1e-9)
