"""Where a partition starts: decided from facts already read, by a pure function.

Consumers run with offset reset ``none``. A partition without a committed offset
commits its declared start before its first record is read, so that a crash in
between cannot move it. The declared start also travels in the metadata of every
commit, because the state is a fold from *there*: a replay that began anywhere else
would build another state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_infer.dataplane.batch import Partition
from stream_infer.errors import ConflictError

Start = Literal["earliest", "latest"]
WhenOffsetLost = Literal["fail", "earliest"]


@dataclass(frozen=True, slots=True)
class Committed:
    """A committed offset and the metadata that was stored with it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class LogBounds:
    """First offset of the log, and the offset that its next record will get."""

    start: int
    end: int


class ReadTo(NamedTuple):
    """How far the client has read a log, and where it ends; None where that is not known.

    position  offset of the next record to be read
    end       last stable offset: what stands behind it may still be aborted
    written   offset of the next record to be written
    """

    position: int | None
    end: int | None
    written: int | None = None


NOTHING_READ = ReadTo(None, None)


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where one assignment of a partition begins.

    declared       where the fold began when the partition was first read
    replay_from    where the silent replay begins: `declared`, or the log's start if later
    position       first offset whose outputs are published
    must_commit    whether `position` has to be committed before the first record
    end            end of the log when the partition was assigned
    """

    declared: int
    replay_from: int
    position: int
    must_commit: bool
    end: int


def commit_metadata(declared: int) -> str:
    """Return the text stored with every commit of a partition."""
    return json.dumps({"start": declared})


def declared_start(metadata: str) -> int | None:
    """Return the declared start from a commit's metadata, None if another tool wrote it."""
    try:
        found = json.loads(metadata or "null")
    except ValueError:
        return None
    start = found.get("start") if isinstance(found, dict) else None
    return start if isinstance(start, int) and not isinstance(start, bool) else None


def decide_start(
    source: Partition,
    committed: Committed | None,
    log: LogBounds,
    *,
    start: Start,
    when_offset_lost: WhenOffsetLost,
) -> StartPoint:
    """Decide where to start a partition.

    Raises ConflictError ``offset_lost`` when retention has removed records that were
    not read yet, and ``offset_beyond_log`` when the log is shorter than what was
    read, which means that the topic was made anew.
    """
    if committed is None:
        position = log.start if start == "earliest" else log.end
        return StartPoint(position, position, position, must_commit=True, end=log.end)
    if committed.offset > log.end:
        raise ConflictError(
            "offset_beyond_log",
            f"{source} was read up to offset {committed.offset}, but its log ends at {log.end}: "
            "the topic was deleted and made anew.",
            "Reset the group's offset of this topic with Kafka's own kafka-consumer-groups, "
            "or run the pipeline under a new name.",
            topic=source.topic,
            partition=source.partition,
            committed=committed.offset,
            log_end=log.end,
        )
    declared = declared_start(committed.metadata)
    if declared is None or declared > committed.offset:
        declared = log.start
    if committed.offset < log.start:
        if when_offset_lost == "fail":
            raise ConflictError(
                "offset_lost",
                f"{source} was read up to offset {committed.offset}, but its log now starts at "
                f"{log.start}: {log.start - committed.offset} records expired unread.",
                "Accept the loss with --when-offset-lost earliest, and give the topic a longer "
                "retention.",
                topic=source.topic,
                partition=source.partition,
                committed=committed.offset,
                log_start=log.start,
            )
        return StartPoint(log.start, log.start, log.start, must_commit=True, end=log.end)
    return StartPoint(
        declared,
        max(declared, log.start),
        committed.offset,
        must_commit=False,
        end=log.end,
    )
