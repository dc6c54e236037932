"""A small network that imitates a model: as good on nearly all rows, and many times quicker.

It learns the model's calibrated log odds, not the labels: these say of every row how suspicious it
is, also of rows without a label, so that many more can be learnt from than the training days hold.
Rows that matter are learnt from most (weights below), and of the clearly genuine ones a share.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from stream_infer.training.calibration import Calibration
from stream_infer.training.candidates import Fitted, Network
from stream_infer.training.samples import Samples
from stream_infer.training.scaling import Scaling, fit_scaling

HIDDEN = (64, 32)
EPOCHS = 40
FULL_PACE_EPOCHS, FINE_TUNING_EPOCHS = 30, 12
"""A network learns at full pace first, then, as one that lost neurons does, at half of it: on
the handbook's fraud data that alone was worth .003 of average precision."""
CLIP = (-9.0, 6.0)
"""Log odds beyond which nothing is imitated: no decision changes there."""
PLAIN_SHARE = 0.15
"""Of the clearly genuine rows, how many are learnt from."""
SUSPICIOUS = (-5.5, -3.0, -1.0)
"""Log odds from which rows weigh 1, 2 and 4."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a network is to imitate.

    matrix   (n, F) float32
    target   (n,) float64, log odds inside `CLIP`
    weights  (n,) float64, how much a row matters
    """

    matrix: NDArray[np.float32]
    target: NDArray[np.float64]
    weights: NDArray[np.float64]


def lesson(
    matrix: NDArray[np.float32], probability: NDArray[np.floating[Any]], *, seed: int
) -> Lesson:
    """Return the rows that a network learns from: all that matter, and a share of the others.

    probability  (n,), what is to be imitated
    """
    target = log_odds(probability)
    random = np.random.default_rng(seed)
    kept = (target > SUSPICIOUS[0]) | (random.random(len(matrix)) < PLAIN_SHARE)
    target = target[kept]
    weights = np.select([target > SUSPICIOUS[2], target > SUSPICIOUS[1]], [4.0, 2.0], 1.0)
    return Lesson(matrix[kept], target, weights)


def distil(model: Fitted, calibration: Calibration, pool: Samples, *, seed: int) -> Network:
    """Return a network whose answers are the model's calibrated log odds.

    pool  rows, whatever is known of their truth; none from the days that will be measured on
    """
    probability = calibration.apply(model.answer(pool.matrix))
    return imitate(lesson(pool.matrix, probability, seed=seed), seed=seed)


def imitate(
    rows: Lesson,
    *,
    seed: int,
    hidden: tuple[int, ...] = HIDDEN,
    epochs: int = EPOCHS,
    start: Network | None = None,
    scaling: Scaling | None = None,
) -> Network:
    """Return a network that answers the lesson's rows as is written there.

    hidden   neurons of each layer between
    start    a network to begin with in place of chance; `hidden` and `scaling` are then its own
    scaling  of the inputs; fitted to the rows unless given
    """
    scaling = start.scaling if start is not None else scaling or fit_scaling(rows.matrix)
    centre, size = float(rows.target.mean()), max(float(rows.target.std()), 1e-6)
    wanted = (rows.target - centre) / size
    inputs = scaling.apply(rows.matrix)
    network = MLPRegressor(
        hidden_layer_sizes=hidden if start is None else hidden_sizes(start),
        batch_size=min(512, len(inputs)),
        learning_rate_init=2e-3 if start is None else 1e-3,
        max_iter=epochs,
        alpha=1e-6,
        random_state=seed,
        warm_start=start is not None,
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        # So many epochs are meant, and no more.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if start is not None:
            _begin_with(network, start, inputs, wanted, centre, size)
        network.fit(inputs, wanted, sample_weight=rows.weights)
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    last, bias = layers[-1]
    return Network(scaling, [*layers[:-1], (last * size, bias * size + centre)])


def imitate_at_two_paces(
    rows: Lesson, *, seed: int, hidden: tuple[int, ...], scaling: Scaling | None
) -> Network:
    """Return a network as `imitate` does that learnt on afterwards; see the constants."""
    begun = imitate(rows, seed=seed, hidden=hidden, epochs=FULL_PACE_EPOCHS, scaling=scaling)
    return learnt_on(rows, seed=seed, start=begun)


def learnt_on(rows: Lesson, *, seed: int, start: Network) -> Network:
    """Return the network after further learning at half of the pace."""
    return imitate(rows, seed=seed, epochs=FINE_TUNING_EPOCHS, start=start)


def hidden_sizes(network: Network) -> tuple[int, ...]:
    """Return the neurons of each layer between input and answer."""
    return tuple(len(biases) for _, biases in network.layers[:-1])


def _begin_with(
    learner: Any,
    start: Network,
    inputs: NDArray[np.float64],
    wanted: NDArray[np.float64],
    centre: float,
    size: float,
) -> None:
    """Put a network's weights into a learner, which must have been fitted to have any."""
    epochs = learner.max_iter
    some = min(len(inputs), learner.batch_size)
    learner.set_params(max_iter=1).fit(inputs[:some], wanted[:some])
    last, bias = start.layers[-1]
    layers = [*start.layers[:-1], (last / size, (bias - centre) / size)]
    learner.coefs_ = [np.array(weights) for weights, _ in layers]
    learner.intercepts_ = [np.array(biases) for _, biases in layers]
    learner.set_params(max_iter=epochs)


def log_odds(probability: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return log odds inside `CLIP`, (n,) float64."""
    clipped = np.clip(np.asarray(probability, np.float64), 1e-12, 1 - 1e-12)
    odds: NDArray[np.float64] = np.clip(np.log(clipped / (1 - clipped)), *CLIP)
    return odds
