"""Measurements of decoded objects: absent ones, units of each key, and what nobody can measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.known_keys import KnownKeys
from stream_infer.events.measures import NO_VALUE, UNITS_MAX
from stream_infer.events.sieve import Sieve


@dataclass(frozen=True, slots=True)
class MeasureSource:
    """Where a measure stands.

    field  its name in the contract
    get    from an object to the number, or None
    name   its place in the user's JSON, for messages
    units  10 to its declared decimals
    """

    field: str
    get: Callable[[Any], Any]
    name: str
    units: float


class MeasureReader:
    """Read measurements of many objects as int64 fixed point in the contract's units.

    sources  where each stands in an object
    known    units and bounds of each key, None where all keys send the contract's own
    """

    def __init__(self, sources: Sequence[MeasureSource], known: KnownKeys | None) -> None:
        self._sources = tuple(sources)
        self._known = known

    def read(
        self, objects: list[Any], known: NDArray[np.int64] | None, sieve: Sieve
    ) -> dict[str, NDArray[np.int64]]:
        """Return value -> (n,) int64, `NO_VALUE` where it is absent.

        known  (n,) int64, index of each object's key; that of an unknown one is any
        """
        columns: dict[str, NDArray[np.int64]] = {}
        absent = np.ones(len(objects), np.bool_)
        for source in self._sources:
            raw = list(map(source.get, objects))
            missing = np.fromiter((value is None for value in raw), np.bool_, len(raw))
            absent &= missing
            if missing.all():
                columns[source.field] = np.full(len(raw), NO_VALUE, np.int64)
                continue
            try:
                numbers = np.array(raw, np.float64)
            except OverflowError:
                numbers = np.array([np.nan if v is None else as_float(v) for v in raw], np.float64)
            columns[source.field] = self._fixed(source, numbers, missing, known, sieve)
        if absent.any():
            names = ", ".join(source.name for source in self._sources)
            sieve.refuse(absent, "missing_field", f"None of the fields {names} has a value.")
        return columns

    def _fixed(
        self,
        source: MeasureSource,
        numbers: NDArray[np.float64],
        missing: NDArray[np.bool_],
        known: NDArray[np.int64] | None,
        sieve: Sieve,
    ) -> NDArray[np.int64]:
        """Return one measure in fixed point; refuse what nobody can have measured."""
        field, units = source.field, source.units
        bound = np.full(len(numbers), UNITS_MAX / units)
        if self._known is not None and known is not None and field in self._known.factors:
            numbers = numbers * self._known.factors[field][known]
            bound = np.minimum(bound, self._known.bounds[field][known])
        beyond = ~missing & ~((numbers <= bound) & (numbers >= -bound))
        if beyond.any():
            sieve.refuse(
                beyond,
                "out_of_range",
                f"Field {source.name} is above what can be believed in the unit that its key is "
                "declared with; is it sent in another one?",
            )
        skipped = missing | beyond
        with np.errstate(invalid="ignore"):
            nearest = np.rint(numbers * units)
        fixed = np.where(skipped, 0.0, nearest).astype(np.int64)
        fixed[skipped] = NO_VALUE
        return fixed


def as_float(number: Any) -> float:
    """Return a JSON number as float64, infinity where it is a whole number beyond it."""
    try:
        return float(number)
    except OverflowError:
        return float("inf")
