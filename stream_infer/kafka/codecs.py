"""What libraries have for the bytes of record batches: checksum and decompression."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import google_crc32c
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.record._crc32c import crc as slow_crc32c

try:
    from aiokafka.record._crecords.cutil import crc32c_cython as _crc32c
except ImportError:  # where the client was installed without its compiled parts
    _crc32c = slow_crc32c


def _quick_crc32c(data: Any) -> int:
    return int(google_crc32c.value(bytes(data)))


crc32c: Callable[[Any], int] = _quick_crc32c if google_crc32c.implementation == "c" else _crc32c
"""CRC-32C of bytes (RFC 3720, appendix B.4), by the processor's own instruction where it can."""

_DECODERS: dict[int, Callable[[Any], bytes]] = {
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}
"""By the number that a batch's attributes hold (Kafka documentation, "Record Batch")."""
_REFUSED = (OSError, EOFError, zlib.error, cramjam.DecompressionError)
"""What the decoders raise: the first three are gzip's."""


def decompress(kind: int, data: memoryview) -> bytes:
    """Return what was compressed.

    Raises  ValueError for a kind that there is not, and for what is not compressed so
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise ValueError(f"compression {kind} is none of {sorted(_DECODERS)}")
    try:
        return bytes(decoder(bytes(data)))
    except _REFUSED as error:
        raise ValueError(f"its records cannot be decompressed ({error})") from error
