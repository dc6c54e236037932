"""Many small JSON records to objects, one parser call each.

What the parser does not say itself is looked at first, over the whole batch at once:
whether all bytes are UTF-8 (it skips ignored fields without looking at theirs), and
whether a record is nested so deeply that parsing it depends on how much of the stack
is left. A batch that passes and parses is done. Anything else is decoded again record
by record, each with the checks of its own, so that a bad record is named and its
neighbours never notice.

Joining the records by newlines and parsing the text in one call was measured, and is
no quicker: see docs/decisions/0002-decoding-a-batch.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.events import reasons
from stream_infer.events.reasons import DEPTH_MAX, BadRecord

_WHITE_SPACE = b" \t\r\n"
SMALL_BYTES = 8192
_BRACKET_CASE = 0x20
"""``[`` and ``{`` differ in this bit alone; set, it folds nothing else onto ``{``."""
_OPENING = 0x7B
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]+|[\]}]+', re.DOTALL)
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class LinesDecoder:
    """Decode records of one msgspec type; every record is an object or a `BadRecord`.

    record_type  the msgspec type of one record
    opening_min  how many objects and arrays every good record holds, itself included
    """

    def __init__(self, record_type: Any, opening_min: int = 1) -> None:
        self._parse = msgspec.json.Decoder(record_type).decode
        self._opening_min = opening_min

    def decode(
        self, values: Sequence[bytes | None]
    ) -> tuple[NDArray[np.int64], list[Any], list[BadRecord]]:
        """Return (rows of the good records (k,) int64, their k objects, the bad ones by row).

        Cost       O(bytes), one parser call a record, two where one of them is bad
        """
        if self._is_plain(values):
            try:
                objects = list(map(self._parse, values))  # type: ignore[arg-type]  # no None there
            except _REFUSED:
                pass  # which record it was is found below
            else:
                return np.arange(len(values)), objects, []
        return self._each(values)

    def _is_plain(self, values: Sequence[bytes | None]) -> bool:
        """Whether the records may be given to the parser without a look at each."""
        try:
            joined = b"\n".join(values)  # type: ignore[arg-type]  # None raises, as intended
        except TypeError:
            return False
        return _is_utf8(joined) and self._is_shallow(joined, values)

    def _is_shallow(self, joined: bytes, values: Sequence[bytes | None]) -> bool:
        """Whether no record can be nested too deeply, for it has too few opening brackets.

        The total alone tells, mostly: a record with fewer than `opening_min`, which would
        make room for a deep one, does not decode, and then each is looked at alone.
        """
        # A few records have few brackets altogether, and numpy's calls cost more than counting.
        if len(joined) < SMALL_BYTES and joined.count(b"{") + joined.count(b"[") <= DEPTH_MAX:
            return True
        # Numpy counts a byte many times as quickly as `bytes.count` before Python 3.13.
        opening = (np.frombuffer(joined, np.uint8) | _BRACKET_CASE) == _OPENING
        if np.count_nonzero(opening) <= self._opening_min * (len(values) - 1) + DEPTH_MAX:
            return True
        sizes: Iterable[int] = map(len, values)  # type: ignore[arg-type]  # as above
        ends = np.cumsum(np.fromiter(sizes, np.int64, len(values)) + 1)
        before = np.searchsorted(np.flatnonzero(opening), ends)
        return int(np.diff(before, prepend=0).max()) <= DEPTH_MAX

    def _each(
        self, values: Sequence[bytes | None]
    ) -> tuple[NDArray[np.int64], list[Any], list[BadRecord]]:
        rows: list[int] = []
        objects: list[Any] = []
        bad: list[BadRecord] = []
        for row, value in enumerate(values):
            refused = _unreadable(row, value)
            if refused is None:
                try:
                    objects.append(self._parse(value))  # type: ignore[arg-type]  # as above
                    rows.append(row)
                except _REFUSED as error:
                    refused = reasons.explain(row, error)
            if refused is not None:
                bad.append(refused)
        return np.array(rows, np.int64), objects, bad


def _unreadable(row: int, value: bytes | None) -> BadRecord | None:
    """Return what is wrong with a record before its JSON is looked at."""
    if value is None:
        return reasons.tombstone(row)
    if not value.strip(_WHITE_SPACE):
        return reasons.empty(row)
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as error:
            return reasons.explain(row, error)
    return reasons.too_deep(row) if nesting_depth(value) > DEPTH_MAX else None


def nesting_depth(value: bytes) -> int:
    """Return an upper bound of the nesting of a JSON text, exact when above `DEPTH_MAX`.

    >>> nesting_depth(b'{"a": [{"b": "]"}]}')
    3
    """
    bound = value.count(b"[") + value.count(b"{")
    if bound <= DEPTH_MAX:
        return bound
    depth = deepest = 0
    for token in _TOKENS.finditer(value):
        length = token.end() - token.start()
        first = value[token.start()]
        if first in b"[{":
            depth += length
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= length
    return deepest


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
