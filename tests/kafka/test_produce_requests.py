"""A request that is put together once has the bytes of the client's own."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.protocol.produce import ProduceRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.kafka.produce_requests import OnceJoinedProduceRequest

PRODUCE = 0
VERSIONS = [version.API_VERSION for version in ProduceRequest._CLASSES]
FIRST_IN_TRANSACTIONS = 3

partitions = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.binary(max_size=300)), max_size=3)
topics = st.lists(st.tuples(st.text(max_size=20), partitions), max_size=3)


def message(request: ProduceRequest, version: int) -> bytes:
    """Return what the client's connection sends, put together as it does that."""
    encoded: Any = request.prepare({PRODUCE: (version, version)})
    header = encoded.build_request_header(correlation_id=7, client_id="here")
    whole = header.encode() + encoded.encode()
    sent: bytes = len(whole).to_bytes(4, "big") + whole
    return sent


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None)
@given(topics=topics, acks=st.sampled_from([-1, 0, 1]), name=st.text(max_size=20))
def test_every_version_has_the_bytes_of_the_client(
    version: int, topics: list[tuple[str, list[tuple[int, bytes]]]], acks: int, name: str
) -> None:
    transactional_id = name if version >= FIRST_IN_TRANSACTIONS else None
    made = ProduceRequest(transactional_id, acks, 1_000, topics)
    sent = message(OnceJoinedProduceRequest.of(made), version)
    assert sent == message(made, version)
    assert isinstance(sent, bytes)  # a transport takes nothing else


def test_what_a_version_refuses_is_refused() -> None:
    request = OnceJoinedProduceRequest.of(ProduceRequest("in a transaction", -1, 1_000, []))
    with pytest.raises(Exception, match="transactional_id requires"):
        message(request, FIRST_IN_TRANSACTIONS - 1)


def test_the_client_knows_what_is_acknowledged() -> None:
    assert OnceJoinedProduceRequest.of(ProduceRequest(None, 0, 1_000, [])).required_acks == 0
