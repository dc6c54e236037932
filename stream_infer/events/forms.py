"""Records of one form: JSON that is the same but for some texts and numbers.

They are written without an object a row: fields are filled with a column each, in the order in
which they stand in the record. What is written is to the byte what msgspec would write of the same
values. Where that is not sure (a text that needs escapes, a float with an exponent), the rows are
left to msgspec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from stream_infer.events.form_writing import (
    CHOICE,
    LIST,
    NUMBER_BYTES_MAX,
    TEXT,
    TEXT_END,
    TOKEN,
    WHOLE,
    write_rows,
)
from stream_infer.events.shortest import shortest

EXPONENT_BELOW = 1e-5
"""A 64-bit float below is written with an exponent."""
DECIMALS_MAX = 5
"""Of a decimal: no unit is below `EXPONENT_BELOW`."""

FEW = 64
"""Rows that are encoded one by one: filling a form costs as much for one row as for a hundred."""
FORMS_KEPT = 8
"""Forms that an encoder keeps: a model that is exchanged makes another."""

FIELD = None
"""In a form: where rows differ."""

_BEHIND_TEXT = chr(TEXT_END)
_NUMPY = orjson.OPT_SERIALIZE_NUMPY


class Form:
    """What of a record is the same for all: its pieces, with `FIELD` where rows differ.

    >>> rows = Form([b'{"id":"', FIELD, b'","n":', FIELD, b"}"]).rows(2)
    >>> rows.texts(["a", "b"])
    >>> rows.whole(np.array([1, -2]))
    >>> rows.write()
    [b'{"id":"a","n":1}', b'{"id":"b","n":-2}']
    """

    def __init__(self, pieces: Iterable[bytes | None]) -> None:
        constants = [b""]
        for piece in pieces:
            if piece is FIELD:
                constants.append(b"")
            else:
                constants[-1] += piece
        self.constants = np.frombuffer(b"".join(constants), np.uint8)
        self.constant_ends = np.cumsum([len(each) for each in constants], dtype=np.uint64)

    def rows(self, n: int) -> Rows:
        """Return `n` rows to be filled."""
        return Rows(self, n)


class Rows:
    """``n`` rows of a form, filled field by field.

    plain  (n,) bool: which rows are written as msgspec would write them, known after `write`. What
           that returns of the others is of no use
    """

    def __init__(self, form: Form, n: int) -> None:
        fields = len(form.constant_ends) - 1
        self.plain = np.ones(n, np.bool_)
        self._form = form
        self._n = n
        self._kinds: list[int] = []
        self._places: list[int] = []
        self._numbers = np.zeros((fields, n), np.int64)
        self._texts: list[bytes] = []
        self._size = 0
        self._choices: list[int] = []
        self._longest = 0

    def whole(self, numbers: NDArray[np.integer[Any]] | int) -> None:
        """Fill the next field with (n,) whole numbers, or one for all rows."""
        self._numbers[len(self._kinds)] = numbers
        self._fill(WHOLE)

    def decimal(self, units: NDArray[np.int64], decimals: int) -> None:
        """Fill the next field with (n,) numbers of ``1/10**decimals``; null is `NO_VALUE`."""
        if not 0 < decimals <= DECIMALS_MAX:
            self.plain[:] = False
            decimals = 1
        self._numbers[len(self._kinds)] = units
        self._fill(decimals)

    def texts(self, texts: Sequence[str]) -> None:
        """Fill the next field with n texts, without quotes around them."""
        joined = _BEHIND_TEXT.join([*texts, ""])
        if joined.count(_BEHIND_TEXT) != self._n:
            self.plain[:] = False
            joined = _BEHIND_TEXT * self._n
        self._fill(TEXT, self._add(joined.encode()))

    def words(self, words: Sequence[str | None]) -> None:
        """Fill the next field with n of a few texts or nulls, each as JSON writes it."""
        places = {word: at for at, word in enumerate(dict.fromkeys(words))}
        self.choices(
            [msgspec.json.encode(word) for word in places],
            0
            if len(places) == 1
            else np.fromiter(map(places.__getitem__, words), np.int64, self._n),
        )

    def choices(self, choices: Sequence[bytes], chosen: NDArray[np.integer[Any]] | int) -> None:
        """Fill the next field with (n,) of a few pieces by their indices, or one for all rows."""
        self._numbers[len(self._kinds)] = chosen
        first = len(self._choices)
        for choice in choices:
            self._choices.append(self._add(choice))
        self._choices.append(self._size)
        self._longest += max(map(len, choices), default=0)
        self._fill(CHOICE, first)

    def floats(self, numbers: NDArray[np.float32]) -> None:
        """Fill the next field with (n,) float32 in their shortest form; null is not finite."""
        text, _, comes_back = shortest(numbers)
        # Below, a float32 is written without an exponent where the same 64-bit float has one.
        self.plain &= comes_back & ((numbers == 0) | ~(np.abs(numbers) < EXPONENT_BELOW))
        self._fill(TOKEN, self._add(text) + 1)

    def lists(self, numbers: NDArray[np.float64]) -> None:
        """Fill the next field with (n, k) numbers as n lists; null is NaN."""
        if not numbers.shape[1]:
            self.choices([b"[]"], 0)
            return
        self.plain &= ~np.isinf(numbers).any(axis=1)
        text = orjson.dumps(np.ascontiguousarray(numbers), option=_NUMPY)
        self._fill(LIST, self._add(text) + 1)

    def _add(self, text: bytes) -> int:
        start = self._size
        self._texts.append(text)
        self._size += len(text)
        return start

    def _fill(self, kind: int, place: int = 0) -> None:
        self._kinds.append(kind)
        self._places.append(place)

    def write(self) -> list[bytes]:
        """Return the rows. Raises ValueError unless every field was filled."""
        form, n = self._form, self._n
        if len(self._kinds) != len(self._numbers):
            raise ValueError(f"{len(self._kinds)} of {len(self._numbers)} fields were filled")
        numbers = sum(kind >= WHOLE for kind in self._kinds)
        row = len(form.constants) + numbers * NUMBER_BYTES_MAX + self._longest
        out, row_ends = np.empty(n * row + self._size, np.uint8), np.empty(n, np.int64)
        write_rows(
            form.constants,
            form.constant_ends,
            np.array(self._kinds, np.int64),
            np.array(self._places, np.uint64),
            np.frombuffer(b"".join(self._texts), np.uint8),
            np.array([*self._choices, self._size], np.uint64),
            self._numbers,
            out,
            row_ends,
            self.plain,
        )
        ends = row_ends.tolist()
        data = out[: ends[-1] if n else 0].tobytes()
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def write_or(self, encode: Callable[[NDArray[np.int64]], list[bytes]]) -> list[bytes]:
        """Return the rows; those that are not plain as something else encodes them.

        encode  from the numbers of rows to their records
        """
        values = self.write()
        if not self.plain.all():
            rows = np.flatnonzero(~self.plain)
            for row, value in zip(rows.tolist(), encode(rows), strict=True):
                values[row] = value
        return values


def picked(values: Sequence[Any] | None, rows: NDArray[np.int64]) -> list[Any] | None:
    """Return those values that stand in some rows; None of none."""
    return None if values is None else [values[row] for row in rows.tolist()]
