"""Records that every fold passes over: those that ended the process that worked on them. Pure.

The set stands in a topic (`stream_infer.kafka.skips`). It belongs to the declaration of what a
log means: a restore, a replay and a recomputation leave the same records out, or they would
fold another log than the one that the outputs were made of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


class HasOffset(Protocol):
    """A record as the client fetched it."""

    @property
    def offset(self) -> int:
        """Where it stands in its log."""


Record = TypeVar("Record", bound=HasOffset)


def without_skipped(records: Sequence[Record], skipped: Collection[int]) -> Sequence[Record]:
    """Return the records whose offset is not skipped, in their order.

    records  of one partition, in offset order
    skipped  offsets of that partition, best as a set; nearly always empty or far away, and then
             `records` is returned as it is
    """
    if not skipped or not records:
        return records
    first, last = records[0].offset, records[-1].offset
    near = {offset for offset in skipped if first <= offset <= last}
    return [record for record in records if record.offset not in near] if near else records
