"""The declared settings of each kind, tried on validation folds that end with the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import InvalidDataError
from stream_infer.training.candidates import (
    DECLARED,
    Blend,
    Boosted,
    Fitted,
    Forest,
    Settings,
    fit_candidate,
)
from stream_infer.training.days import DAY_MS, Protocol
from stream_infer.training.figures import measure
from stream_infer.training.samples import Samples, fit_rows, score_rows

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold's days and rows."""

    protocol: Protocol
    fit: Samples
    validate: Samples


@dataclass(frozen=True, slots=True)
class Tried:
    """What one kind with its settings was on the folds.

    figures  of each fold
    answers  (n,) float64 on the validation rows of all folds, one after the other
    """

    kind: str
    settings: Settings
    figures: tuple[dict[str, float], ...]
    answers: NDArray[np.float64]

    def mean(self, figure: str) -> float:
        """Return the mean of a figure over the folds."""
        return float(np.mean([each[figure] for each in self.figures]))

    def facts(self) -> dict[str, Any]:
        """Return what a report says of it."""
        means = {name: round(self.mean(name), 4) for name in self.figures[0]}
        return {"kind": self.kind, "settings": dict(self.settings), "folds": self.figures} | means


def cut_folds(samples: Samples, protocols: Sequence[Protocol], *, keep_known: bool) -> list[Fold]:
    """Return the rows of each fold; folds whose rows are all of one class are left out.

    Raises  InvalidDataError ``no_folds``
    """
    folds, why = [], None
    for protocol in protocols:
        until = (protocol.test.last + 1) * DAY_MS + protocol.delay_ms
        try:
            folds.append(
                Fold(
                    protocol,
                    fit_rows(samples, protocol.train, until, "fold's"),
                    score_rows(samples, protocol, "validation", keep_known=keep_known),
                )
            )
        except InvalidDataError as error:
            why = error
    if not folds:
        raise InvalidDataError(
            "no_folds",
            "No part of the training days can be validated on"
            + (f": {why.message}" if why else "; there are too few of them."),
            "Train on more days, or on days with positives in each part.",
        )
    return folds


@dataclass(frozen=True, slots=True)
class Means:
    """How all models of a search are fitted; see `fit_candidate`."""

    seed: int
    threads: int
    rising: Sequence[int] = ()


def search(folds: Sequence[Fold], kinds: Sequence[str], means: Means, tell: Tell) -> list[Tried]:
    """Try every declared setting of the kinds; the best by mean average precision comes first."""
    chosen = [(kind, settings) for kind in kinds for settings in DECLARED[kind]]
    fitted: dict[tuple[int, str, int], Fitted] = {}
    tried = []
    for at, (kind, settings) in enumerate(chosen):
        models = []
        for number, fold in enumerate(folds):
            models.append(_fit(fold, number, kind, settings, fitted, means))
            tell(f"{at + 1} of {len(chosen)}: {kind}, fold {number + 1} of {len(folds)}")
        answers = [
            model.answer(fold.validate.matrix) for model, fold in zip(models, folds, strict=True)
        ]
        figures = tuple(
            measure(said, fold.validate) for said, fold in zip(answers, folds, strict=True)
        )
        tried.append(Tried(kind, settings, figures, np.concatenate(answers)))
    return sorted(tried, key=lambda each: -each.mean("average_precision"))


def _fit(
    fold: Fold,
    number: int,
    kind: str,
    settings: Settings,
    fitted: dict[tuple[int, str, int], Fitted],
    means: Means,
) -> Fitted:
    """Return the fitted model; a blend takes its parts from those that are fitted already."""
    if kind == "blend":
        parts = [fitted.get((number, part, settings[part])) for part in ("trees", "forest")]
        boosted, forest = parts
        if isinstance(boosted, Boosted) and isinstance(forest, Forest):
            return Blend(boosted, forest)
    model = fit_candidate(kind, settings, fold.fit, means.seed, means.threads, means.rising)
    fitted[number, kind, list(DECLARED[kind]).index(settings)] = model
    return model
