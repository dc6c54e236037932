"""Allow and block lists: entities that are decided by name.

A user keeps them in a compacted topic, one record an entity and list::

    key    blocked-customers:c-17
    value  {"list": "blocked-customers", "entity": "c-17", "event_time": 1767268800000,
            "reason": "stolen card, called in"}

A tombstone takes the entity off, and so does ``"listed": false``, which can say why. The
stage that decides does not read that topic: a stage in front writes each record, with its
origin, into every partition of the log that the deciding stage folds. So the lists are part
of the stage's state, and a replay decides as the first run did. It writes them all again
whenever it is assigned, for that log is cut by its retention and lists are not.

`Lists` owns that part. What is listed changes by `fold` and `restore` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.events.columns import LIST, EventColumns
from stream_infer.events.lines import LinesDecoder
from stream_infer.events.times import TIME_MS_MAX, TIME_MS_MIN

SNAPSHOT_VERSION = 1
REASON_CHARS_MAX = 500
_ENTRY_BYTES = 330
_REASON_BYTES = 150

_Reason = Annotated[str, msgspec.Meta(max_length=REASON_CHARS_MAX)]
_Entity = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class ListRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a user writes about one entity of one list. Key: ``<list>:<entity>``.

    listed      False takes the entity off the list, as a tombstone does
    reason      why, for people; never a card number
    event_time  when it was decided, ms since the epoch
    """

    list: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_-]{0,63}$")]
    entity: _Entity
    listed: bool = True
    reason: _Reason = ""
    event_time: Annotated[int, msgspec.Meta(ge=TIME_MS_MIN, le=TIME_MS_MAX)] = 0


class ListChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The same in a stage's log, with its origin in the lists' topic."""

    upstream_topic: str
    upstream_partition: int
    upstream_offset: int
    list: str
    entity: str
    listed: bool
    reason: str = ""
    event_time: int = 0


_RECORDS = LinesDecoder(ListRecord)


def list_key(name: str, entity: str) -> bytes:
    """Return the key of an entity's record."""
    return f"{name}:{entity}".encode()


def read_list_change(
    key: bytes | None, value: bytes | None, topic: str, partition: int, offset: int
) -> ListChange:
    """Return the change that a record of the lists' topic means.

    Raises  InvalidDataError ``list_record_invalid`` without quoting the record: key or value
            cannot be read, or name different entities
    """
    name, _, entity = _key_text(key).partition(":")
    if not name or not entity:
        raise _invalid("its key is not <list>:<entity>")
    if value is None:
        record = ListRecord(list=name, entity=entity, listed=False)
    else:
        _, records, bad = _RECORDS.decode([value])
        if bad:
            raise _invalid(bad[0].message)
        record = records[0]
        if (record.list, record.entity) != (name, entity):
            raise _invalid("key and value name different entities")
    return ListChange(
        upstream_topic=topic,
        upstream_partition=partition,
        upstream_offset=offset,
        list=record.list,
        entity=record.entity,
        listed=record.listed,
        reason=record.reason,
        event_time=record.event_time,
    )


def list_changes(columns: EventColumns) -> list[tuple[int, ListChange]]:
    """Return (row, change) of the rows of kind LIST; nothing for most batches.

    Raises  InvalidDataError ``list_record_invalid`` for a row that holds no list record
    """
    if columns.extra is None or columns.upstream is None or columns.upstream_offset is None:
        return []
    rows: list[int] = np.flatnonzero(columns.kind == LIST).tolist()
    found = []
    for row in rows:
        topic, _, partition = columns.upstreams[columns.upstream[row]].rpartition("-")
        offset = int(columns.upstream_offset[row])
        key = columns.ids[row].encode()
        change = read_list_change(key, columns.extra[row] or b"", topic, int(partition), offset)
        found.append((row, change))
    return found


class Lists:
    """The lists as one partition of a stage knows them.

    Changes of a list that nobody declared are kept too: it would begin empty when somebody does.
    Of who was taken off, the place in the lists' topic is kept, so that an older record of the
    entity that is written again does not put it back.
    """

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, str]] = {}
        self._seen: dict[str, dict[str, tuple[int, int]]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._listed.values()))

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return self._bytes

    @property
    def seen(self) -> int:
        """Entities that are, or were, on a list."""
        return sum(map(len, self._seen.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lists) and self.snapshot() == other.snapshot()

    __hash__ = None  # type: ignore[assignment]  # a value that changes

    def fold(self, changes: Iterable[ListChange]) -> None:
        """Fold changes in log order; one that is not newer than its entity's last is ignored."""
        for change in changes:
            self._note(
                change.list,
                change.entity,
                (change.upstream_partition, change.upstream_offset),
                change.reason if change.listed else None,
            )

    def _note(self, name: str, entity: str, place: tuple[int, int], reason: str | None) -> None:
        seen = self._seen.setdefault(name, {})
        partition, offset = seen.get(entity, (-1, -1))
        if partition == place[0] and place[1] <= offset:
            return
        if offset < 0:
            self._bytes += _ENTRY_BYTES + len(entity)
        seen[entity] = place
        listed = self._listed.setdefault(name, {})
        before = listed.pop(entity, None)
        self._bytes -= 0 if before is None else _REASON_BYTES + len(before)
        if reason is not None:
            listed[entity] = reason
            self._bytes += _REASON_BYTES + len(reason)

    def reason(self, name: str, entity: str) -> str | None:
        """Return why an entity is on a list, or None when it is not on it."""
        return self._listed.get(name, {}).get(entity)

    def rows(self, name: str, entities: Sequence[str]) -> list[int]:
        """Return the rows whose entity is on a list. Cost nothing where the list is empty."""
        listed = self._listed.get(name)
        if not listed:
            return []
        return [row for row, entity in enumerate(entities) if entity in listed]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as text and whole numbers; equal states, equal snapshots."""
        return {
            "version": SNAPSHOT_VERSION,
            "entities": [
                [name, entity, *place, self.reason(name, entity)]
                for name, seen in sorted(self._seen.items())
                for entity, place in sorted(seen.items())
            ],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Replace the state by a snapshot's; raise `ConflictError` for one of another version."""
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise ConflictError(
                "state_version",
                "The saved lists were made by another version of stream-infer.",
                "Rebuild the state from the log.",
                found=snapshot.get("version"),
                expected=SNAPSHOT_VERSION,
            )
        self._listed, self._seen, self._bytes = {}, {}, 0
        for name, entity, partition, offset, reason in snapshot["entities"]:
            self._note(name, entity, (partition, offset), reason)


def _key_text(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError as error:
        raise _invalid("its key is not UTF-8") from error


def _invalid(why: str) -> InvalidDataError:
    return InvalidDataError(
        "list_record_invalid",
        f"A record of an allow or block list cannot be used: {why.rstrip('.')}.",
        'Write key <list>:<entity> and value {"list": ..., "entity": ..., "reason": ...}.',
    )
