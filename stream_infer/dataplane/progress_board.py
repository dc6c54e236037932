"""Where the partitions of other workers stand, as far as they have said. Pure.

`Board` owns what was heard, and lets it into the alignment groups of the current assignment:

- what a word says stays true whoever owns the partition next: rows that are in a log stay there.
  So it outlives a rebalance, and a partition that was ours is known to the worker that lost it;
- a word of an older generation than ours is not heard: it is of a worker that lost its partitions;
- a partition of which nothing is known holds everybody, for its owner says a first word as soon
  as it has it;
- a partition with unread records, of which nothing is heard for so long, holds nobody: it has no
  owner, or one that cannot write, or one of a version that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stream_infer.dataplane.alignment import AlignmentGroup, Standing
from stream_infer.dataplane.batch import Partition
from stream_infer.events.progress import Progress

LOOK_SECONDS_MAX = 1.0
"""What one look counts at most: a process that stood still has not heard because it did not listen.
"""


@dataclass(slots=True)
class _Other:
    group: AlignmentGroup
    silent_s: float = 0.0
    is_restoring: bool = False
    is_given_up: bool = False


class Board:
    """Partitions of other workers that ours are read in step with.

    silent_s_max  after so long without a word a partition with unread records holds nobody
    """

    def __init__(self, silent_s_max: float) -> None:
        self._silent_s_max = silent_s_max
        self._generation = -1
        self._others: dict[Partition, _Other] = {}
        self._known: dict[Partition, Standing] = {}
        self._words: dict[Partition, Progress] = {}
        self._looked_s: float | None = None

    def assigned(
        self, generation: int, others: Mapping[Partition, AlignmentGroup], now_s: float
    ) -> None:
        """Begin an assignment: let the partitions of others into the groups of ours."""
        known, self._known = self._known, {}
        self._generation = generation
        self._looked_s = now_s
        self._others = {partition: _Other(group) for partition, group in others.items()}
        for partition, group in others.items():
            group.join(partition, known.get(partition, Standing()))
        # Another worker may be quicker to open its part of the assignment.
        for partition in others.keys() & self._words.keys():
            self.hear(self._words[partition])

    def revoked(self, groups: Iterable[AlignmentGroup]) -> None:
        """End an assignment: what is known of every partition, ours too, is for the next one."""
        self._known = {p: group.standing(p) for group in groups for p in group.partitions}
        self._others = {}

    def hear(self, word: Progress) -> bool:
        """Take a word; True if it changes where a partition stands."""
        partition = Partition(word.topic, word.partition)
        self._words[partition] = word
        other = self._others.get(partition)
        if other is None or word.generation < self._generation:
            return False
        other.silent_s, other.is_given_up = 0.0, False
        other.is_restoring = word.place == "restoring"
        if word.place == "end":
            return other.group.set_read_to_end(partition)
        if word.head is not None:
            return other.group.set_head(partition, word.head)
        return other.group.set_unread(partition)

    def look(self, now_s: float) -> list[Partition]:
        """Let time pass; return the partitions that are given up now."""
        looked_s, self._looked_s = self._looked_s, now_s
        passed_s = 0.0 if looked_s is None else min(now_s - looked_s, LOOK_SECONDS_MAX)
        given_up = []
        for partition, other in self._others.items():
            other.silent_s += passed_s
            if other.silent_s > self._silent_s_max and not other.is_given_up:
                other.is_given_up = True
                if other.group.set_silent(partition):
                    given_up.append(partition)
        return given_up

    def is_restoring(self) -> bool:
        """Say whether a partition holds others because its state is being restored elsewhere."""
        return any(
            other.is_restoring and not other.is_given_up and _holds(other.group.standing(partition))
            for partition, other in self._others.items()
        )


def _holds(standing: Standing) -> bool:
    return standing.unread and not (standing.caught_up and standing.head is None)
