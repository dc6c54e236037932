"""Allow and block lists: entities that are decided by name.

A user keeps them in a compacted topic, one record an entity and list::

    key    blocked-customers:c-17
    value  {"list": "blocked-customers", "entity": "c-17", "event_time": 1767268800000,
            "reason": "stolen card, called in"}

A tombstone takes the entity off, and so does ``"listed": false``, which can say why. The
stage that decides does not read that topic: a re-keying stage writes each record, with its
origin, into every partition of the log that the stage folds. So the lists are part of the
stage's state, and a replay decides as the first run did.

`Lists` owns that part. What is listed changes by `fold` and `restore` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.events.lines import LinesDecoder

SCHEMA_VERSION = 1
SNAPSHOT_VERSION = 1
REASON_CHARS_MAX = 500
_ENTRY_BYTES = 220

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
    event_time: int = 0


class ListChange(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """The same in a stage's log: one JSON array, with its origin in the lists' topic."""

    schema_version: Annotated[int, msgspec.Meta(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    upstream_topic: str
    upstream_partition: Annotated[int, msgspec.Meta(ge=0, lt=2**15)]
    upstream_offset: Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
    list: str
    entity: _Entity
    listed: bool
    reason: _Reason = ""
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


class Lists:
    """The lists as one partition of a stage knows them.

    Changes of a list that nobody declared are kept too: it would begin empty when somebody does.
    """

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, str]] = {}
        self._seen: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._listed.values()))

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return sum(
            _ENTRY_BYTES + len(entity) + len(reason)
            for listed in self._listed.values()
            for entity, reason in listed.items()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lists) and self.snapshot() == other.snapshot()

    __hash__ = None  # type: ignore[assignment]  # a value that changes

    def fold(self, changes: Iterable[ListChange]) -> None:
        """Fold changes in log order; one that is not above its upstream's highest is ignored."""
        for change in changes:
            upstream = f"{change.upstream_topic}-{change.upstream_partition}"
            if change.upstream_offset <= self._seen.get(upstream, -1):
                continue
            self._seen[upstream] = change.upstream_offset
            listed = self._listed.setdefault(change.list, {})
            if change.listed:
                listed[change.entity] = change.reason
            else:
                listed.pop(change.entity, None)

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
            "upstreams": dict(sorted(self._seen.items())),
            "listed": {
                name: dict(sorted(listed.items()))
                for name, listed in sorted(self._listed.items())
                if listed
            },
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
        self._seen = dict(snapshot["upstreams"])
        self._listed = {name: dict(listed) for name, listed in snapshot["listed"].items()}


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
