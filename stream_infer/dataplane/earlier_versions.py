"""Records of another feature specification in a log of ours: of an earlier one, or of a later.

In a rolling upgrade the stages of the old and of the new declarations write to one log for a
moment, and both read it. The state of a stage does not depend on the features that a record
carries, only its score does; a stage whose steps read them accepts no others. So whoever runs the
newer declarations scores an earlier record with those features missing, and whoever runs the older
ones waits at the first later record: a worker of the newer declarations will take it.

Which is which says the order in which processes are started: the operator's last word is what was
started last. What stood in the log when a process began is earlier to it, and a version that
appears afterwards is later. So it is with the kinds of alerts that candidates are of: one that is
not declared any more is of an earlier declaration, one that is not declared yet of a later one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import structlog

from stream_infer.alerts.candidate import kind_of
from stream_infer.events.internal import read_features_version
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.stretch import Stretch

log = structlog.get_logger("stream_infer.dataplane")

LAST_RECORDS = 200
"""Of each partition are looked at when a process begins: the workers before it wrote those."""


class EarlierVersions:
    """What of other declarations is earlier than this process. It owns which; it grows only.

    known  versions of features
    kinds  of alerts, declared here or not

    since_ms  when this process began, by the clock on the wall: a record that was written before
              is of an earlier version
    """

    def __init__(self, since_ms: int) -> None:
        self.known: set[str] = set()
        self.kinds: set[str] = set()
        self._since_ms = since_ms

    def note(self, records: Iterable[tuple[bytes | None, int]]) -> bool:
        """Take in records, each with when it was written; say whether anything new was learnt."""
        found = {
            version
            for value, written_ms in records
            if written_ms < self._since_ms and (version := _version_of(value)) is not None
        }
        new = found - self.known
        self.known |= new
        if new:
            log.info("features_versions_before", versions=sorted(new))
        return bool(new)

    def note_kinds(self, records: Iterable[tuple[bytes | None, int]]) -> None:
        """Take in candidates, each with when it was written."""
        self.kinds |= {
            kind
            for value, written_ms in records
            if written_ms < self._since_ms and (kind := kind_of(value)) is not None
        }

    async def look(
        self, connection: Connection, topics: Iterable[str], candidates: str | None = None
    ) -> None:
        """Take in the last records of the logs, as they stand when the process begins.

        candidates  the log of candidates, if there is one
        """
        topics = [*topics, *([] if candidates is None else [candidates])]
        async with log_reader(connection) as reader:
            places = [tp for topic in topics for tp in await reader.partitions(topic)]
            if not places:
                return
            ends = {
                tp: Stretch(max(stretch.start, stretch.end - LAST_RECORDS), stretch.end)
                for tp, stretch in (await reader.bounds(places)).items()
            }
            async for tp, records in reader.read(ends):
                # Whatever their clock says: they were there.
                note = self.note_kinds if tp.topic == candidates else self.note
                note((record.value, -1) for record in records)


def _version_of(value: bytes | None) -> str | None:
    try:
        return read_features_version(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, RecursionError):
        return None
