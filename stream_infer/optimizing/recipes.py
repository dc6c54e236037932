"""The candidates that are tried, in the order in which they are made."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.errors import UsageError
from stream_infer.optimizing.drafts import (
    Make,
    distilled,
    distilled_augmented,
    distilled_mean,
    fewer_neurons,
    in_int8,
)
from stream_infer.optimizing.tree_drafts import (
    fewer_leaves,
    fewer_trees,
    half_as_deep,
    refitted,
)

ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One candidate.

    source  the candidate that it is made of
    how     in words
    """

    name: str
    source: str
    how: str
    make: Make


SMALL_TREES = {"trees": 100, "leaves": 7, "rate": 0.05, "inputs": 0.3, "weight": 1}
SMALL_FOREST = {"trees": 25, "leaf_rows": 10, "inputs": 0.4, "weight": 1}

_INT8 = ("weights in 8 bits", "weights and inner products in 8 bits, scaled on training rows")

RECIPES: tuple[Recipe, ...] = (
    Recipe("dynamic-int8", ORIGINAL, _INT8[0], in_int8(static=False)),
    Recipe("static-int8", ORIGINAL, _INT8[1], in_int8(static=True)),
    Recipe("half-trees", ORIGINAL, "the first half of the trees", fewer_trees(0.5)),
    Recipe("quarter-trees", ORIGINAL, "the first quarter of the trees", fewer_trees(0.25)),
    Recipe("shallow-trees", ORIGINAL, "each tree half as deep", half_as_deep),
    Recipe("half-leaves", ORIGINAL, "half of the leaves, by cost-complexity", fewer_leaves(0.5)),
    Recipe("quarter-leaves", ORIGINAL, "a quarter of the leaves, by cost-complexity",
           fewer_leaves(0.25)),
    Recipe("half-trees+half-leaves", "half-trees", "the first half of the trees, then of leaves",
           fewer_leaves(0.5)),
    Recipe("refitted-trees", ORIGINAL, "100 boosted trees of 7 leaves, fitted anew",
           refitted("trees", SMALL_TREES)),
    Recipe("refitted-forest", ORIGINAL, "a forest of 25 trees, fitted anew",
           refitted("forest", SMALL_FOREST)),
    Recipe("half-neurons", ORIGINAL, "half of the neurons, fine-tuned", fewer_neurons(0.5)),
    Recipe("quarter-neurons", ORIGINAL, "a quarter of the neurons, fine-tuned",
           fewer_neurons(0.25)),
    Recipe("half-neurons+static-int8", "half-neurons", "half of the neurons, in 8 bits",
           in_int8(static=True)),
    Recipe("distilled", ORIGINAL, "a network of 64 and 32 neurons that imitates it",
           distilled((64, 32))),
    Recipe("distilled-augmented", ORIGINAL, "the same, also on rows put together of others",
           distilled_augmented((64, 32))),
    Recipe("distilled-pair", ORIGINAL, "the mean of two such networks of 32 and 16 neurons",
           distilled_mean((32, 16), 2)),
    Recipe("distilled-mean", ORIGINAL, "the mean of three such networks of 48 and 24 neurons",
           distilled_mean((48, 24), 3)),
    Recipe("distilled-log", ORIGINAL, "the same with logarithms of its inputs, as training has it",
           distilled((64, 32), by_logarithm=True)),
    Recipe("distilled-small", ORIGINAL, "a network of 32 and 16 neurons that imitates it",
           distilled((32, 16))),
    Recipe("distilled+half-neurons", "distilled", "the network with half of its neurons",
           fewer_neurons(0.5)),
    Recipe("distilled+dynamic-int8", "distilled", _INT8[0], in_int8(static=False)),
    Recipe("distilled+static-int8", "distilled", _INT8[1], in_int8(static=True)),
    Recipe("distilled+half-neurons+static-int8", "distilled+half-neurons",
           "half of its neurons, in 8 bits", in_int8(static=True)),
)  # fmt: skip


def chosen_recipes(names: tuple[str, ...] | None) -> list[Recipe]:
    """Return the recipes of these names, and those that they are made of; all for None.

    Raises  UsageError ``unknown_candidate``
    """
    if names is None:
        return list(RECIPES)
    known = {recipe.name: recipe for recipe in RECIPES}
    wanted: set[str] = set()
    for name in names:
        at = name
        while at != ORIGINAL:
            if at not in known:
                raise UsageError(
                    "unknown_candidate",
                    f"{name!r} is no candidate.",
                    f"Name some of: {', '.join(known)}.",
                    given=name,
                )
            wanted.add(at)
            at = known[at].source
    return [recipe for recipe in RECIPES if recipe.name in wanted]
