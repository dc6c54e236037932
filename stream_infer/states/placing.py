"""Where a state made of a history belongs in a log, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from stream_infer.checkpoints.manifest import Found, Manifest
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import (
    Committed,
    LogBounds,
    Start,
    committed_base,
    declared_start,
)
from stream_infer.errors import ConflictError
from stream_infer.states.history import History


def base_offset(
    source: Partition, committed: Committed | None, log: LogBounds, *, start: Start, base: str
) -> int:
    """Return the offset at which a partition's fold begins with a history.

    committed  what the group has committed: only where its fold began with this very history may
               the history's state be made again
    base       name of the history
    Raises     ConflictError ``history_too_late`` for a partition whose fold began otherwise
    """
    if committed is None:
        return log.start if start == "earliest" else log.end
    declared = declared_start(committed.metadata)
    found = committed_base(committed.metadata)
    if declared is not None and found == base:
        return declared
    began = "without a history" if found is None else f"with history {found}"
    raise ConflictError(
        "history_too_late",
        f"The group has read {source} up to offset {committed.offset}, and its fold began {began},"
        f" not with {base}.",
        "Give the files and options that it began with. To begin anew with this history, run the"
        " pipeline under another name.",
        topic=source.topic,
        partition=source.partition,
        committed=committed.offset,
        base=base,
    )


def refuse_overlap(history: History, first_ms: int | None) -> None:
    """Refuse a history that goes on where the log has begun: what both hold would count twice.

    first_ms  event time of the log's earliest event, None for an empty log
    Raises    ConflictError ``history_overlaps_log``
    """
    if first_ms is None:
        return
    later = int((history.events.event_time >= first_ms).sum())
    if later:
        raise ConflictError(
            "history_overlaps_log",
            f"{later:,} of {len(history.events):,} rows of the history are not older than the"
            f" first event that the log holds behind its start ({_instant(first_ms)}).",
            f"Leave them out with --until {_instant(first_ms)}. An event that is in both is"
            " otherwise taken for a repetition.",
            rows=later,
            first_event_ms=first_ms,
        )


def _instant(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def same_bases(found: Iterable[Found], wanted: Sequence[Manifest]) -> dict[str, list[Manifest]]:
    """Return, for each wanted base by its id, those in the store that say they are the same.

    Raises  ConflictError ``base_differs`` when one of them holds another state: then the files
            were read in another way, and who began with the one must not go on with the other
    """
    standing = [each for each in found if isinstance(each, Manifest) and each.is_base]
    same: dict[str, list[Manifest]] = {}
    for each in wanted:
        for other in standing:
            if _place(other) != _place(each):
                continue
            if other.content_sha256 != each.content_sha256:
                raise ConflictError(
                    "base_differs",
                    f"Checkpoint {other.id} is the state of history {each.base} in {each.source},"
                    " and it is not what these files give now.",
                    "Read the files with the same --fields and options as before.",
                    checkpoint=other.id,
                    topic=each.topic,
                    partition=each.partition,
                )
            same.setdefault(each.id, []).append(other)
    return same


def _place(manifest: Manifest) -> tuple[object, ...]:
    return (
        manifest.pipeline,
        manifest.stage,
        manifest.topic,
        manifest.partition,
        manifest.declared_start,
        manifest.base,
        manifest.fingerprint,
    )
