"""Makes record batches as brokers store them, with the client library's own writer."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream_infer.kafka.codecs import crc32c
from stream_infer.records.run import Record

_CONTROL = 0x20
_APPEND_TIME = 0x08


def record_batch(
    records: Sequence[Record],
    *,
    compression: int = 0,
    producer_id: int = -1,
    is_transactional: bool = False,
    attributes: int = 0,
    gap: int = 0,
    max_timestamp: int | None = None,
) -> bytes:
    """Return a batch.

    attributes     further bits
    gap            offsets behind the last record that compaction has emptied
    max_timestamp  to be written, where the broker gives one to all
    """
    base = records[0].offset
    builder = DefaultRecordBatchBuilder(
        2, compression, int(is_transactional), producer_id, 0, 0, 1 << 24
    )
    for record in records:
        builder.append(
            record.offset - base, record.timestamp, record.key, record.value, list(record.headers)
        )
    data = bytearray(builder.build())
    data[0:8] = base.to_bytes(8, "big")
    last_delta = records[-1].offset - base + gap
    data[21:23] = (int.from_bytes(data[21:23], "big") | attributes).to_bytes(2, "big")
    data[23:27] = last_delta.to_bytes(4, "big")
    if max_timestamp is not None:
        data[35:43] = max_timestamp.to_bytes(8, "big")
    data[17:21] = crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


def stamped_batch(records: Sequence[Record], timestamp: int) -> bytes:
    """Return a batch whose records all have the time at which the broker appended them."""
    return record_batch(records, attributes=_APPEND_TIME, max_timestamp=timestamp)


def marker(offset: int, producer_id: int, *, is_abort: bool) -> bytes:
    """Return the batch that ends a transaction (KIP-98, "Control records")."""
    key = b"\x00\x00" + (b"\x00\x00" if is_abort else b"\x00\x01")
    return record_batch(
        [Record(offset, 1_700_000_000_000, 0, key, b"\x00\x00\x00\x00\x00\x07")],
        producer_id=producer_id,
        is_transactional=True,
        attributes=_CONTROL,
    )
