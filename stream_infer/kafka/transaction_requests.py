"""Two requests that aiokafka 0.14 lacks, in the words of its protocol classes.

Layouts from Apache Kafka's message definitions `TxnOffsetCommitRequest.json` (v3, KIP-447) and
`OffsetFetchRequest.json` (v7, KIP-447: `require_stable`). Both are "flexible" versions (KIP-482):
compact strings and arrays, and tagged fields at the end of each structure. A null string is
a compact string of length 0.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)


class TxnOffsetCommitResponseV3(Response):  # type: ignore[misc] # aiokafka has no types
    """The answer to each partition."""

    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "errors",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("error_code", Int16), _TAGS),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class TxnOffsetCommitRequestV3(RequestStruct):  # type: ignore[misc] # as above
    """Offsets of a transaction, in the name of a member of a generation."""

    FLEXIBLE_VERSION = True
    API_KEY = 28
    API_VERSION = 3
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class OffsetFetchResponseV7(Response):  # type: ignore[misc] # as above
    """Offset and metadata of each partition, -1 for none."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("error_code", Int16),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        ("error_code", Int16),
        _TAGS,
    )


class OffsetFetchRequestV7(RequestStruct):  # type: ignore[misc] # as above
    """Committed offsets, which may have to be stable."""

    FLEXIBLE_VERSION = True
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", _TEXT),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS)),
        ("require_stable", Boolean),
        _TAGS,
    )


class TxnOffsetCommit(Request[TxnOffsetCommitRequestV3]):  # type: ignore[misc] # as above
    """Sends `TxnOffsetCommitRequestV3`; an older broker has no version that fits."""

    API_KEY = 28

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def build(self, request_class: Any) -> Any:
        """Return the request to send."""
        return request_class(**self._fields)


class StableOffsetFetch(Request[OffsetFetchRequestV7]):  # type: ignore[misc] # as above
    """Sends `OffsetFetchRequestV7`; an older broker has no version that fits."""

    API_KEY = 9

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def build(self, request_class: Any) -> Any:
        """Return the request to send."""
        return request_class(**self._fields)
