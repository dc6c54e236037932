"""The books of an audit: what came out for each offset of the input, three bytes an offset.

Pure. For each input offset in its range the ledger owns how often it was scored, how
often it became a dead letter (counted up to 255, which no audit needs to tell from
more), and whether it is accounted for without an output. Only `add_scored`, `add_dead`
and `settle` change that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.kafka.stretch import Stretch

_COUNT_MAX = 255


@dataclass(slots=True)
class PartitionBooks:
    """Counts by offset of one input partition; index 0 is offset `stretch.start`."""

    stretch: Stretch
    scored: NDArray[np.uint8]
    dead: NDArray[np.uint8]
    settled: NDArray[np.bool_]

    @classmethod
    def over(cls, stretch: Stretch) -> PartitionBooks:
        """Open empty books over a stretch."""
        n = len(stretch)
        counts = np.zeros(n, dtype=np.uint8)
        return cls(stretch, counts, counts.copy(), np.zeros(n, dtype=np.bool_))

    def missing(self) -> NDArray[np.bool_]:
        """Return the mask of what has no output and is not settled."""
        missing: NDArray[np.bool_] = (self.scored == 0) & (self.dead == 0) & ~self.settled
        return missing

    def offsets_where(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the offsets of a mask over the stretch."""
        return np.flatnonzero(mask) + self.stretch.start


@dataclass(slots=True)
class Ledger:
    """The books of one input topic.

    topic   the pipeline's first topic
    books   partition -> its books, over the audited offsets
    beyond  outputs for offsets of the topic outside the audited ones, which prove nothing
    """

    topic: str
    books: dict[int, PartitionBooks]
    beyond: int = 0

    @classmethod
    def over(cls, topic: str, stretches: Mapping[int, Stretch]) -> Ledger:
        """Open empty books over the stretches."""
        books = {p: PartitionBooks.over(stretch) for p, stretch in stretches.items()}
        return cls(topic, books)

    def add_scored(self, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Enter scored events; both arrays are (n,)."""
        for books, places in self._places(partitions, offsets):
            _count(books.scored, places)

    def add_dead(self, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Enter dead letters; both arrays are (n,)."""
        for books, places in self._places(partitions, offsets):
            _count(books.dead, places)

    def _places(
        self, partitions: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> Iterator[tuple[PartitionBooks, NDArray[np.int64]]]:
        """Return the books that outputs belong to and their places in them; count the others."""
        self.beyond += len(offsets)
        for partition, books in self.books.items():
            mine = offsets[partitions == partition]
            inside = mine[(mine >= books.stretch.start) & (mine < books.stretch.end)]
            self.beyond -= len(inside)
            yield books, inside - books.stretch.start

    def settle(self, partition: int, offsets: NDArray[np.int64]) -> int:
        """Account for offsets without an output; return how many of them were missing."""
        books = self.books.get(partition)
        if books is None:
            return 0
        inside = offsets[(offsets >= books.stretch.start) & (offsets < books.stretch.end)]
        places = np.unique(inside) - books.stretch.start
        found = places[books.missing()[places]]
        books.settled[found] = True
        return len(found)

    def missing(self) -> dict[int, NDArray[np.int64]]:
        """Return partition -> offsets that are missing, only where there are any."""
        gaps = {
            partition: books.offsets_where(books.missing())
            for partition, books in self.books.items()
        }
        return {partition: offsets for partition, offsets in gaps.items() if len(offsets)}

    def doubled(self) -> dict[str, dict[int, NDArray[np.int64]]]:
        """Return the ways in which more than one output came out -> partition -> offsets."""
        ways: dict[str, dict[int, NDArray[np.int64]]] = {}
        for partition, books in self.books.items():
            masks = {
                "scored_twice": books.scored > 1,
                "dead_letters_twice": books.dead > 1,
                "scored_and_dead": (books.scored > 0) & (books.dead > 0),
            }
            for way, mask in masks.items():
                offsets = books.offsets_where(mask)
                if len(offsets):
                    ways.setdefault(way, {})[partition] = offsets
        return ways

    def scored(self) -> int:
        """Return how many offsets were scored at least once."""
        return sum(int(np.count_nonzero(books.scored)) for books in self.books.values())

    def dead(self) -> int:
        """Return how many offsets became a dead letter at least once."""
        return sum(int(np.count_nonzero(books.dead)) for books in self.books.values())


def _count(counts: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
    """Add one at each place, places may repeat; stops at `_COUNT_MAX` instead of wrapping to 0."""
    if len(places) == 0:
        return
    unique, times = np.unique(places, return_counts=True)
    sums = counts[unique].astype(np.int64) + times
    counts[unique] = np.minimum(sums, _COUNT_MAX).astype(np.uint8)


def spans(offsets: NDArray[np.int64], gap_max: int) -> list[Stretch]:
    """Return the fewest stretches that hold all offsets, joining what lies within `gap_max`.

    offsets  (n,) int64, increasing

    >>> spans(np.array([3, 4, 9, 50]), 10)
    [Stretch(start=3, end=10), Stretch(start=50, end=51)]
    """
    if len(offsets) == 0:
        return []
    breaks = np.flatnonzero(np.diff(offsets) > gap_max)
    firsts = offsets[np.concatenate(([0], breaks + 1))]
    lasts = offsets[np.concatenate((breaks, [len(offsets) - 1]))]
    return [Stretch(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]
