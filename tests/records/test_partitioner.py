"""Keys go where Kafka's Java producer puts them."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as reference_murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.records import KeyPartitioner, murmur2
from stream_infer.records import partitioner as partitioner_module
from stream_infer.records.placing import partitions_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        # The vectors of Kafka's own UtilsTest.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_hashes_of_kafkas_own_test(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=40))
def test_murmur2_agrees_with_the_python_client(key: bytes) -> None:
    assert murmur2(key) == reference_murmur2(key) & 0xFFFFFFFF


@given(st.lists(st.text(max_size=8), max_size=30), st.integers(1, 64))
def test_place_answers_in_order_whether_keys_are_known_or_not(
    keys: list[str], partitions: int
) -> None:
    partitioner = KeyPartitioner(partitions)
    expected = [(key.encode(), (murmur2(key.encode()) & 0x7FFFFFFF) % partitions) for key in keys]
    assert partitioner.place(keys) == expected
    assert partitioner.place(keys) == expected


@settings(deadline=None)  # the first call may compile
@given(st.lists(st.text(max_size=8), max_size=30), st.integers(1, 64))
def test_many_keys_at_once_lie_where_each_alone_does(keys: list[str], partitions: int) -> None:
    expected = [(murmur2(key.encode()) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of(keys, partitions).tolist() == expected


def test_place_stays_right_when_the_memory_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitioner_module, "KEYS_REMEMBERED_MAX", 2)
    partitioner = KeyPartitioner(7)
    keys = ["a", "b", "c", "d", "a"]
    assert partitioner.place(keys) == [KeyPartitioner(7).place([key])[0] for key in keys]
    assert len(partitioner._places) <= 2
