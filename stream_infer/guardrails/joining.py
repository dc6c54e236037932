"""Scores of two versions and the labels that come back days later, joined by the event's id. Pure.

Memory is bounded by following a share of all events: those whose id hashes to a number with so
many zeros at its end. When there is no more room, one zero more is asked for, and half of what is
remembered is let go. Whether an event is followed depends on its id alone, so the scores of both
versions and the label of an event share one fate, and none depends on what was scored or labelled.

Two versions that scored the same events are compared event by event. Where each scored events of
its own, as a challenger does with its share of the keys, their labelled events are paired in the
order in which the labels came; which keys a version has is chance, so the pairs are fair.

Source  Gibbons and Tirthapura (2001), Estimating simple functions on the union of data streams
        (samples by levels of a hash); BLAKE2 (RFC 7693)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

EARLY_MAX = 20_000
"""Labels that are remembered until a score comes: several topics are not read in one order."""
UNPAIRED_MAX = 1_000
"""Labelled events of one side that wait for one of the other; the oldest are let go."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One step of a trial.

    difference  champion's squared error less challenger's, in [-1, 1]
    positives   of the labels in it
    negatives   the same; of a pair of two events there are two labels
    """

    difference: float
    positives: int
    negatives: int


@dataclass(slots=True)
class _Held:
    """What is known of one event: its time, and scores of one version or of both."""

    time_ms: int
    champion: float | None = None
    challenger: float | None = None


class LabelJoin:
    """Joins scores with labels; owns what is remembered of events until their labels come.

    paired    whether both versions score the same events
    held_max  events that are remembered
    wait_ms   event time after which a label is waited for no longer
    """

    def __init__(self, *, paired: bool, held_max: int, wait_ms: int) -> None:
        self._paired = paired
        self._held_max = held_max
        self._wait_ms = wait_ms
        self._held: dict[int, _Held] = {}
        self._early: dict[int, bool] = {}
        self._unpaired: tuple[deque[tuple[float, bool]], ...] = (
            deque(maxlen=UNPAIRED_MAX),
            deque(maxlen=UNPAIRED_MAX),
        )
        self._newest_ms = 0
        self.level = 0
        """Zeros that an id's hash must end with: one event in ``2 ** level`` is followed."""

    def __len__(self) -> int:
        """Return how many events wait for a label, or for the other version's score."""
        return len(self._held)

    def scored(
        self, event: str, time_ms: int, score: float, *, by_challenger: bool
    ) -> list[Compared]:
        """Remember a score; return what can be compared now, if the label was quicker.

        time_ms  of the event
        score    probability, 0 to 1
        """
        place = self._place(event)
        if place is None:
            return []
        self._newest_ms = max(self._newest_ms, time_ms)
        held = self._held.get(place)
        if held is None:
            held = self._held[place] = _Held(time_ms)
        if by_challenger:
            held.challenger = score
        else:
            held.champion = score
        found: list[Compared] = []
        if place in self._early and self._is_whole(held):
            found = self._compare(place, held, truth=self._early.pop(place))
        if len(self._held) > self._held_max:
            self._make_room()
        return found

    def labelled(self, event: str, *, truth: bool) -> list[Compared]:
        """Take a label in; return what can be compared now."""
        place = self._place(event)
        if place is None:
            return []
        held = self._held.get(place)
        if held is not None and self._is_whole(held):
            return self._compare(place, held, truth=truth)
        self._early[place] = truth
        if len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]
        return []

    def _is_whole(self, held: _Held) -> bool:
        return not self._paired or (held.champion is not None and held.challenger is not None)

    def _place(self, event: str) -> int | None:
        """Return the hash of an event's id; None where the event is not followed."""
        place = int.from_bytes(blake2b(event.encode(), digest_size=8).digest(), "little")
        return None if place & self._mask else place

    @property
    def _mask(self) -> int:
        return (1 << self.level) - 1

    def _compare(self, place: int, held: _Held, *, truth: bool) -> list[Compared]:
        del self._held[place]
        y = float(truth)
        if held.champion is not None and held.challenger is not None and self._paired:
            difference = (held.champion - y) ** 2 - (held.challenger - y) ** 2
            return [Compared(difference, int(truth), int(not truth))]
        champions, challengers = self._unpaired
        if held.champion is not None:
            champions.append(((held.champion - y) ** 2, truth))
        if held.challenger is not None:
            challengers.append(((held.challenger - y) ** 2, truth))
        return list(self._pair())

    def _pair(self) -> Iterable[Compared]:
        champions, challengers = self._unpaired
        while champions and challengers:
            (before, first), (after, second) = champions.popleft(), challengers.popleft()
            positives = first + second
            yield Compared(before - after, positives, 2 - positives)

    def _make_room(self) -> None:
        """Let go of what has waited too long; where that is little, follow half as many events."""
        oldest = self._newest_ms - self._wait_ms
        self._held = {at: held for at, held in self._held.items() if held.time_ms >= oldest}
        while len(self._held) > self._held_max * 3 // 4:
            self.level += 1
            self._held = {at: held for at, held in self._held.items() if not at & self._mask}
            self._early = {at: truth for at, truth in self._early.items() if not at & self._mask}
