"""Alignment: partitions that feed one internal topic are read in step with event time.

An internal topic merges several upstream partitions. Read from history at full
speed, one of them may run days ahead of another, and a label would reach the
terminal before or after transactions it did not precede. So a partition may only
be read up to the *head* of the slowest other partition plus a skew.

The rules, pure and without a clock of their own:

- A partition's head is the event time of its first row whose outputs are not
  acknowledged yet. Acknowledged, because only then the row has its place in the
  internal log.
- Only a partition with unread records holds others. One that is read to its end
  holds nobody; nothing is known about what it will bring next.
- A partition with unread records whose head is not known yet (its first batch is
  still being fetched, or its state is being restored) holds everybody. Not so once it
  was read to its end: what comes then is new, and holding all others until it is decoded
  would cost each live event some milliseconds.
- The partition with the lowest head is never held, so somebody always moves.
- Partitions that other workers own are members like ours; `stream_infer.dataplane.progress_board`
  tells where they stand. One of which nothing is heard holds nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from stream_infer.dataplane.batch import Partition

UNKNOWN_HEAD = None
NO_LIMIT = 2**63 - 1


@dataclass(slots=True)
class Standing:
    """Where a partition stands.

    head       event time of its first row that is not safe yet, ms; None while not known
    unread     whether it has unread records
    caught_up  whether it was read to its end once
    """

    head: int | None = UNKNOWN_HEAD
    unread: bool = True
    caught_up: bool = False


class AlignmentGroup:
    """The input partitions of the stages that write to one internal topic.

    skew_ms  how far in event time one partition may be read ahead of another
    """

    def __init__(self, skew_ms: int) -> None:
        self.skew_ms = skew_ms
        self._progress: dict[Partition, Standing] = {}

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Begin with these partitions, all of them unread and with unknown heads."""
        self._progress = {partition: Standing() for partition in partitions}

    def join(self, partition: Partition, standing: Standing) -> None:
        """Let a partition of another worker be read in step with ours, from where it stands."""
        self._progress[partition] = replace(standing)

    @property
    def partitions(self) -> frozenset[Partition]:
        """Return all members."""
        return frozenset(self._progress)

    def standing(self, partition: Partition) -> Standing:
        """Return where a partition stands now."""
        return replace(self._progress[partition])

    def set_head(self, partition: Partition, head: int) -> bool:
        """Set the event time of a partition's first unacknowledged row; True if it changed."""
        progress = self._progress[partition]
        changed = progress.head != head or not progress.unread
        progress.head = head
        progress.unread = True
        return changed

    def set_read_to_end(self, partition: Partition) -> bool:
        """Say that a partition has nothing unread; True if that is news."""
        progress = self._progress[partition]
        changed = progress.unread
        progress.unread = False
        progress.caught_up = True
        progress.head = UNKNOWN_HEAD
        return changed

    def set_unread(self, partition: Partition) -> bool:
        """Say that a partition has unread records with an unknown head; True if news."""
        progress = self._progress[partition]
        changed = not progress.unread
        progress.unread = True
        return changed

    def set_silent(self, partition: Partition) -> bool:
        """Let a partition hold nobody until something is known of it; True if that is news."""
        progress = self._progress[partition]
        changed = progress.unread
        progress.unread = False
        progress.head = UNKNOWN_HEAD
        return changed

    def limit(self, partition: Partition) -> int | None:
        """Return the event time up to which `partition` may be read now.

        NO_LIMIT when no other partition has unread records; None when it must wait
        because another's head is unknown.
        """
        lowest = NO_LIMIT
        for other, progress in self._progress.items():
            if other == partition or not progress.unread:
                continue
            if progress.head is UNKNOWN_HEAD:
                if progress.caught_up:
                    continue
                return None
            lowest = min(lowest, progress.head)
        return lowest if lowest == NO_LIMIT else lowest + self.skew_ms

    def holder(self, partition: Partition) -> Partition | None:
        """Return the partition that holds `partition` back most, for people to read."""
        others = [
            (progress.head is not UNKNOWN_HEAD, progress.head or 0, other)
            for other, progress in self._progress.items()
            if other != partition and progress.unread
        ]
        return min(others)[2] if others else None


class Feeding(Protocol):
    """What is asked of a stage: which topic it writes, and how far apart its own input may be."""

    @property
    def feeds(self) -> str | None:
        """The topic of ours that it writes, None for one without."""

    @property
    def skew_ms_max(self) -> int | None:
        """How far apart what it reads may be without becoming late, None for no limit."""


def aligned_groups(
    partitions: Iterable[Partition], stages: Mapping[str, Feeding], skew_ms: int
) -> dict[str, AlignmentGroup]:
    """Return a group for each topic of ours that partitions are brought into.

    stages   topic -> the stage that reads it
    skew_ms  how far apart partitions may be read; less where one of them would make what another
             brings late where it is folded
    """
    members: dict[str, list[Partition]] = {}
    for partition in partitions:
        feeds = stages[partition.topic].feeds
        if feeds is not None:
            members.setdefault(feeds, []).append(partition)
    groups = {}
    for feeds, sources in members.items():
        folding = stages.get(feeds)
        bound = None if folding is None else folding.skew_ms_max
        groups[feeds] = AlignmentGroup(skew_ms if bound is None else min(skew_ms, bound))
        groups[feeds].assign(sources)
    return groups
