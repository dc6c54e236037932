"""A captured frame as bytes, and back.

Arrays of int64 are written byte by byte: all lowest bytes, then all second ones, and so on, so
that the bytes that hardly change lie together. Times are differences, clocks are told from
`newest`. zstd then halves what it leaves alone otherwise (19 bytes an entry of the fraud
pipeline's first stage against 37; docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import InvalidDataError

KEYS = "keys"
_PLANES = ("newest", "touched", "stepped", "lengths", "times", "values", "positions", "label_times")
_FROM_NEWEST = ("touched", "stepped")


def pack_frame(frame: Mapping[str, Any]) -> bytes:
    """Return a frame as bytes; equal frames give equal bytes."""
    if frame["part"] != KEYS:
        return msgspec.msgpack.encode(frame)
    numbers = {name: np.frombuffer(frame[name], np.int64) for name in _PLANES}
    numbers["times"] = np.diff(numbers["times"], prepend=np.int64(0))
    for name in _FROM_NEWEST:
        numbers[name] = numbers[name] - numbers["newest"]
    return msgspec.msgpack.encode(
        {**frame, **{n: _planes(column) for n, column in numbers.items()}}
    )


def unpack_frame(packed: bytes) -> dict[str, Any]:
    """Return the frame of its bytes; raise `InvalidDataError` when they are none."""
    try:
        frame: dict[str, Any] = msgspec.msgpack.decode(packed, type=dict[str, Any])
        if frame["part"] != KEYS:
            return frame
        numbers = {name: _numbers(frame[name]) for name in _PLANES}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise InvalidDataError(
            "checkpoint_malformed",
            f"A part of a checkpoint cannot be read ({error}).",
            "Rebuild the state from the log; it was written by another program.",
        ) from error
    numbers["times"] = np.cumsum(numbers["times"])
    for name in _FROM_NEWEST:
        numbers[name] = numbers[name] + numbers["newest"]
    return {**frame, **{name: column.tobytes() for name, column in numbers.items()}}


def _planes(numbers: NDArray[np.int64]) -> bytes:
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 8).T).tobytes()


def _numbers(planes: bytes) -> NDArray[np.int64]:
    rows = np.frombuffer(planes, np.uint8).reshape(8, -1).T
    return np.ascontiguousarray(rows).view(np.int64).reshape(-1)
