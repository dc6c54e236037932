"""How each candidate is made of another one, and why some cannot be made of this model.

A draft is a graph that was compared with what it came from, by the gate of training, unless it was
quantised: 8 bits are no conversion, and their price is what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.optimizing.lines import match_line
from stream_infer.optimizing.material import Material, answers_of, probabilities
from stream_infer.optimizing.neurons import hidden_sizes, side_by_side, slimmer
from stream_infer.optimizing.quantising import dynamic_int8, inner_products, static_int8
from stream_infer.optimizing.reading import Reading, TreeSum
from stream_infer.optimizing.shrinking import (
    depths,
    fewer,
    leaves,
    leaves_refitted,
    shallower,
    weakest_links_cut,
)
from stream_infer.optimizing.squeezing import Softly, fit_softly
from stream_infer.training.calibration import LOG_ODDS, Calibration
from stream_infer.training.candidates import Blend, Fitted, Network, Settings, fit_candidate
from stream_infer.training.distilling import Lesson, imitate, log_odds
from stream_infer.training.forests import LEAF, Tree
from stream_infer.training.graphs import OUTPUT, Part, finished
from stream_infer.training.making import NETWORK_DIFFERENCE_MAX
from stream_infer.training.parity import DIFFERENCE_MAX, Parity, check_parity
from stream_infer.training.scaling import Scaling

TREE_CHUNK, NETWORK_CHUNK = 256, 1_024
"""Rows a call to begin with; see `stream_infer.optimizing.timing.tune_chunk`."""
EPOCHS, FINE_TUNING_EPOCHS = 30, 12
"""A network learns at full pace first, then, as one that lost neurons does, at half of it: on
the handbook's fraud data that alone was worth .003 of average precision."""
REFIT_ROWS = 40_000
SCALING_ROWS = 4_000
SWAPPED = 0.3
"""Of the columns of an augmented row, how many come from another row."""


class DoesNotApplyError(Exception):
    """A candidate cannot be made of this model; the message says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A graph under way.

    content      of `model.onnx`
    fitted       the model in front of the calibration; None where only the graph is known
    calibration  the line behind it
    why          where `fitted` is None, the reason
    parity       what comparing it with what it was made from showed; None where nothing was
                 converted
    row_chunk    rows a call to begin with
    quantised    whether products are in 8 bits
    """

    content: bytes
    fitted: Fitted | None
    calibration: Calibration
    why: str
    parity: Parity | None
    row_chunk: int
    quantised: bool = False

    @property
    def reading(self) -> Reading:
        """The draft as what is read from a graph."""
        return Reading(self.fitted, self.calibration, self.why)

    def shape(self) -> dict[str, Any]:
        """Return how large it is, in trees or neurons."""
        if isinstance(self.fitted, Network):
            return {"neurons": list(hidden_sizes(self.fitted))}
        trees = [] if self.fitted is None else list(self.fitted.trees)
        if not trees:
            return {}
        deepest = max(int(depths(tree).max()) for tree in trees)
        return {"trees": len(trees), "leaves": leaves(trees), "depth": deepest}


Make = Callable[[Material, Draft], Draft]


def original_draft(material: Material) -> Draft:
    """Return the original as a draft."""
    reading = material.reading
    chunk = material.model.manifest.row_chunk
    return Draft(material.content, reading.fitted, reading.calibration, reading.why, None, chunk)


# -- trees --------------------------------------------------------------------------------


def fewer_trees(share: float) -> Make:
    """Keep the first trees of each sum."""

    def make(material: Material, source: Draft) -> Draft:
        def cut(trees: list[Tree]) -> list[Tree]:
            return fewer(trees, material.looked, max(1, round(share * len(trees))))

        return _edited(material, source, cut)

    return make


def fewer_leaves(share: float) -> Make:
    """Cut the splits that matter least, over all trees of a sum."""

    def make(material: Material, source: Draft) -> Draft:
        def cut(trees: list[Tree]) -> list[Tree]:
            goal = max(len(trees), round(share * leaves(trees)))
            return weakest_links_cut(trees, material.looked, goal)

        return _edited(material, source, cut)

    return make


