"""Values of records, cut from the bytes that hold them when they are asked for.

Where machine code reads a whole fetch in its place, the object of a value is never needed, and
making it costs about as much as reading it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import digest_sources, kept, one_form

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_SOURCES = digest_sources(Path(__file__).parent)

FEW = 64
"""Fewer values are cut sooner than numpy has begun."""


class ValuesAmong(Sequence[bytes | None]):
    """``n`` values, None for a tombstone.

    data    the bytes
    starts  (n,) int64, where each begins
    ends    (n,) int64, where each ends; below 0 for a tombstone
    """

    __slots__ = ("_cut", "data", "ends", "starts")

    def __init__(self, data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.data = data
        self.starts = starts
        self.ends = ends
        self._cut: list[bytes | None] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> bytes | None: ...
    @overload
    def __getitem__(self, row: slice) -> ValuesAmong: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Return a value, or consecutive ones."""
        if isinstance(row, slice):
            return ValuesAmong(self.data, self.starts[row], self.ends[row])
        if self._cut is not None:
            return self._cut[row]
        end = int(self.ends[row])
        return None if end < 0 else self.data[int(self.starts[row]) : end]

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(self._all())

    @property
    def size(self) -> int:
        """Bytes of all values together."""
        if len(self) < FEW:
            return sum(map(len, filter(None, self._all())))
        return int((self.ends - self.starts)[self.ends >= 0].sum())

    @property
    def has_null(self) -> bool:
        """Whether there is a tombstone."""
        return bool(len(self.ends)) and int(self.ends.min()) < 0

    def _all(self) -> list[bytes | None]:
        if self._cut is None:
            data, ends = self.data, self.ends.tolist()
            cut: list[bytes | None] = [
                data[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)
            ]
            if self.has_null:
                cut = [None if end < 0 else value for value, end in zip(cut, ends, strict=True)]
            self._cut = cut
        return self._cut


def size_of(values: Sequence[bytes | None]) -> int:
    """Return the bytes of values together."""
    return values.size if isinstance(values, ValuesAmong) else sum(map(len, filter(None, values)))


def joined(values: Sequence[bytes | None]) -> ValuesAmong | None:
    """Return values as they stand among bytes, None where there is a tombstone."""
    if isinstance(values, ValuesAmong):
        return None if values.has_null else values
    try:
        data = b"".join(values)  # type: ignore[arg-type]  # None raises, as intended
    except TypeError:
        return None
    sizes = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]
    ends = np.cumsum(sizes)
    return ValuesAmong(data, ends - sizes, ends)


def _gather_texts(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    between: int,
    out: NDArray[np.uint8],
) -> None:
    """Write texts one behind the other, with a byte between them unless that is below 0."""
    to = 0
    for row in range(len(starts)):
        if row and between >= 0:
            out[to] = between
            to += 1
        for at in range(starts[row], ends[row]):
            out[to] = data[at]
            to += 1


_gather = one_form(kept(_gather_texts, _SOURCES, _OPTIONS))


class TextsAmong(Sequence[str]):
    """``n`` ASCII texts without control characters, cut when they are asked for.

    data    the bytes
    starts  (n,) int64, where each begins
    ends    (n,) int64, where each ends
    """

    __slots__ = ("_cut", "data", "ends", "starts")

    def __init__(self, data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.data = data
        self.starts = starts
        self.ends = ends
        self._cut: list[str] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> TextsAmong: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Return a text, or consecutive ones."""
        if isinstance(row, slice):
            return TextsAmong(self.data, self.starts[row], self.ends[row])
        return self.all()[row]

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def take(self, rows: NDArray[np.int64]) -> TextsAmong:
        """Return the texts of some rows."""
        return TextsAmong(self.data, self.starts[rows], self.ends[rows])

    def joined(self, between: int | None) -> NDArray[np.uint8]:
        """Return the texts one behind the other, (b,) uint8, with a byte between them if any."""
        gaps = 0 if between is None else max(len(self) - 1, 0)
        out = np.empty(int((self.ends - self.starts).sum()) + gaps, np.uint8)
        data = np.frombuffer(self.data, np.uint8)
        _gather(data, self.starts, self.ends, -1 if between is None else between, out)
        out.flags.writeable = False  # as the bytes of other texts are, so that one code takes both
        return out

    def all(self) -> list[str]:
        """Return the texts."""
        if self._cut is None:
            # No text holds a byte 0, and splitting takes a fifth of cutting one by one.
            whole = str(self.joined(0).data, "latin-1")
            self._cut = whole.split("\0") if len(self) else []
        return self._cut
