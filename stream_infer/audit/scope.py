"""Which records an audit covers, decided from the facts that Kafka gave. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_infer.errors import UsageError
from stream_infer.kafka.stretch import Stretch

_RANGE = re.compile(r"(\d+):(\d+)-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is audited, what is still under way, and why nothing may be provable.

    audited   partition -> offsets up to what the group has committed
    waiting   offsets in the log behind the committed ones
    unproven  reasons for which "none lost" would be no proof
    """

    audited: dict[int, Stretch]
    waiting: int
    unproven: list[str] = field(default_factory=list)


def parse_ranges(texts: tuple[str, ...]) -> dict[int, Stretch]:
    """Return partition -> stretch of ``PARTITION:FIRST-LAST`` texts, both ends included.

    >>> parse_ranges(("0:100-199",))
    {0: Stretch(start=100, end=200)}
    """
    ranges: dict[int, Stretch] = {}
    for text in texts:
        match = _RANGE.fullmatch(text.strip())
        if match is None or int(match[2]) > int(match[3]) or int(match[1]) in ranges:
            raise UsageError(
                "bad_range",
                f"{text!r} is not a range of offsets, or its partition is named twice.",
                "Write PARTITION:FIRST-LAST with both ends included, such as 0:1000-1999.",
            )
        ranges[int(match[1])] = Stretch(int(match[2]), int(match[3]) + 1)
    return ranges


def audit_scope(
    topic: str,
    group: str,
    bounds: Mapping[int, Stretch],
    committed: Mapping[int, int],
    ranges: Mapping[int, Stretch],
) -> Scope:
    """Decide what can be audited.

    bounds     partition -> where its log starts and ends
    committed  partition -> next offset that the group will read; absent when it never committed
    ranges     what was asked for, empty for everything since the log's beginning
    """
    audited: dict[int, Stretch] = {}
    waiting = 0
    unproven: list[str] = []
    for partition in sorted(ranges or bounds):
        log = bounds.get(partition)
        if log is None:
            unproven.append(f"{topic} has no partition {partition}.")
            continue
        asked = ranges.get(partition, Stretch(0, log.end))
        reached = committed.get(partition, log.start)
        if reached > log.end:
            unproven.append(
                f"Group {group!r} committed offset {reached} of {topic}-{partition}, whose log"
                f" ends at {log.end}: the topic is not the one that was read."
            )
            reached = log.end
        if asked.start < log.start:
            unproven.append(
                f"{topic}-{partition} begins at offset {log.start}: records before it are gone."
            )
        first = min(max(asked.start, log.start), log.end)
        last = min(asked.end, log.end)
        audited[partition] = Stretch(first, max(first, min(last, reached)))
        waiting += max(0, last - max(first, reached))
    if not committed and any(len(bounds[partition]) for partition in audited):
        unproven.append(f"Group {group!r} has committed nothing of {topic}.")
    return Scope(audited=audited, waiting=waiting, unproven=unproven)
