"""Labelled rows of a pipeline, and which of them a protocol fits and measures on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import InvalidDataError
from stream_infer.training.days import DAY_MS, DayRange, Protocol


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows with their truth, in order of event time.

    matrix    (n, F) float32, as a scorer sees it
    truth     (n,) bool; a row without a label is False
    known_at  (n,) int64 ms, when that became known; far in the future without a label
    time      (n,) int64 ms
    customer  (n,) int64, which entity of the pipeline's key the row is of
    """

    matrix: NDArray[np.float32]
    truth: NDArray[np.bool_]
    known_at: NDArray[np.int64]
    time: NDArray[np.int64]
    customer: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def day(self) -> NDArray[np.int64]:
        """(n,) days since the epoch, UTC."""
        return self.time // DAY_MS

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Samples:
        """Return the chosen rows."""
        return Samples(
            self.matrix[rows],
            self.truth[rows],
            self.known_at[rows],
            self.time[rows],
            self.customer[rows],
        )

    @property
    def digest(self) -> str:
        """sha256 of matrix and truth."""
        content = hashlib.sha256(np.ascontiguousarray(self.matrix).tobytes())
        content.update(self.truth.astype(np.int8).tobytes())
        return content.hexdigest()


NEVER = np.int64(2**62)
"""`known_at` of a row whose label never came."""


def fit_rows(samples: Samples, days: DayRange, until_ms: int, what: str) -> Samples:
    """Return the rows to fit on: those of the days whose truth was known by then.

    A row without a label counts as genuine, as it does for the features.
    until_ms  when the model is made; what became known later is not used
    what      of which days the error speaks
    Raises    InvalidDataError ``no_rows``, ``one_class``
    """
    known = (samples.known_at <= until_ms) | (samples.known_at == NEVER)
    chosen = samples.take(days.holds(samples.day) & known)
    return _need_both(chosen, days, what)


def score_rows(samples: Samples, protocol: Protocol, what: str, *, keep_known: bool) -> Samples:
    """Return the rows to measure on.

    Customers of whom a fraud was known before the day, from the training days on, are left out:
    their cards would have been blocked (the handbook's rule; `keep_known` turns it off).
    Raises  InvalidDataError ``no_rows``, ``one_class``
    """
    chosen = protocol.test.holds(samples.day)
    if not keep_known:
        chosen &= ~_known_before(samples, protocol)
    return _need_both(samples.take(chosen), protocol.test, what)


def _known_before(samples: Samples, protocol: Protocol) -> NDArray[np.bool_]:
    """Say which rows are of customers of whom a fraud was known when their day began."""
    frauds = samples.truth & (samples.day >= protocol.train.first)
    first_known = np.full(int(samples.customer.max(initial=-1)) + 1, NEVER)
    np.minimum.at(first_known, samples.customer[frauds], samples.known_at[frauds])
    known: NDArray[np.bool_] = first_known[samples.customer] < samples.day * DAY_MS
    return known


def _need_both(rows: Samples, days: DayRange, what: str) -> Samples:
    if not len(rows):
        raise InvalidDataError(
            "no_rows",
            f"No row lies in the {what} days {days}.",
            "Name days that the data holds; they are days of the event time, in UTC.",
            days=str(days),
        )
    if rows.truth.all() or not rows.truth.any():
        kind = "positive" if not rows.truth.any() else "negative"
        raise InvalidDataError(
            "one_class",
            f"The {len(rows):,} rows of the {what} days {days} hold no {kind} one: there is "
            "nothing to tell apart.",
            "Check --labels and --delay, or name more days.",
            days=str(days),
            rows=len(rows),
        )
    return rows
