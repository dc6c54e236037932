"""Where a partition starts: decided from facts already read, by a pure function.

Consumers run with offset reset ``none``. A partition without a committed offset
commits its declared start before its first record is read, so that a crash in
between cannot move it. The declared start also travels in the metadata of every
commit, because the state is a fold from *there*: a replay that began anywhere else
would build another state. So does the history that the fold began with, if there is one
(the *base*): without it the log would make another state, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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
    said_ms   when Kafka said so, epoch ms: a log that is not asked for has what it had then
    """

    position: int | None
    end: int | None
    written: int | None = None
    said_ms: int | None = None


NOTHING_READ = ReadTo(None, None)


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where one assignment of a partition begins.

    declared       where the fold began when the partition was first read
    replay_from    where the silent replay begins: `declared`, or the log's start if later
    position       first offset whose outputs are published
    must_commit    whether `position` has to be committed before the first record
    end            end of the log when the partition was assigned
    base           which history the fold began with; None for an empty state
    partitions     of the topic, where the number says in which one a key's state is; else None
    """

    declared: int
    replay_from: int
    position: int
    must_commit: bool
    end: int
    base: str | None = None
    partitions: int | None = None


class KnownBase(NamedTuple):
    """A state made of a history, as it stands in the store of checkpoints.

    offset  first offset of the log that is to be folded on top of it
    base    which history
    fits    whether it is of the declarations that run here
    """

    offset: int
    base: str
    fits: bool


def commit_metadata(declared: int, base: str | None = None, partitions: int | None = None) -> str:
    """Return the text stored with every commit of a partition.

    partitions  see `StartPoint`; a worker before this release neither wrote it nor minds it
    """
    facts = {"start": declared, "base": base, "partitions": partitions}
    return json.dumps({name: fact for name, fact in facts.items() if fact is not None})


def committed_base(metadata: str) -> str | None:
    """Return the history that a fold began with from a commit's metadata, None without one."""
    base = _facts(metadata).get("base")
    return base if isinstance(base, str) else None


def declared_start(metadata: str) -> int | None:
    """Return the declared start from a commit's metadata, None if another tool wrote it."""
    start = _facts(metadata).get("start")
    return start if isinstance(start, int) and not isinstance(start, bool) else None


def committed_partitions(metadata: str) -> int | None:
    """Return how many partitions the topic had when a commit was made, None if it does not say."""
    count = _facts(metadata).get("partitions")
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _facts(metadata: str) -> dict[str, Any]:
    try:
        found = json.loads(metadata or "null")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def decide_start(
    source: Partition,
    committed: Committed | None,
    log: LogBounds,
    *,
    start: Start,
    when_offset_lost: WhenOffsetLost,
    bases: Sequence[KnownBase] = (),
) -> StartPoint:
    """Decide where to start a partition.

    bases  states made of a history for this partition, the newest first; asked for where the
           group has no offset, or one that another tool has committed
    Raises ConflictError ``offset_lost`` when retention has removed records that were
    not read yet, and ``offset_beyond_log`` when the log is shorter than what was
    read, which means that the topic was made anew.
    """
    if committed is None:
        adopted = adoptable(bases, log, start=start)
        if adopted is not None:
            at = adopted.offset
            return StartPoint(at, at, at, must_commit=True, end=log.end, base=adopted.base)
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
    declared, base = _fold_began(committed, log, bases)
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
        base=base,
    )


def adoptable(bases: Sequence[KnownBase], log: LogBounds, *, start: Start) -> KnownBase | None:
    """Return the base that a partition which was never read begins with, None for none.

    From ``earliest`` on that is the one that stands where the log begins. From ``latest`` on it is
    the newest one inside the log: it was made where the log ended then, and what has come since
    belongs to what is scored.
    """
    for each in bases:
        fits = (
            each.offset == log.start
            if start == "earliest"
            else (log.start <= each.offset <= log.end)
        )
        if each.fits and fits:
            return each
    return None


def _fold_began(
    committed: Committed, log: LogBounds, bases: Sequence[KnownBase]
) -> tuple[int, str | None]:
    """Return where a fold began and with which history.

    A commit of another tool does not say it. The history is in the store, whatever declarations
    it was made for: to fold without it would make another state.
    """
    declared = declared_start(committed.metadata)
    if declared is not None and declared <= committed.offset:
        return declared, committed_base(committed.metadata)
    for each in bases:
        if each.offset <= committed.offset:
            return each.offset, each.base
    return log.start, None
