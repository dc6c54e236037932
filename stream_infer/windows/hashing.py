"""Ids as 64-bit hashes that are the same in every process.

Source  FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923), then the finaliser of MurmurHash3,
        since a filter reads single bits and FNV's low bits mix poorly
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.windows.compiled import kernel, one_form

_OFFSET = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


@kernel
def _hash_spans(
    data: NDArray[np.uint8], lengths: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    """Hash consecutive spans of `data`; one int64 each goes to `out`."""
    at = 0
    for i in range(lengths.shape[0]):
        h = _OFFSET
        for j in range(at, at + lengths[i]):
            h = (h ^ np.uint64(data[j])) * _PRIME
        at += lengths[i]
        h = (h ^ (h >> _SHIFT)) * _MIX_1
        h = (h ^ (h >> _SHIFT)) * _MIX_2
        out[i] = np.int64(h ^ (h >> _SHIFT))


_hash = one_form(_hash_spans)


def hash_ids(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the hash of each id's UTF-8 bytes, (n,) int64.

    Lone surrogates, which UTF-8 cannot hold, are hashed as the three bytes they stand for.
    """
    joined = "".join(ids)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    if joined.isascii():
        data = joined.encode("ascii")
    else:
        encoded = [text.encode("utf-8", "surrogatepass") for text in ids]
        lengths = np.fromiter(map(len, encoded), np.int64, len(ids))
        data = b"".join(encoded)
    out = np.empty(len(ids), np.int64)
    # A bytearray, since the kernel is compiled for arrays that can be written.
    _hash(np.frombuffer(bytearray(data), np.uint8), lengths, out)
    return out
