"""Which ranges of a log crashes have in common. Pure.

After a crash the same records are read again, cut into batches in another way and perhaps by
another process: two crashes are of the same range when their ranges overlap, and what they
have in common is what is suspect.
"""

from __future__ import annotations

from collections.abc import Iterable

from stream_infer.dataplane.at_work import Span

CRASHES_TO_SUSPECT = 2
RANGES_KEPT = 32
"""Of one partition: it is worked on in order, so that older ones are far behind."""


class CrashLedger:
    """Owns how often each range was in work when a process crashed.

    It grows by `note`, and forgets by `forget` alone; kills and ends of other kinds are not
    told to it.
    """

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, int], list[tuple[Span, int]]] = {}

    def note(self, spans: Iterable[Span]) -> list[Span]:
        """Note what was in work at a crash; return what is suspect now, shortest first.

        Where several partitions were in work together each of them may be suspect.
        """
        suspects = []
        for span in spans:
            common, crashes = self._count(span)
            if crashes >= CRASHES_TO_SUSPECT:
                suspects.append(common)
        return sorted(suspects, key=lambda span: span.last - span.first)

    def _count(self, span: Span) -> tuple[Span, int]:
        known = self._ranges.setdefault((span.topic, span.partition), [])
        counted = (span, 1)
        for before, crashes in [each for each in known if overlap(each[0], span)]:
            known.remove((before, crashes))
            if crashes + 1 > counted[1]:
                first, last = max(before.first, span.first), min(before.last, span.last)
                counted = (span._replace(first=first, last=last), crashes + 1)
        known.append(counted)
        del known[:-RANGES_KEPT]
        return counted

    def forget(self, spans: Iterable[Span]) -> None:
        """Forget the crashes at ranges that overlap: it is known what they were."""
        for span in spans:
            place = (span.topic, span.partition)
            kept = [each for each in self._ranges.get(place, []) if not overlap(each[0], span)]
            self._ranges[place] = kept


def overlap(one: Span, other: Span) -> bool:
    """Say whether two ranges share an offset.

    >>> overlap(Span("a", "t", 0, 5, 9), Span("b", "t", 0, 9, 12))
    True
    >>> overlap(Span("a", "t", 0, 5, 9), Span("a", "t", 1, 5, 9))
    False
    """
    same = (one.topic, one.partition) == (other.topic, other.partition)
    return same and one.first <= other.last and other.first <= one.last
