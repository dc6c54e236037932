"""Dead letters: the record as it came, and headers that say why it is here.

Key, value and the record's own headers stay as they were, in their order; ours follow.
We write the names and encodings of Spring Kafka's DeadLetterPublishingRecoverer, which
most tools show, and a few of our own:

    kafka_dlt-original-topic           text
    kafka_dlt-original-partition       int32, big endian
    kafka_dlt-original-offset          int64, big endian
    kafka_dlt-original-timestamp       int64, big endian, ms since the epoch; -1 for none
    kafka_dlt-original-timestamp-type  text, CreateTime or LogAppendTime
    kafka_dlt-original-consumer-group  text
    kafka_dlt-exception-fqcn           text
    kafka_dlt-exception-message        text, without any value of the record
    si-error-code, si-stage            text
    si-attempt                         decimal text, 1 for the first
    si-stub, si-original-size, si-sha256   only on a stub: 1, decimal text, hex text

Read are also those of Kafka Connect (KIP-298, ``__connect.errors.*``) and Kafka
Streams (KIP-1034, ``__streams.errors.*``), whose numbers are decimal text.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Header = tuple[str, bytes | None]
Family = Literal["spring", "connect", "streams"]

STUB_BYTES_MAX = 64 * 1024
MESSAGE_CHARS_MAX = 1_000
"""A header is for reading; a longer message would crowd the record it explains."""

SPRING = "kafka_dlt-"
CONNECT = "__connect.errors."
STREAMS = "__streams.errors."
_OWN = "si-"
_FAMILIES: dict[str, Family] = {SPRING: "spring", CONNECT: "connect", STREAMS: "streams"}
_FIRST_OF_OURS = f"{SPRING}original-topic"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFacts:
    """What a dead letter's headers tell; None where they say nothing that can be read.

    family         whose headers they are: the ones written last when there are several
    timestamp_ms   the original record's, -1 when it had none
    exception      class name of the error
    stub           whether the value was cut; then `original_bytes` and `sha256` describe it whole
    unreadable     names of headers that are there and hold something else than they should
    """

    family: Family | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    timestamp_type: str | None = None
    consumer_group: str | None = None
    exception: str | None = None
    message: str | None = None
    error_code: str | None = None
    stage: str | None = None
    attempt: int | None = None
    stub: bool = False
    original_bytes: int | None = None
    sha256: str | None = None
    unreadable: tuple[str, ...] = ()


def dead_letter_headers(
    original: Sequence[Header],
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    consumer_group: str,
    code: str,
    message: str,
    stage: str,
    timestamp_type: str = "CreateTime",
    exception: str = "stream_infer.errors.InvalidDataError",
    attempt: int = 1,
) -> list[Header]:
    """Return the original headers with ours after them.

    original  the record's own headers; names may repeat, values may be None
    message   names the cause and holds no value of the record
    """
    texts = {
        "exception-fqcn": exception,
        "exception-message": message[:MESSAGE_CHARS_MAX],
    }
    return [
        *original,
        (_FIRST_OF_OURS, topic.encode()),
        (f"{SPRING}original-partition", struct.pack(">i", partition)),
        (f"{SPRING}original-offset", struct.pack(">q", offset)),
        (f"{SPRING}original-timestamp", struct.pack(">q", timestamp_ms)),
        (f"{SPRING}original-timestamp-type", timestamp_type.encode()),
        (f"{SPRING}original-consumer-group", consumer_group.encode()),
        *((SPRING + name, text.encode("utf-8", "replace")) for name, text in texts.items()),
        ("si-error-code", code.encode()),
        ("si-stage", stage.encode()),
        ("si-attempt", str(attempt).encode()),
    ]


def stub_value(value: bytes) -> bytes:
    """Return what a stub keeps of a value that is refused for its size: its first 64 KiB."""
    return value[:STUB_BYTES_MAX]


def stub_headers(value: bytes) -> list[Header]:
    """Return the headers that describe the whole of a value of which only a stub is kept."""
    return [
        ("si-stub", b"1"),
        ("si-original-size", str(len(value)).encode()),
        ("si-sha256", hashlib.sha256(value).hexdigest().encode()),
    ]


def original_headers(headers: Sequence[Header]) -> list[Header]:
    """Return the headers that the record had before it became a dead letter, for sending it again.

    Ours are a block at the end, so what stands before its first is the original, even if
    that had been a dead letter before. Other families are left out name by name.
    """
    names = [name for name, _ in headers]
    if _family(headers) == "spring" and "si-error-code" in names and _FIRST_OF_OURS in names:
        last = len(names) - 1 - names[::-1].index(_FIRST_OF_OURS)
        return list(headers[:last])
    prefixes = (*_FAMILIES, _OWN)
    return [header for header in headers if not header[0].startswith(prefixes)]


def read_dead_letter(headers: Iterable[Header]) -> DeadLetterFacts:
    """Return what the headers tell, whichever of the three families wrote them.

    Of a header that occurs twice the last one counts, as in Kafka's own `lastHeader`.
    """
    headers = list(headers)
    family = _family(headers)
    table = dict(_OWN_FIELDS)
    if family is not None:
        table |= _FIELDS[family]
    facts: dict[str, Any] = {}
    unreadable: list[str] = []
    for name, value in dict(headers).items():
        if name not in table:
            continue
        field, read = table[name]
        try:
            if value is not None:
                facts[field] = read(value)
        except (ValueError, struct.error):
            # Told in `unreadable`; the other headers still help whoever looks.
            unreadable.append(name)
    return DeadLetterFacts(family=family, unreadable=tuple(unreadable), **facts)


def _family(headers: Sequence[Header]) -> Family | None:
    for name, _ in reversed(headers):
        for prefix, family in _FAMILIES.items():
            if name.startswith(prefix):
                return family
    return None


def _text(value: bytes) -> str:
    return value.decode()


def _decimal(value: bytes) -> int:
    return int(value.decode("ascii"))


def _int32(value: bytes) -> int:
    return int(struct.unpack(">i", value)[0])


def _int64(value: bytes) -> int:
    return int(struct.unpack(">q", value)[0])


def _flag(value: bytes) -> bool:
    return value == b"1"


_Field = tuple[str, Callable[[bytes], Any]]
_OWN_FIELDS: dict[str, _Field] = {
    "si-error-code": ("error_code", _text),
    "si-stage": ("stage", _text),
    "si-attempt": ("attempt", _decimal),
    "si-stub": ("stub", _flag),
    "si-original-size": ("original_bytes", _decimal),
    "si-sha256": ("sha256", _text),
}
_FIELDS: dict[Family, dict[str, _Field]] = {
    "spring": {
        f"{SPRING}original-topic": ("topic", _text),
        f"{SPRING}original-partition": ("partition", _int32),
        f"{SPRING}original-offset": ("offset", _int64),
        f"{SPRING}original-timestamp": ("timestamp_ms", _int64),
        f"{SPRING}original-timestamp-type": ("timestamp_type", _text),
        f"{SPRING}original-consumer-group": ("consumer_group", _text),
        f"{SPRING}exception-fqcn": ("exception", _text),
        f"{SPRING}exception-message": ("message", _text),
    },
    "connect": {
        f"{CONNECT}topic": ("topic", _text),
        f"{CONNECT}partition": ("partition", _decimal),
        f"{CONNECT}offset": ("offset", _decimal),
        f"{CONNECT}stage": ("stage", _text),
        f"{CONNECT}exception.class.name": ("exception", _text),
        f"{CONNECT}exception.message": ("message", _text),
    },
    "streams": {
        f"{STREAMS}topic": ("topic", _text),
        f"{STREAMS}partition": ("partition", _decimal),
        f"{STREAMS}offset": ("offset", _decimal),
        f"{STREAMS}exception": ("exception", _text),
        f"{STREAMS}message": ("message", _text),
    },
}
