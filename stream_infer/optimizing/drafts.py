"""How each candidate is made of another one, and why some cannot be made of this model.

A draft is a graph that was compared with what it came from, by the gate of training, unless it was
quantised: 8 bits are no conversion, and their price is what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.optimizing.material import Material, probabilities
from stream_infer.optimizing.neurons import slimmer
from stream_infer.optimizing.quantising import dynamic_int8, inner_products, static_int8
from stream_infer.optimizing.reading import Reading
from stream_infer.optimizing.shrinking import depths, leaves
from stream_infer.training.averaging import imitate_by_mean, with_augmented
from stream_infer.training.calibration import LOG_ODDS, Calibration
from stream_infer.training.candidates import Fitted, Network
from stream_infer.training.distilling import (
    Lesson,
    hidden_sizes,
    imitate_at_two_paces,
    learnt_on,
)
from stream_infer.training.graphs import OUTPUT, Part, finished
from stream_infer.training.making import NETWORK_DIFFERENCE_MAX
from stream_infer.training.parity import Parity, check_parity
from stream_infer.training.scaling import Scaling
from stream_infer.training.squeezing import Softly, fit_softly

NETWORK_CHUNK = 1_024
"""Rows a call to begin with; see `stream_infer.optimizing.timing.tune_chunk`."""
SCALING_ROWS = 4_000


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


# -- networks -----------------------------------------------------------------------------


def distilled(hidden: tuple[int, ...], *, by_logarithm: bool = False) -> Make:
    """Fit a network on what the original says.

    by_logarithm  whether inputs are squeezed as training does it, not as `squeezing` has it
    """

    def make(material: Material, source: Draft) -> Draft:
        if _is_as_small(source.fitted, hidden, by_logarithm=by_logarithm):
            raise DoesNotApplyError("it is a network as small as this already")
        scaling = None if by_logarithm else fit_softly(material.soft.matrix)
        return _imitated(material, material.soft, hidden, scaling)

    return make


def distilled_augmented(hidden: tuple[int, ...]) -> Make:
    """Fit a network on what the original says of real rows and of rows put together of them."""

    def make(material: Material, source: Draft) -> Draft:
        if _is_as_small(source.fitted, hidden, by_logarithm=False):
            raise DoesNotApplyError("it is a network as small as this already")
        together = _with_augmented(material)
        return _imitated(material, together, hidden, fit_softly(together.matrix))

    return make


def distilled_mean(hidden: tuple[int, ...], count: int) -> Make:
    """Fit several networks that differ by their seeds, and make one of them that is their mean."""

    def make(material: Material, source: Draft) -> Draft:
        if source.reading.network is not None:
            raise DoesNotApplyError("it is a network already, and the mean of several is larger")
        together = _with_augmented(material)
        mean = imitate_by_mean(together, hidden=hidden, count=count, seed=material.seed)
        return _network(material, mean)

    return make


def _with_augmented(material: Material) -> Lesson:
    """Return the rows to imitate, with others that are put together of them."""
    return with_augmented(
        material.soft, lambda rows: probabilities(material.model, rows), seed=material.seed
    )


def _imitated(
    material: Material, rows: Lesson, hidden: tuple[int, ...], scaling: Scaling | None
) -> Draft:
    network = imitate_at_two_paces(rows, seed=material.seed, hidden=hidden, scaling=scaling)
    return _network(material, network)


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
        tuned = learnt_on(material.soft, seed=material.seed, start=smaller)
        return _network(material, tuned)

    return make


def _network(material: Material, fitted: Network) -> Draft:
    return compared(material, fitted, LOG_ODDS, NETWORK_DIFFERENCE_MAX, NETWORK_CHUNK)


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


def compared(
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
