"""What is measured of a candidate: figures of its scores, its size, how quickly it loads and runs.

It is measured as it would serve: by a `Scorer`, with its own row chunk, one thread.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.optimizing.comparing import (
    Drop,
    Flips,
    Resampling,
    as_many_stopped,
    average_precision_drop,
    count_flips,
)
from stream_infer.optimizing.material import Stretch
from stream_infer.optimizing.timing import tune_chunk
from stream_infer.scoring.manifest import Manifest, Thresholds
from stream_infer.scoring.model import Model, open_session
from stream_infer.scoring.session import Scorer
from stream_infer.training.figures import calibration_figures, measure

TUNED_ON = 4_096


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of a model's scores on the rows of some days.

    figures     AUC, average precision, card precision
    calibrated  how far scores are from probabilities
    drop, flips against the original
    """

    figures: dict[str, float]
    calibrated: dict[str, float]
    drop: Drop
    flips: Flips

    def facts(self) -> dict[str, Any]:
        """Return it as JSON-encodable facts."""
        return {
            **self.figures,
            "calibration": self.calibrated,
            "average_precision_drop": self.drop.facts(),
            "flips": self.flips.facts(),
        }


class Measure:
    """Measures scores on one stretch of days, always against the original's.

    stretch     days and rows
    thresholds  the original's
    seed        of the draws for intervals
    """

    def __init__(self, stretch: Stretch, thresholds: Thresholds, seed: int) -> None:
        self.stretch = stretch
        self._thresholds = thresholds
        self._draws = Resampling(stretch.samples, seed)
        self._original = self._draws.precisions(stretch.original)

    def thresholds(self, scores: NDArray[np.float32]) -> Thresholds:
        """Return thresholds at which as many rows are stopped as the original stops."""
        return as_many_stopped(self.stretch.original, scores, self._thresholds)

    def quality(self, scores: NDArray[np.float32], thresholds: Thresholds) -> Quality:
        """Return the figures of a model's scores, decided by its own thresholds."""
        rows, original = self.stretch.samples, self.stretch.original
        return Quality(
            measure(scores, rows),
            calibration_figures(scores, rows),
            average_precision_drop(self._original, self._draws.precisions(scores)),
            count_flips(original, scores, rows.truth, before=self._thresholds, after=thresholds),
        )


def described(content: bytes, original: Manifest, row_chunk: int) -> Manifest:
    """Return a manifest under which a graph scores in place of the original."""
    sha256 = hashlib.sha256(content).hexdigest()
    return msgspec.structs.replace(
        original, sha256=sha256, version=sha256[:12], row_chunk=row_chunk, attachments={}
    )


def scorer_of(content: bytes, manifest: Manifest) -> Scorer:
    """Return the scorer of a graph; names of its input and output are its own."""
    session = open_session(content)
    outputs = [each.name for each in session.get_outputs() if each.type == "tensor(float)"]
    taken = session.get_inputs()[0].name
    model = Model(manifest, session, taken, outputs[-1], manifest.row_chunk)
    return Scorer(model, manifest.features, manifest.features_fingerprint)


def with_tuned_chunk(content: bytes, manifest: Manifest, rows: NDArray[np.float32]) -> Manifest:
    """Return the manifest with the row chunk that is quickest on these rows."""

    def score(chunk: int) -> Any:
        return scorer_of(content, msgspec.structs.replace(manifest, row_chunk=chunk)).score

    chunk = tune_chunk(score, rows[:TUNED_ON], manifest.row_chunk)
    return msgspec.structs.replace(manifest, row_chunk=chunk)
