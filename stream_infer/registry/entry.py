"""One entry of a model's history: what moved, who moved it, when and why.

Entries are numbered from 1 without gaps and never change; the aliases of a model are what
remains when all of its entries are folded (`stream_infer.registry.history`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from stream_infer.errors import InvalidDataError, UsageError

ENTRY_FORMAT = 1
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
SHADOW, FAST = "shadow", "fast"

Action = Literal["promote", "rollback", "assign", "clear"]

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Of a model or a version: the same as in its manifest."""
Alias = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
_Who = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Why = Annotated[str, msgspec.Meta(max_length=2_000)]
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


class Move(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alias from a version to another; None: it names none."""

    alias: Alias
    before: Name | None = msgspec.field(name="from")
    after: Name | None = msgspec.field(name="to")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happened once.

    number     its place in the model's history, from 1
    action     ``promote`` and ``rollback`` move the champion, ``assign`` any other alias,
               ``clear`` lifts the bar on a version
    moves      made together: nobody sees one without the others
    share      of the keys that the challenger decides from now on; None: as before
    barred     version that must not be promoted before a person clears it
    cleared    version whose bar is lifted
    when       RFC 3339, UTC, never before the entry before
    who, why   a person, or what decided on its own
    automatic  whether no person asked for it
    """

    number: Annotated[int, msgspec.Meta(ge=1)]
    model: Name
    action: Action
    moves: tuple[Move, ...] = ()
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    barred: Name | None = None
    cleared: Name | None = None
    when: _Time
    who: _Who
    why: _Why = ""
    automatic: bool = False
    format: int = ENTRY_FORMAT

    def __post_init__(self) -> None:
        if self.format != ENTRY_FORMAT:
            raise ValueError(f"format {self.format} is not {ENTRY_FORMAT}, the one known here")

    @property
    def when_ms(self) -> int:
        """The time in ms since the epoch."""
        return time_ms(self.when)


def time_text(ms: int) -> str:
    """Return a time as an entry holds it.

    >>> time_text(1_767_268_800_005)
    '2026-01-01T12:00:00.005Z'
    """
    whole = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{ms % 1000:03d}Z"


def time_ms(text: str) -> int:
    """Return ms since the epoch of an entry's time.

    >>> time_ms("2026-01-01T12:00:00.005Z")
    1767268800005
    """
    moment = datetime.strptime(text[:19] + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    return int(moment.timestamp()) * 1000 + int(text[20:23])


def encode_entry(entry: Entry) -> bytes:
    """Return the entry as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(entry), indent=2) + b"\n"


def decode_entry(content: bytes, where: str) -> Entry:
    """Return the entry of a file; raise InvalidDataError ``history_damaged``."""
    try:
        return msgspec.json.decode(content, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(where, str(error)) from error


def damaged(where: str, why: str) -> InvalidDataError:
    """Return the error that says that a history cannot be trusted."""
    return InvalidDataError(
        "history_damaged",
        f"The history entry {where} cannot be used: {why.rstrip('.')}.",
        "Restore the registry from a copy; entries are never changed by stream-infer.",
        path=where,
    )


def checked_alias(alias: str) -> str:
    """Return a word that may name an alias; raise UsageError ``bad_alias``."""
    try:
        return msgspec.convert(alias, Alias)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad_alias",
            f"{alias!r} cannot name an alias.",
            "Use lower-case letters, digits and dashes, a letter first, at most 32.",
        ) from error


def checked_name(name: str, what: str) -> str:
    """Return a word that may name a model or a version; raise UsageError ``bad_name``."""
    try:
        return msgspec.convert(name, Name)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad_name",
            f"{name!r} cannot name a {what}.",
            "Use lower-case letters, digits, dots, dashes and underscores, at most 64.",
        ) from error
