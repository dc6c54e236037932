"""The mean of a few small networks that imitate the same model, as one network in one graph.

What one network loses of its teacher differs by its seed, by some .002 of average precision on the
handbook's fraud data. The mean of several loses less than most of them do. They learn also on rows
that never were, and squeeze their inputs in one step, which pays for part of the time that more
neurons take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from stream_infer.training.calibration import Calibration
from stream_infer.training.candidates import Fitted, Network
from stream_infer.training.distilling import Lesson, imitate_at_two_paces, lesson, log_odds
from stream_infer.training.samples import Samples
from stream_infer.training.squeezing import fit_softly

HIDDEN = (48, 24)
"""Neurons of each of the networks: three of them were the best on the handbook's validation days
among those that answer two million rows a second."""
SWAPPED = 0.3
"""Of the columns of an augmented row, how many come from another row."""
AUGMENTED_WEIGHT = 0.5
MEAN_TIMES = 6
"""How many times as many rows are put together for the mean of several as for one network: on
earlier weeks of the handbook's data it lost less with six than with one (docs/models.md)."""

Say = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""(n, F) float32 rows -> (n,) probabilities of the model that is imitated."""


def distil_mean(
    model: Fitted, calibration: Calibration, pool: Samples, *, count: int, seed: int
) -> Network:
    """Return the mean of several networks whose answers are the model's calibrated log odds.

    Where `distil` makes one network of real rows alone, quicker to fit and to run, this one is
    closer to the model.

    pool   rows, whatever is known of their truth; none from the days that will be measured on
    count  of networks, of `HIDDEN` neurons each
    """

    def say(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return calibration.apply(model.answer(rows))

    soft = lesson(pool.matrix, say(pool.matrix), seed=seed)
    together = with_augmented(soft, say, seed=seed, times=MEAN_TIMES)
    return imitate_by_mean(together, hidden=HIDDEN, count=count, seed=seed)


def imitate_by_mean(rows: Lesson, *, hidden: tuple[int, ...], count: int, seed: int) -> Network:
    """Return the mean of networks that learn the same rows and differ by their seeds.

    hidden  neurons of each layer between, of each network
    seed    of the first; each further one has the next
    """
    scaling = fit_softly(rows.matrix)
    return side_by_side(
        [
            imitate_at_two_paces(rows, seed=seed + at, hidden=hidden, scaling=scaling)
            for at in range(count)
        ]
    )


def with_augmented(soft: Lesson, say: Say, *, seed: int, times: int = 1) -> Lesson:
    """Return the rows to imitate, with others that are put together of them.

    say    what the model that is imitated answers
    times  how many times as many as `augmented` makes by itself
    """
    more = augmented(soft, seed, times)
    return Lesson(
        np.concatenate([soft.matrix, more]),
        np.concatenate([soft.target, log_odds(say(more))]),
        np.concatenate([soft.weights, np.full(len(more), AUGMENTED_WEIGHT)]),
    )


def augmented(soft: Lesson, seed: int, times: int = 1) -> NDArray[np.float32]:
    """Return rows that never were: some columns of one that matters, the others of another one.

    They show the network what the original says between and beside real rows.

    times  how many: so many times a third of the rows, or four times those that matter if that is
           less
    """
    random = np.random.default_rng(seed + 1)
    matter = np.flatnonzero(soft.weights > 1)
    if not len(matter):
        return np.empty((0, soft.matrix.shape[1]), np.float32)
    count = times * min(len(soft.matrix) // 3, 4 * len(matter))
    one, other = random.choice(matter, count), random.integers(0, len(soft.matrix), count)
    swapped = random.random((count, soft.matrix.shape[1])) < SWAPPED
    made: NDArray[np.float32] = np.where(swapped, soft.matrix[other], soft.matrix[one])
    return made


def side_by_side(networks: Sequence[Network]) -> Network:
    """Return one network whose answer is the mean of those of others of the same form.

    Their inputs must be scaled alike. Layers between are blocks: neurons of one network do not
    listen to those of another.
    """
    layers = []
    last = len(networks[0].layers) - 1
    for at in range(last + 1):
        weights = [each.layers[at][0] for each in networks]
        biases = [each.layers[at][1] for each in networks]
        if at == last:
            share = 1.0 / len(networks)
            layers.append((np.concatenate(weights) * share, np.mean(biases, axis=0)))
        else:
            joined = np.concatenate(weights, axis=1) if at == 0 else block_diag(*weights)
            layers.append((joined, np.concatenate(biases)))
    return Network(networks[0].scaling, layers)
