"""A small network that imitates a model: as good on nearly all rows, and many times quicker.

It learns the model's calibrated log odds, not the labels: these say of every row how suspicious it
is, also of rows without a label, so that many more can be learnt from than the training days hold.
Rows that matter are learnt from most (weights below), and of the clearly genuine ones a share.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from stream_infer.training.calibration import Calibration
from stream_infer.training.candidates import Fitted, Network
from stream_infer.training.samples import Samples
from stream_infer.training.scaling import fit_scaling

HIDDEN = (64, 32)
EPOCHS = 40
CLIP = (-9.0, 6.0)
"""Log odds beyond which nothing is imitated: no decision changes there."""
PLAIN_SHARE = 0.15
"""Of the clearly genuine rows, how many are learnt from."""
SUSPICIOUS = (-5.5, -3.0, -1.0)
"""Log odds from which rows weigh 1, 2 and 4."""


def distil(model: Fitted, calibration: Calibration, pool: Samples, *, seed: int) -> Network:
    """Return a network whose answers are the model's calibrated log odds.

    pool  rows, whatever is known of their truth; none from the days that will be measured on
    """
    target = _log_odds(calibration.apply(model.answer(pool.matrix)))
    random = np.random.default_rng(seed)
    kept = (target > SUSPICIOUS[0]) | (random.random(len(pool)) < PLAIN_SHARE)
    chosen, target = pool.matrix[kept], target[kept]
    weights = np.select([target > SUSPICIOUS[2], target > SUSPICIOUS[1]], [4.0, 2.0], 1.0)
    scaling = fit_scaling(chosen)
    centre, size = float(target.mean()), max(float(target.std()), 1e-6)
    network = MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        batch_size=min(512, len(chosen)),
        learning_rate_init=2e-3,
        max_iter=EPOCHS,
        alpha=1e-6,
        random_state=seed,
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        # So many epochs are meant, and no more.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(scaling.apply(chosen), (target - centre) / size, sample_weight=weights)
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    last, bias = layers[-1]
    return Network(scaling, [*layers[:-1], (last * size, bias * size + centre)])


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    odds: NDArray[np.float64] = np.clip(np.log(clipped / (1 - clipped)), *CLIP)
    return odds
