"""The checksum of record batches is CRC-32C, whichever library computes it."""

from __future__ import annotations

import random

import pytest
from aiokafka.record._crc32c import crc as slow_crc32c

from stream_infer.kafka.codecs import crc32c


def test_the_check_value_of_the_standard() -> None:
    """Source: RFC 3720, appendix B.4: 32 bytes of zeros; the catalogue's check of nine digits."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(memoryview(b"123456789")) == 0xE3069283


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 65, 4_096, 100_001])
def test_any_stretch_of_bytes_has_the_checksum_that_the_client_computes(size: int) -> None:
    data = random.Random(size).randbytes(size + 3)
    assert crc32c(memoryview(data)[3:]) == slow_crc32c(data[3:])
