"""Ids as 64-bit hashes that are the same in every process.

Source  FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923), then the finaliser of MurmurHash3,
        since a filter reads single bits and FNV's low bits mix poorly
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import one_form
from stream_infer.records.among import TextsAmong
from stream_infer.windows.compiled import kernel, part
from stream_infer.windows.state import Int64

OFFSET = np.uint64(0xCBF29CE484222325)
"""The hash of nothing, before it is finished."""
_PRIME = np.uint64(0x100000001B3)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)

_BETWEEN = 0
_NOWHERE = 256


def joined(texts: Sequence[str]) -> tuple[NDArray[np.uint8], int]:
    """Return the UTF-8 of texts and the byte that lies between them; one text has it nowhere.

    Lone surrogates, which UTF-8 cannot hold, become the three bytes they stand for. A text may
    hold the byte that is to lie between: see `is_cut`.
    """
    if isinstance(texts, TextsAmong):
        return texts.joined(_BETWEEN), _BETWEEN if len(texts) > 1 else _NOWHERE
    data = "\0".join(texts).encode("utf-8", "surrogatepass")
    return np.frombuffer(data, np.uint8), _BETWEEN if len(texts) > 1 else _NOWHERE


@part
def is_cut(data: np.ndarray, between: Int64, texts: Int64) -> bool:
    """Tell whether the byte lies between so many texts and in none of them."""
    found = 0
    for at in range(data.shape[0]):
        found += data[at] == between
    return bool(found == texts - 1)


@part
def step(h: np.uint64, byte: Int64) -> np.uint64:
    """Return the hash with one more byte."""
    return (h ^ np.uint64(byte)) * _PRIME


@part
def finish(h: np.uint64) -> Int64:
    """Return the hash that is used."""
    h = (h ^ (h >> _SHIFT)) * _MIX_1
    h = (h ^ (h >> _SHIFT)) * _MIX_2
    return np.int64(h ^ (h >> _SHIFT))


@kernel
def _hash_texts(data: NDArray[np.uint8], between: Int64, out: NDArray[np.int64]) -> bool:
    """Hash texts that lie joined, one int64 each; return False where they cannot be told apart."""
    if not is_cut(data, between, out.shape[0]):
        return False
    at = 0
    for i in range(out.shape[0]):
        h = OFFSET
        while at < data.shape[0] and data[at] != between:
            h = step(h, data[at])
            at += 1
        at += 1
        out[i] = finish(h)
    return True


_hash = one_form(_hash_texts)


def hash_ids(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the hash of each id's UTF-8 bytes, (n,) int64; see `joined` for what has none."""
    out = np.empty(len(ids), np.int64)
    if len(ids) and not _hash(*joined(ids), out):
        half = len(ids) // 2
        out[:half], out[half:] = hash_ids(ids[:half]), hash_ids(ids[half:])
    return out
