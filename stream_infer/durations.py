"""Durations as people write them: ``90s``, ``15m``, ``1h``, ``7d``, ``250ms``.

Inside, every duration is a whole number of milliseconds.
"""

from __future__ import annotations

import re

from stream_infer.errors import ConfigError

MS_PER_UNIT = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM = re.compile(r"(\d+)(ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Return the duration in ms; raise `ConfigError` when it is not one.

    >>> parse_duration("7d")
    604800000
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            "bad_duration",
            f"{text!r} is not a duration.",
            "Write a whole number and a unit, such as 250ms, 90s, 15m, 1h or 7d.",
        )
    return int(match[1]) * MS_PER_UNIT[match[2]]


def format_duration(ms: int) -> str:
    """Return the shortest exact form of a duration.

    >>> format_duration(3_600_000)
    '1h'
    """
    for unit in ("d", "h", "m", "s"):
        if ms and ms % MS_PER_UNIT[unit] == 0:
            return f"{ms // MS_PER_UNIT[unit]}{unit}"
    return f"{ms}ms"
