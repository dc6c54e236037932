"""Keys that a pipeline knows beforehand, such as the sensors of a road.

A payment's customer may be anybody; a sensor stands in a table, with its place, its units and
its neighbours. What the pure parts need of such a table is here, as plain numbers by a key's
index; `stream_infer.traffic.sensors` reads one from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""Index of a key that is not in the table."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KnownKeys:
    """What is known of ``n`` keys.

    names    the keys
    place    what keys are placed by: ``corridor``; keys of one place share a log
    places   n names of places
    facts    (n,) structured array, a row a key: what custom steps are handed
    links    (n, k) int64: indices of the keys whose records a key's step may read, -1 for none.
             Linked keys are of one place, or they would be seen or not by chance
    factors  value -> (n,) float64: what turns the key's own unit into the contract's
    bounds   value -> (n,) float64: above it no value is believable, in the contract's unit
    digest   of everything here that can change a feature's value
    """

    names: Sequence[str]
    place: str
    places: Sequence[str]
    facts: NDArray[Any]
    links: NDArray[np.int64]
    factors: Mapping[str, NDArray[np.float64]]
    bounds: Mapping[str, NDArray[np.float64]]
    digest: str
    _index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {name: i for i, name in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)

    def indices(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the index of each key, (n,) int64, `UNKNOWN` where it is not in the table."""
        return np.fromiter(map(self._index.get, keys, repeat(UNKNOWN)), np.int64, len(keys))

    def places_of(self, keys: Sequence[str]) -> list[str]:
        """Return the place of each key.

        Raises  KeyError for an unknown one; a decoder refuses those first
        """
        places, index = self.places, self._index
        return [places[index[key]] for key in keys]
