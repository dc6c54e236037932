"""Which input records outputs speak of, read in bulk from the bytes of scored events.

Our own encoder writes ``{"event_id":"<topic>-<partition>-<offset>",...`` with the id in
front, so the id is cut out without parsing the rest; anything that does not look like
that is parsed as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Positions = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Partitions (n,) and offsets (n,) of one topic."""


class _Identified(msgspec.Struct):
    event_id: str


_decode = msgspec.json.Decoder(_Identified).decode


def scored_positions(topic: str, values: Sequence[bytes | None]) -> tuple[Positions, int]:
    """Return the positions in `topic` that scored events name, and how many name none.

    Cost  about 0.4 us an event on the quick way, 1 us on the other
    """
    quick = _cut(f'{{"event_id":"{topic}-'.encode(), values)
    if quick is not None:
        return quick, 0
    pairs = [_parse(topic, value) for value in values]
    named = np.array([pair for pair in pairs if pair is not None], dtype=np.int64).reshape(-1, 2)
    return (named[:, 0], named[:, 1]), len(pairs) - len(named)


def _cut(head: bytes, values: Sequence[bytes | None]) -> Positions | None:
    """Return the positions when every value begins as our encoder writes it, else None."""
    length = len(head)
    try:
        cut = [value[length : value.index(b'"', length)] for value in values if value is not None]
    except ValueError:
        return None
    if len(cut) != len(values) or not all(
        value is not None and value.startswith(head) for value in values
    ):
        return None
    joined = b" ".join(cut)
    # Nothing but digits and one dash each, or the numbers below would be read wrongly.
    if joined.translate(None, b"0123456789") != b" ".join([b"-"] * len(cut)):
        return None
    numbers = np.fromstring(joined.replace(b"-", b" ").decode(), dtype=np.int64, sep=" ")
    if len(numbers) != 2 * len(cut):
        return None
    return numbers[0::2], numbers[1::2]


def _parse(topic: str, value: bytes | None) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        event_id = _decode(value).event_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return split_event_id(event_id, topic)


def split_event_id(event_id: str, topic: str) -> tuple[int, int] | None:
    """Return partition and offset of an event id of `topic`, None for any other text.

    >>> split_event_id("card-events-3-17", "card-events")
    (3, 17)
    """
    named, _, offset = event_id.rpartition("-")
    named, _, partition = named.rpartition("-")
    if named != topic or not (partition.isdecimal() and offset.isdecimal()):
        return None
    return int(partition), int(offset)