def half_as_deep(material: Material, source: Draft) -> Draft:
    """Cut each tree at half the depth of the deepest."""

    def cut(trees: list[Tree]) -> list[Tree]:
        deepest = max(int(depths(tree).max()) for tree in trees)
        return shallower(trees, material.looked, max(1, (deepest + 1) // 2))

    return _edited(material, source, cut)


def _edited(material: Material, source: Draft, cut: Callable[[list[Tree]], list[Tree]]) -> Draft:
    sums = source.reading.sums
    if not sums:
        raise DoesNotApplyError(source.why or "it is made of layers, not of trees")
    rows = some_rows(material.soft.matrix, material.seed)
    cut_sums = [
        TreeSum(leaves_refitted(cut(list(each.trees)), rows, each.answer(rows))) for each in sums
    ]
    before = leaves([tree for each in sums for tree in each.trees])
    if leaves([tree for each in cut_sums for tree in each.trees]) == before:
        raise DoesNotApplyError("its trees are as small as this would make them")
    fitted = Blend(*cut_sums) if isinstance(source.fitted, Blend) else cut_sums[0]
    return _matched(material, fitted)


def refitted(kind: str, settings: Settings) -> Make:
    """Fit a smaller model of trees on the training days' labels."""

    def make(material: Material, source: Draft) -> Draft:
        sums = source.reading.sums
        if not sums:
            raise DoesNotApplyError(source.why or "it is made of layers, not of trees")
        if kind == "forest" and not any(_is_forest(each) for each in sums):
            raise DoesNotApplyError("none of its trees are a forest's")
        fitted = fit_candidate(kind, settings, material.fit, material.seed, material.threads)
        size = leaves([tree for each in sums for tree in each.trees])
        if leaves(fitted.trees) >= size:
            raise DoesNotApplyError("fitted anew with these settings it would be no smaller")
        return _matched(material, fitted)

    return make


def some_rows(matrix: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return so many of the rows, by chance, as leaves are fitted to."""
    if len(matrix) <= REFIT_ROWS:
        return matrix
    chosen = np.random.default_rng(seed).choice(len(matrix), REFIT_ROWS, replace=False)
    return np.ascontiguousarray(matrix[np.sort(chosen)])


def _is_forest(trees: TreeSum) -> bool:
    """Say whether a sum of trees is a mean of probabilities."""
    highest = sum(float(tree.value[tree.feature == LEAF].max()) for tree in trees.trees)
    lowest = min(float(tree.value[tree.feature == LEAF].min()) for tree in trees.trees)
    return lowest >= 0 and highest <= 1 + DIFFERENCE_MAX


def _matched(material: Material, fitted: Fitted) -> Draft:
    """Return a model of trees behind which a line leads to the original's log odds."""
    line = match_line(answers_of(fitted, material.soft.matrix), material.soft.target)
    return _compared(material, fitted, line, DIFFERENCE_MAX, TREE_CHUNK)


# -- networks -----------------------------------------------------------------------------


def distilled(hidden: tuple[int, ...], *, by_logarithm: bool = False) -> Make:
    """Fit a network on what the original says.

    by_logarithm  whether inputs are squeezed as training does it, not as `squeezing` has it
    """

    def make(material: Material, source: Draft) -> Draft:
        if _is_as_small(source.fitted, hidden, by_logarithm=by_logarithm):
            raise DoesNotApplyError("it is a network as small as this already")
        scaling = None if by_logarithm else fit_softly(material.soft.matrix)
        return _network(material, _imitated(material, material.soft, hidden, scaling))

    return make


def distilled_augmented(hidden: tuple[int, ...]) -> Make:
    """Fit a network on what the original says of real rows and of rows put together of them."""

    def make(material: Material, source: Draft) -> Draft:
        if _is_as_small(source.fitted, hidden, by_logarithm=False):
            raise DoesNotApplyError("it is a network as small as this already")
        together = with_augmented(material)
        return _network(
            material, _imitated(material, together, hidden, fit_softly(together.matrix))
        )

    return make


def distilled_mean(hidden: tuple[int, ...], count: int) -> Make:
    """Fit several networks that differ by their seeds, and make one of them that is their mean."""

    def make(material: Material, source: Draft) -> Draft:
        if source.reading.network is not None:
            raise DoesNotApplyError("it is a network already, and the mean of several is larger")
        together = with_augmented(material)
        scaling = fit_softly(together.matrix)
        seeds = range(material.seed, material.seed + count)
        networks = [
            _imitated(replace(material, seed=seed), together, hidden, scaling) for seed in seeds
        ]
        return _network(material, side_by_side(networks))

    return make


def with_augmented(material: Material) -> Lesson:
    """Return the rows to imitate, with others that are put together of them."""
    soft = material.soft
    more = augmented(soft, material.seed)
    said = log_odds(probabilities(material.model, more))
    return Lesson(
        np.concatenate([soft.matrix, more]),
        np.concatenate([soft.target, said]),
        np.concatenate([soft.weights, np.full(len(more), 0.5)]),
    )


def _imitated(
    material: Material, rows: Lesson, hidden: tuple[int, ...], scaling: Scaling | None
) -> Network:
    begun = imitate(rows, seed=material.seed, hidden=hidden, epochs=EPOCHS, scaling=scaling)
    return imitate(rows, seed=material.seed, epochs=FINE_TUNING_EPOCHS, start=begun)


def augmented(soft: Lesson, seed: int) -> NDArray[np.float32]:
    """Return rows that never were: some columns of one that matters, the others of another one.

    They show the network what the original says between and beside real rows.
    """
    random = np.random.default_rng(seed + 1)
    matter = np.flatnonzero(soft.weights > 1)
    if not len(matter):
        return np.empty((0, soft.matrix.shape[1]), np.float32)
    count = min(len(soft.matrix) // 3, 4 * len(matter))
    one, other = random.choice(matter, count), random.integers(0, len(soft.matrix), count)
    swapped = random.random((count, soft.matrix.shape[1])) < SWAPPED
    made: NDArray[np.float32] = np.where(swapped, soft.matrix[other], soft.matrix[one])
    return made


def _is_as_small(fitted: Fitted | None, hidden: tuple[int, ...], *, by_logarithm: bool) -> bool:
    """Say whether nothing is gained: no more neurons, and inputs that are squeezed as cheaply."""
    if not isinstance(fitted, Network) or sum(hidden_sizes(fitted)) > sum(hidden):
        return False
    return by_logarithm or isinstance(fitted.scaling, Softly)


def fewer_neurons(share: float) -> Make:
    """Remove neurons and let the others learn on from what the original says."""

    def make(material: Material, source: Draft) -> Draft:
        network = source.reading.network
        if network is None:
            raise DoesNotApplyError(source.why or "it is made of trees, not of layers")
        if min(hidden_sizes(network), default=0) < 2:
            raise DoesNotApplyError("it has no two neurons between input and answer")
        smaller = slimmer(network, material.soft.matrix[:SCALING_ROWS], share)
        tuned = imitate(material.soft, seed=material.seed, epochs=FINE_TUNING_EPOCHS, start=smaller)
        return _network(material, tuned)

    return make


def _network(material: Material, fitted: Network) -> Draft:
    return _compared(material, fitted, LOG_ODDS, NETWORK_DIFFERENCE_MAX, NETWORK_CHUNK)


# -- 8 bits -------------------------------------------------------------------------------


def in_int8(*, static: bool) -> Make:
    """Store weights, and where `static` compute inner products too, in 8 bits."""

    def make(material: Material, source: Draft) -> Draft:
        if not inner_products(source.content):
            raise DoesNotApplyError(
                "its graph has no matrix product between layers, and trees have no 8-bit form"
            )
        if static:
            content = static_int8(source.content, material.looked)
        else:
            content = dynamic_int8(source.content)
        return Draft(
            content, None, source.calibration, "its weights are in 8 bits", None, source.row_chunk,
            quantised=True,
        )  # fmt: skip

    return make


# -- the gate -----------------------------------------------------------------------------


def _compared(
    material: Material, fitted: Fitted, line: Calibration, difference_max: float, chunk: int
) -> Draft:
    """Return the draft, its graph compared with the model on rows and at every split.

    Raises  GateFailedError ``export_differs``
    """
    content = finished(
        line.add_to(fitted.add_to(Part())).then("Sigmoid", name=OUTPUT), material.width
    )

    def answer(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return line.apply(fitted.answer(rows))

    parity = check_parity(
        content,
        answer,
        fitted.trees,
        material.looked,
        material.model.thresholds,
        difference_max=difference_max,
    )
    return Draft(content, fitted, line, "", parity, chunk)
