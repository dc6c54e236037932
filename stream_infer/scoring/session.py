"""Scores and decisions for feature matrices: the hot end of a stage that has a model.

A `Scorer` joins a verified model to the features that the pipeline computes, and
refuses the pair when names, order or fingerprint differ: such a model would answer, and
answer nonsense. A score depends on its own row alone, never on the rows beside it or on
where a batch is cut in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConflictError
from stream_infer.scoring.manifest import Manifest, Thresholds
from stream_infer.scoring.model import Model, load_model

DECISIONS = ("approve", "review", "decline")
"""Decision words; a decision code is an index into them."""
APPROVE, REVIEW, DECLINE = range(3)

_WORDS = np.array(DECISIONS, dtype=object)


class Scorer:
    """One model bound to one pipeline's features.

    Holds no buffer that is written in `score`, so threads may share a scorer: the
    runtime's session allows concurrent calls and lets go of the interpreter meanwhile.
    """

    def __init__(
        self, model: Model | Path | str, feature_names: Sequence[str], fingerprint: str
    ) -> None:
        """Bind `model` (or the one in a folder) to features.

        feature_names  columns of the matrices to come, in order
        fingerprint    `fingerprint` of the plan that computes them
        Raises         ConflictError ``features_differ``, ``features_fingerprint_differs``;
                       what `load_model` raises
        """
        self.model = model if isinstance(model, Model) else load_model(model)
        check_fit(self.model.manifest, tuple(feature_names), fingerprint)
        if self.model.manifest.outputs:
            raise ConflictError(
                "model_forecasts",
                f"The model {self.model.name} answers with {', '.join(self.model.manifest.outputs)}"
                ", and the pipeline wants a probability.",
                "Serve it with a pipeline that declares `conditions`, or name another model.",
            )
        self.name: str = self.model.name
        self.version: str = self.model.version
        self.thresholds: Thresholds = self.model.thresholds
        self._width = len(self.model.manifest.features)
        self._row_chunk = self.model.row_chunk
        # float32, as the scores are: see `Thresholds` for why.
        self._review = np.float32(self.thresholds.review)
        self._decline = np.float32(self.thresholds.decline)

    def score(self, matrix: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probability of class 1 of every row.

        matrix   (n, features) float64 or float32, columns in the manifest's order
        Returns  (n,) float32; not finite only where the model answers so
        Raises   ConflictError ``matrix_width_differs``
        Cost     O(n); rows go to the runtime `row_chunk` at a time, which changes speed only
        """
        if matrix.ndim != 2 or matrix.shape[1] != self._width:
            raise ConflictError(
                "matrix_width_differs",
                f"The model {self.name} takes {self._width} features a row; "
                f"the matrix has shape {matrix.shape}.",
                "Score with the plan that the scorer was made for.",
            )
        n, step = len(matrix), self._row_chunk
        # A value beyond float32 becomes inf and the model answers for it: no warning per batch.
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(matrix, dtype=np.float32)
        if 0 < n <= step:
            return np.ascontiguousarray(self.model.run(rows))
        scores = np.empty(n, np.float32)
        for start in range(0, n, step):
            scores[start : start + step] = self.model.run(rows[start : start + step])
        return scores

    def decision_codes(self, scores: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return an index into `DECISIONS` for every score.

        A score that is not finite means "review": a person looks, since neither letting
        the event pass nor declining it has a ground.
        """
        codes = (scores >= self._review).view(np.uint8) + (scores >= self._decline).view(np.uint8)
        known = np.isfinite(scores)
        if not known.all():
            codes[~known] = REVIEW
        return codes

    def decisions(self, scores: NDArray[np.float32]) -> list[str]:
        """Return the decision word for every score; the words are shared, not copied."""
        words: list[str] = _WORDS[self.decision_codes(scores)].tolist()
        return words


def check_fit(manifest: Manifest, names: tuple[str, ...], fingerprint: str) -> None:
    """Raise `ConflictError` unless the model was made for exactly these features."""
    fix = "Train the model again on the pipeline's features, or serve the pipeline it was made for."
    model = f"{manifest.name} {manifest.version}"
    if manifest.features != names:
        missing = [name for name in manifest.features if name not in names]
        unused = [name for name in names if name not in manifest.features]
        why = "their order differs" if not (missing or unused) else _difference(missing, unused)
        raise ConflictError(
            "features_differ",
            f"The model {model} was made for other features than the pipeline computes: {why}.",
            fix,
            missing=missing,
            unused=unused,
        )
    if manifest.features_fingerprint != fingerprint:
        raise ConflictError(
            "features_fingerprint_differs",
            f"The model {model} knows features of these names, but computed by other declarations.",
            fix,
            expected=manifest.features_fingerprint,
            found=fingerprint,
        )


def _difference(missing: list[str], unused: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"the pipeline lacks {', '.join(missing)}")
    if unused:
        parts.append(f"the model does not take {', '.join(unused)}")
    return " and ".join(parts)
