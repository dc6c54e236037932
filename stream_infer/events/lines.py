"""Many small JSON records to objects at the price of one parser call.

The records are joined by newlines and parsed in one go, which costs a third of a
call per record. That is only the same as parsing them one by one when every line
is exactly one record, and a hostile or odd record must not move its neighbours:

- ``{..}{..}`` in one record would count as two, and a record of white space as none,
  so that counting objects alone can be deceived.
- a record may hold newlines of its own (pretty-printed JSON is legal), and the two
  halves of an object in neighbouring records would parse as one.

So the joined form is used only when every newline is a joint and stands between a
closing and an opening bracket. JSON allows ``}`` white space ``{`` nowhere inside a
document and no raw newline inside a string, so each joint is then the border of a
document, each record holds at least one, and as many objects as records means one
each. Anything else is taken apart: odd records are parsed alone and the plain ones
by halves, so that b bad records cost O(b log n) parser calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.events import reasons
from stream_infer.events.reasons import DEPTH_MAX, BadRecord

_NEWLINE = 0x0A
_WHITE_SPACE = b" \t\r\n"
_BRACKET_CASE = 0x20
"""``[`` and ``{`` differ in this bit alone; set, it folds nothing else onto ``{``."""
_OPENING = 0x7B
_ALONE_MAX = 8
"""Runs this short are parsed one by one: halving further would cost more calls."""
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]+|[\]}]+', re.DOTALL)


class LinesDecoder:
    """Decode records of one msgspec type; every record is an object or a `BadRecord`.

    record_type  the msgspec type of one record
    outer        ``object`` or ``array``: the outer form of every good record
    opening_min  how many objects and arrays every good record holds, itself included
    """

    def __init__(
        self,
        record_type: Any,
        outer: Literal["object", "array"] = "object",
        opening_min: int = 1,
    ) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(record_type)
        self._first, self._last = (0x7B, 0x7D) if outer == "object" else (0x5B, 0x5D)
        self._opening_min = opening_min

    def decode(
        self, values: Sequence[bytes | None]
    ) -> tuple[NDArray[np.int64], list[Any], list[BadRecord]]:
        """Return (rows of the good records (k,) int64, their k objects, the bad ones by row).

        Cost       O(bytes) when all are good, O(b log n) parser calls for b bad ones
        """
        objects = self._joined(values)
        if objects is not None:
            return np.arange(len(values)), objects, []
        return self._apart(values)

    def _joined(self, values: Sequence[bytes | None]) -> list[Any] | None:
        """Return one object per value, or None when that cannot be told from one parse."""
        if not values:
            return []
        try:
            joined = b"\n".join(values)  # type: ignore[arg-type]  # None raises, as intended
        except TypeError:
            return None
        if not self._is_plain(joined, len(values)):
            return None
        try:
            objects = self._decoder.decode_lines(joined)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Which record it was is found by taking the batch apart.
            return None
        return objects if len(objects) == len(values) else None

    def _is_plain(self, joined: bytes, n: int) -> bool:
        """Whether every newline of `joined` is the border of two of its `n` records."""
        raw = np.frombuffer(joined, dtype=np.uint8)
        if raw.size == 0 or raw[0] != self._first or raw[-1] != self._last:
            return False
        joints = np.flatnonzero(raw == _NEWLINE)
        if joints.size != n - 1:
            return False
        if (raw[joints - 1] != self._last).any() or (raw[joints + 1] != self._first).any():
            return False
        return self._is_shallow(raw, joints) and _is_utf8(joined)

    def _is_shallow(self, raw: NDArray[np.uint8], joints: NDArray[np.int64]) -> bool:
        """Whether no record can be nested too deeply, for it has too few opening brackets.

        The total alone tells, mostly: a record with fewer than `opening_min` does not
        decode, and takes the batch apart anyway.
        """
        opening = (raw | _BRACKET_CASE) == _OPENING
        if np.count_nonzero(opening) <= self._opening_min * joints.size + DEPTH_MAX:
            return True
        places = np.flatnonzero(opening)
        before = np.searchsorted(places, joints)
        return int(np.diff(before, prepend=0, append=places.size).max()) <= DEPTH_MAX

    def _apart(
        self, values: Sequence[bytes | None]
    ) -> tuple[NDArray[np.int64], list[Any], list[BadRecord]]:
        found: list[Any] = [None] * len(values)
        first, last = self._first, self._last
        plain = [
            row
            for row, value in enumerate(values)
            if value and value[0] == first and value[-1] == last and b"\n" not in value
        ]
        odd = set(range(len(values))).difference(plain)
        bad = [refused for row in odd if (refused := self._alone(row, values, found))]
        # The whole was tried already when nothing is odd: begin with its halves.
        runs = [plain] if odd else [plain[: len(plain) // 2], plain[len(plain) // 2 :]]
        while runs:
            run = runs.pop()
            if len(run) <= _ALONE_MAX:
                bad += [refused for row in run if (refused := self._alone(row, values, found))]
                continue
            objects = self._joined([values[row] for row in run])
            if objects is None:
                runs += [run[: len(run) // 2], run[len(run) // 2 :]]
                continue
            for row, decoded in zip(run, objects, strict=True):
                found[row] = decoded
        bad.sort(key=lambda refused: refused.row)
        good = np.ones(len(values), dtype=np.bool_)
        good[[refused.row for refused in bad]] = False
        rows = np.flatnonzero(good)
        return rows, [found[row] for row in rows.tolist()], bad

    def _alone(
        self, row: int, values: Sequence[bytes | None], found: list[Any]
    ) -> BadRecord | None:
        """Decode one record into `found`, or return why it is refused."""
        value = values[row]
        if value is None:
            return reasons.tombstone(row)
        if not value.strip(_WHITE_SPACE):
            return reasons.empty(row)
        try:
            # The parser skips ignored fields without looking at their bytes.
            value.decode()
            if nesting_depth(value) > DEPTH_MAX:
                return reasons.too_deep(row)
            found[row] = self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return reasons.explain(row, error)
        return None


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
