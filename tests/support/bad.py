"""Payments that are good, and one of every bad kind that a producer may send."""

from __future__ import annotations

import json
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from support.load import START_MS

FAR_FUTURE_MS = 4_102_444_800_000
"""2100-01-01T00:00:00Z"""


def payment(**fields: Any) -> bytes:
    """Return the value of one good transaction, with other or further fields as given."""
    record = {
        "transaction_id": "p",
        "event_time": START_MS,
        "customer_id": "c0",
        "terminal_id": "m1",
        "amount": 12.34,
    }
    return json.dumps({**record, **fields}).encode()


def _without(field: str) -> bytes:
    fields = json.loads(payment())
    del fields[field]
    return json.dumps(fields).encode()


_GOOD = payment()

BAD_VALUES: dict[str, tuple[bytes | None, str]] = {
    "tombstone": (None, "tombstone"),
    "nothing": (b"", "empty"),
    "not JSON": (b"\x00\x01transaction", "not_json"),
    "truncated": (_GOOD[:-7], "truncated"),
    "wrong type": (payment(amount="12.34"), "wrong_type"),
    "missing field": (_without("terminal_id"), "missing_field"),
    "NaN": (_GOOD.replace(b"12.34", b"NaN"), "not_json"),
    "Infinity": (_GOOD.replace(b"12.34", b"-Infinity"), "not_json"),
    "beyond float64": (_GOOD.replace(b"12.34", b"1e999"), "out_of_range"),
    "negative amount": (payment(amount=-12.34), "out_of_range"),
    "third decimal": (payment(amount=12.345), "bad_decimal"),
    "1,000 levels": (_GOOD[:-1] + b', "x": ' + b"[" * 1_000 + b"]" * 1_000 + b"}", "too_deep"),
    "invalid UTF-8": (_GOOD.replace(b"m1", b"m\xff"), "invalid_utf8"),
    "time without offset": (payment(event_time="2025-01-01T00:00:00"), "bad_time"),
    "two documents": (_GOOD + b"\n" + _GOOD, "not_json"),
}
"""Kind -> value and the code of its dead letter."""


def fitting(value: bytes, key: bytes, batch_bytes: int) -> bytes:
    """Return a value that ends in ``"x"}``, filled up so that its record batch has that size."""
    head, tail = value[: -len(b'x"}')], b'"}'
    filling = batch_bytes - _batch_bytes(value, key)
    # A longer record needs longer length fields too: correct by what is too much.
    for _ in range(3):
        made = head + b"x" * (filling + 1) + tail
        filling += batch_bytes - _batch_bytes(made, key)
    made = head + b"x" * (filling + 1) + tail
    assert _batch_bytes(made, key) == batch_bytes
    return made


def _batch_bytes(value: bytes, key: bytes) -> int:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=0,
        batch_size=64 * 1024 * 1024,
    )
    builder.append(0, START_MS, key, value, [])
    return len(builder.build())
