"""How records of Kafka are shown: to people in a line, to machines as JSON without loss."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec


def time_text(timestamp_ms: int | None) -> str:
    """Return a record's time as RFC 3339 text in UTC, ``-`` when there is none."""
    if timestamp_ms is None or timestamp_ms < 0:
        return "-"
    try:
        time = datetime.fromtimestamp(timestamp_ms / 1_000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return str(timestamp_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bytes_text(value: bytes | None) -> str:
    """Return bytes for a terminal: text without control characters, or hexadecimal."""
    if value is None:
        return "null"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "0x" + value.hex()
    # A record's bytes come from outside: none of them may steer the terminal.
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def bytes_json(value: bytes | None) -> Any:
    """Return bytes for JSON: null, text, or ``{"base64": ...}`` for what is not UTF-8."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def value_json(value: bytes | None) -> Any:
    """Return a record's value for JSON: the JSON it holds, else as `bytes_json`."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes_json(value)


def headers_json(headers: Sequence[tuple[str, bytes | None]]) -> list[list[Any]]:
    """Return headers as pairs: a name may stand there more than once."""
    return [[name, bytes_json(value)] for name, value in headers]
