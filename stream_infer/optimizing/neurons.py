"""Networks with fewer neurons: rows and columns of the weights are gone, the rest learns on.

A neuron matters by how much its answer changes over the rows, times how strongly the next layer
listens to it. What a removed one says on average moves into the next layer's biases, so that the
network begins its further learning close to what it was.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_infer.training.candidates import Network


def slimmer(network: Network, rows: NDArray[np.float32], share: float) -> Network:
    """Return the network with a share of the neurons of each layer between, at least one.

    rows  (n, F) float32, by which neurons are judged
    """
    layers = [(np.array(weights), np.array(biases)) for weights, biases in network.layers]
    values = network.scaling.apply(rows)
    for at in range(len(layers) - 1):
        weights, biases = layers[at]
        values = np.maximum(values @ weights + biases, 0.0)
        onward, onward_biases = layers[at + 1]
        matters = values.std(axis=0) * np.linalg.norm(onward, axis=1)
        wanted = max(1, math.ceil(share * len(biases)))
        kept = np.sort(np.argsort(-matters, kind="stable")[:wanted])
        gone = np.setdiff1d(np.arange(len(biases)), kept)
        layers[at] = (weights[:, kept], biases[kept])
        layers[at + 1] = (
            onward[kept],
            onward_biases + values[:, gone].mean(axis=0) @ onward[gone],
        )
        values = values[:, kept]
    return Network(network.scaling, layers)
