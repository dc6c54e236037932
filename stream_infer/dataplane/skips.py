"""Records that every fold passes over: those that ended the process that worked on them. Pure.

The set stands in a topic (`stream_infer.kafka.skips`). It belongs to the declaration of what a
log means: a restore, a replay and a recomputation leave the same records out, or they would
fold another log than the one that the outputs were made of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from stream_infer.records.run import RecordRun


def without_skipped(records: Sequence[Any], skipped: Collection[int]) -> RecordRun:
    """Return the records whose offset is not skipped, in their order.

    records  of one partition, in offset order
    skipped  offsets of that partition, best as a set; nearly always empty or far away, and then
             `records` is returned as it is
    """
    run = RecordRun.of(records)
    if not skipped or not len(run):
        return run
    first, last = run.offsets[0], run.offsets[-1]
    return run.without([offset for offset in skipped if first <= offset <= last])
