"""What candidates are made of: the original, rows to learn from, and what it says of them.

Days keep apart what is used for what::

    | pool: what the original says, no labels  | train: labels too | until the test | test |
              | validate 2 | validate 1 |

Validation days lie before the training days, are not learnt from, and decide; see
`stream_infer.training.days`. Where the data begin too late for that they lie inside the training
days, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.optimizing.reading import Reading, read_model
from stream_infer.scoring.model import Model
from stream_infer.training.candidates import Fitted
from stream_infer.training.days import DAY_MS, Protocol, validation_folds
from stream_infer.training.distilling import SUSPICIOUS, Lesson, lesson, log_odds
from stream_infer.training.graphs import Part, finished
from stream_infer.training.making import POOL_DAYS, run_graph
from stream_infer.training.parity import DIFFERENCE_MAX
from stream_infer.training.samples import Samples, fit_rows, score_rows
from stream_infer.training.search import cut_folds

ROWS_PER_CALL = 4_096
LOOKED_AT = 20_000
"""Rows by which trees and neurons are judged, and graphs compared with what they came from."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days that candidates are measured on.

    name       ``validation`` or ``test``
    days       as text
    samples    rows
    original   (n,) float32, what the original says of them
    unseen     whether the original was not fitted on them
    """

    name: str
    days: str
    samples: Samples
    original: NDArray[np.float32]
    unseen: bool


@dataclass(frozen=True, slots=True)
class Material:
    """What candidates are made of.

    content  the original's graph
    model    the original, loaded
    reading  the original, read back
    fit      labelled rows of the training days
    looked   (n, F) float32, some rows of the training days, the suspicious ones among them
    soft     rows of the pool, and what the original says of them
    seed, threads  of learners
    """

    content: bytes
    model: Model
    reading: Reading
    fit: Samples
    looked: NDArray[np.float32]
    soft: Lesson
    seed: int
    threads: int

    @property
    def width(self) -> int:
        """Columns of the input."""
        return len(self.model.manifest.features)


def probabilities(model: Model, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a model says of rows, (n,) float32."""
    parts = [
        model.run(np.ascontiguousarray(matrix[start : start + ROWS_PER_CALL]))
        for start in range(0, len(matrix), ROWS_PER_CALL)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def validation_rows(samples: Samples, protocol: Protocol, *, keep_known: bool) -> tuple[
    list[Protocol], Samples, bool
]:  # fmt: skip
    """Return the folds that decide, their rows, and whether they lie outside of the training."""
    first_day = int(samples.day.min())
    folds = cut_folds(samples, validation_folds(protocol, first_day), keep_known=keep_known)
    before = [fold for fold in folds if fold.protocol.test.last < protocol.train.first]
    chosen = before or folds
    rows = Samples(
        *(
            np.concatenate([getattr(fold.validate, name) for fold in chosen])
            for name in Samples.__slots__
        )
    )
    return [fold.protocol for fold in chosen], rows, bool(before)


def gather_material(
    content: bytes,
    model: Model,
    samples: Samples,
    protocol: Protocol,
    *,
    keep_known: bool,
    seed: int,
    threads: int,
) -> tuple[Material, Stretch, Stretch]:
    """Return the material, the validation days and the test days.

    Raises  UsageError ``test_before_labels``; InvalidDataError ``no_rows``, ``one_class``,
            ``no_folds``; ConflictError ``model_answers_no_number``
    """
    protocol.check()
    fit = fit_rows(samples, protocol.train, protocol.test.first * DAY_MS, "training")
    test = score_rows(samples, protocol, "test", keep_known=keep_known)
    folds, rows, unseen = validation_rows(samples, protocol, keep_known=keep_known)
    validation = Stretch(
        "validation",
        ", ".join(str(fold.test) for fold in reversed(folds)),
        rows,
        _checked(probabilities(model, rows.matrix), model),
        unseen,
    )
    measured = Stretch(
        "test", str(protocol.test), test, _checked(probabilities(model, test.matrix), model),
        unseen=True,
    )  # fmt: skip
    pool = samples.matrix[_pool(samples, protocol, folds if unseen else [])]
    if not len(pool):
        raise InvalidDataError(
            "no_rows", "No row lies before the test days.", "Name days that the data holds."
        )
    soft = lesson(pool, _checked(probabilities(model, pool), model), seed=seed)
    said = probabilities(model, fit.matrix)
    looked = _some(fit.matrix, said, seed)
    reading = checked_reading(content, looked, probabilities(model, looked))
    made = Material(content, model, reading, fit, looked, soft, seed, threads)
    return made, validation, measured


def _pool(samples: Samples, protocol: Protocol, folds: Sequence[Protocol]) -> NDArray[np.bool_]:
    """Say which rows are learnt from without labels: those before the test that decide nothing."""
    day = samples.day
    chosen: NDArray[np.bool_] = (day >= protocol.train.first - POOL_DAYS) & (
        day < protocol.test.first
    )
    for fold in folds:
        chosen &= ~fold.test.holds(day)
    return chosen


def _some(matrix: NDArray[np.float32], said: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return at most `LOOKED_AT` rows: the suspicious ones first, the others by chance."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(matrix))
    suspicious = log_odds(said)[order] > SUSPICIOUS[0]
    chosen = order[np.argsort(~suspicious, kind="stable")[:LOOKED_AT]]
    return np.ascontiguousarray(matrix[np.sort(chosen)])


def checked_reading(
    content: bytes, rows: NDArray[np.float32], said: NDArray[np.float32]
) -> Reading:
    """Read the graph back, and believe it only where it then answers as the graph does."""
    reading = read_model(content)
    if reading.fitted is None:
        return reading
    part = reading.calibration.add_to(reading.fitted.add_to(Part()))
    again = run_graph(finished(part.then("Sigmoid", name="probability"), rows.shape[1]), rows)
    apart = float(np.abs(again - said).max(initial=0.0))
    if apart <= DIFFERENCE_MAX:
        return reading
    return Reading(None, reading.calibration, f"read back it answers {apart:.2g} apart")


def answers_of(fitted: Fitted, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the answers in front of any calibration, by the runtime, (n,) float64."""
    part = fitted.add_to(Part()).then("Identity", name="probability")
    return run_graph(finished(part, matrix.shape[1]), matrix).astype(np.float64)


def _checked(said: NDArray[np.float32], model: Model) -> NDArray[np.float32]:
    if not np.isfinite(said).all():
        raise ConflictError(
            "model_answers_no_number",
            f"The model {model.name} {model.version} answers {int((~np.isfinite(said)).sum()):,} "
            "of these rows with no number: nothing can be compared with it.",
            "Train it again, or leave out the rows that it cannot answer.",
        )
    return said
