"""The outputs of one stage that were found, some forty bytes each, and what was expected of them.

Pure. `FoundOutputs` is filled once, closed, and then asked batch by batch. It owns which
of the records were expected; only `match` changes that.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.audit.recompute.origins import Stamp

_OFFSET_BITS = 48
NO_STAMP = -1


class Place(NamedTuple):
    """Where an output stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


class Matched(NamedTuple):
    """What was found for ``n`` expected records of one destination.

    first   (n,) int64, row of the first record found, -1 for none
    counts  (n,) int64, records found
    wrong   rows of the found records whose content is another, with the index of the expected one
    """

    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    wrong: list[tuple[int, int]]


class FoundOutputs:
    """Every record found in the destinations of one stage."""

    def __init__(self) -> None:
        self._names, self._digests = array("q"), array("q")
        self._places, self._stamps = array("q"), array("h")
        self._destinations: dict[tuple[str, int], int] = {}
        self._known_stamps: dict[Stamp, int] = {}
        self._refused: set[int] = set()

    def add(
        self,
        place: Place,
        name: int,
        digest: int,
        stamp: Stamp | None,
        *,
        refused: bool,
    ) -> None:
        """Note one record; those of a destination come in offset order."""
        destination = self._destinations.setdefault(place[:2], len(self._destinations))
        if refused:
            self._refused.add(name)
        self._names.append(name)
        self._digests.append(digest)
        self._places.append(destination << _OFFSET_BITS | place.offset)
        known = self._known_stamps
        self._stamps.append(NO_STAMP if stamp is None else known.setdefault(stamp, len(known)))

    def close(self) -> None:
        """Sort what was noted: from here on nothing is added."""
        names = np.frombuffer(self._names, np.int64) if self._names else np.empty(0, np.int64)
        order = np.argsort(names, kind="stable")
        self.names = names[order]
        self.digests = _sorted(self._digests, np.int64, order)
        self.places = _sorted(self._places, np.int64, order)
        self.stamps = _sorted(self._stamps, np.int16, order)
        self.matched = np.zeros(len(order), np.bool_)
        self._names, self._digests = array("q"), array("q")
        self._places, self._stamps = array("q"), array("h")
        self._tops = list(self._destinations)
        # The last one is found by index `NO_STAMP`.
        self._stamp_names: list[Stamp | None] = [*self._known_stamps, None]

    def __len__(self) -> int:
        return len(self.names)

    def place(self, row: int) -> Place:
        """Return where a row's record stands."""
        packed = int(self.places[row])
        topic, partition = self._tops[packed >> _OFFSET_BITS]
        return Place(topic, partition, packed & ((1 << _OFFSET_BITS) - 1))

    def stamp_rows(self, stamps: set[Stamp]) -> NDArray[np.bool_]:
        """Return (len,) bool: stamped with one of these."""
        numbers = [number for stamp, number in self._known_stamps.items() if stamp in stamps]
        return np.isin(self.stamps, numbers)

    def stamp(self, row: int) -> Stamp | None:
        """Return what a row's record says that it was made with."""
        return None if row < 0 else self._stamp_names[self.stamps[row]]

    def stamps_of(self, rows: NDArray[np.int64]) -> list[Stamp | None]:
        """Return the stamp of each row, None for row -1."""
        return [self.stamp(row) for row in rows.tolist()]

    @property
    def stamped(self) -> set[Stamp]:
        """What the found records say that they were made with."""
        return set(self._known_stamps)

    def first_rows(self, names: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first row of each name, -1 for none, and how many there are."""
        low = np.searchsorted(self.names, names, "left")
        counts = np.searchsorted(self.names, names, "right") - low
        return np.where(counts > 0, low, -1), counts

    def match(
        self,
        names: NDArray[np.int64],
        digests: NDArray[np.int64],
        others: NDArray[np.int64],
    ) -> Matched:
        """Mark what was expected and return what is found of it.

        names    (n,) int64
        digests  (n,) int64, of the content; `others` of the one other content that is right too
        """
        first, counts = self.first_rows(names)
        wrong: list[tuple[int, int]] = []
        ones = np.flatnonzero(counts == 1)
        rows = first[ones]
        self.matched[rows] = True
        found = self.digests[rows]
        bad = np.flatnonzero((found != digests[ones]) & (found != others[ones]))
        wrong += zip(rows[bad].tolist(), ones[bad].tolist(), strict=True)
        for at in np.flatnonzero(counts > 1).tolist():
            low, high = int(first[at]), int(first[at] + counts[at])
            self.matched[low:high] = True
            wrong += [
                (row, at)
                for row in range(low, high)
                if self.digests[row] not in (digests[at], others[at])
            ]
        return Matched(first, counts, wrong)

    def has_refused(self, name: int) -> bool:
        """Say whether an output of that record was refused by Kafka; then it is accounted for."""
        return name in self._refused

    def unexpected(self) -> NDArray[np.int64]:
        """Return the rows that nobody expected, but for those that tell of a refused output."""
        rows = np.flatnonzero(~self.matched)
        if not self._refused:
            return rows
        return rows[~np.isin(self.names[rows], list(self._refused))]

    def offsets(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the offsets of rows."""
        return self.places[rows] & ((1 << _OFFSET_BITS) - 1)


def out_of_order(offsets: NDArray[np.int64], highest: int) -> tuple[NDArray[np.bool_], int]:
    """Return which of the offsets lie before one that should come later, and the new highest.

    offsets  (n,) int64, where outputs were first found, in the order in which they were due
    highest  the highest of those before, -1 for none

    >>> out_of_order(np.array([4, 6, 5, 7]), 3)
    (array([False, False,  True, False]), 7)
    """
    if not len(offsets):
        return np.zeros(0, np.bool_), highest
    reached = np.maximum.accumulate(np.concatenate(([highest], offsets)))
    return offsets < reached[:-1], int(reached[-1])


def _sorted(values: array[int], dtype: type, order: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(values):
        return np.empty(0, dtype)
    taken: NDArray[np.int64] = np.frombuffer(values, dtype)[order]
    return taken
