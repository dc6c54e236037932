"""An hour of evidence, as the guard writes it down: topic ``<pipeline>-guard``.

Four weeks of hours are kept, each under its place among them, so that the compacted topic never
holds more; whoever decides next begins with what is known of the same hour of earlier weeks.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from stream_infer.errors import InvalidDataError
from stream_infer.events.evidence import Counted

HOURS_KEPT = 4 * 168

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class HourSums(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One version in one hour; see `stream_infer.events.evidence`."""

    rows: _Count
    scores: Annotated[tuple[_Count, ...], msgspec.Meta(max_length=257)]
    features: dict[str, Counted] = {}
    run_us: _Count = 0


class HourWord(msgspec.Struct, frozen=True, kw_only=True):
    """All versions of a model in one hour. Key: ``<model>/hours/<hour modulo four weeks>``.

    hour  since the epoch
    """

    model: _Name
    hour: _Count
    versions: dict[_Name, HourSums] = {}


def hour_key(model: str, hour: int) -> bytes:
    """Return the key of an hour's word."""
    return f"{model}/hours/{hour % HOURS_KEPT}".encode()


def encode_hour_word(word: HourWord) -> bytes:
    """Return the record's value."""
    return msgspec.json.encode(word)


def decode_hour_word(value: bytes) -> HourWord:
    """Return what a record says; raise InvalidDataError ``hour_word_invalid``."""
    try:
        return msgspec.json.decode(value, type=HourWord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDataError(
            "hour_word_invalid",
            f"What was written down of an hour cannot be used: {error}.",
            "Find out who writes to the guard's topic; the hour is passed over.",
        ) from error
