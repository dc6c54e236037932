"""A run holds what the client library reads from the same bytes, and costs no object a record."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.record import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.kafka.codecs import crc32c, decompress
from stream_infer.records.fetched import CorruptError, Found, batches_of, is_readable, read_fetched
from stream_infer.records.run import Record, RecordRun
from support.record_batches import marker, record_batch, stamped_batch

NOON_MS = 1_700_000_000_000

_optional_bytes = st.none() | st.binary(max_size=40)
_headers = st.lists(
    st.tuples(st.sampled_from(["traceparent", "clock", "", "λ"]), _optional_bytes), max_size=3
).map(tuple)


@st.composite
def logs(draw: Callable[..., Any]) -> tuple[bytes, list[tuple[int, int]], int]:
    """Draw a fetch's bytes, its aborted transactions and its end: any mixture of batches."""
    offset = draw(st.integers(0, 2**40))
    parts, aborted = [], []
    open_since: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["plain", "plain", "transaction", "marker", "stamped"]))
        if kind == "marker":
            producer = draw(st.integers(1, 2))
            is_abort = draw(st.booleans())
            if is_abort and producer in open_since:
                aborted.append((producer, open_since.pop(producer)))
            elif not is_abort:
                open_since.pop(producer, None)
            parts.append(marker(offset, producer, is_abort=is_abort))
            offset += 1
            continue
        records = []
        for _ in range(draw(st.integers(1, 5))):
            records.append(
                Record(
                    offset,
                    NOON_MS + draw(st.integers(-(10**9), 10**9)),
                    0,
                    draw(_optional_bytes),
                    draw(_optional_bytes),
                    draw(_headers),
                )
            )
            offset += draw(st.integers(1, 3))  # compaction has left out some
        if kind == "stamped":
            parts.append(stamped_batch(records, NOON_MS + 7))
        elif kind == "transaction":
            producer = draw(st.integers(1, 2))
            open_since.setdefault(producer, records[0].offset)
            parts.append(record_batch(records, producer_id=producer, is_transactional=True))
        else:
            compression = draw(st.sampled_from([0, 0, 1, 2, 3, 4]))
            parts.append(
                record_batch(records, compression=compression, gap=draw(st.integers(0, 2)))
            )
            offset += 2
    return b"".join(parts), aborted, offset


def read(
    data: bytes, fetch_offset: int = 0, aborted: Sequence[tuple[int, int]] | None = ()
) -> Found:
    return read_fetched(data, fetch_offset, aborted, decompress, crc32c)


def read_by_client(
    data: bytes, fetch_offset: int, aborted: Sequence[tuple[int, int]] | None
) -> tuple[list[Record], int]:
    records = PartitionRecords(
        TopicPartition("t", 0),
        MemoryRecords(data),
        None if aborted is None else list(aborted),
        fetch_offset,
        None,
        None,
        True,  # noqa: FBT003 - the client's own signature
        READ_UNCOMMITTED if aborted is None else READ_COMMITTED,
    )
    found = [
        Record(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in records
    ]
    return found, records.next_fetch_offset


@settings(max_examples=300, deadline=None)
@given(log=logs(), data=st.data())
def test_a_run_holds_what_the_client_reads(
    log: tuple[bytes, list[tuple[int, int]], int], data: st.DataObject
) -> None:
    raw, aborted, _ = log
    first = batches_of(raw, crc32c)[0]
    # A broker begins with the batch that holds the offset.
    fetch_offset = data.draw(st.integers(first.base_offset, first.next_offset - 1))
    cut = data.draw(st.just(len(raw)) | st.integers(0, len(raw)))
    told = data.draw(st.sampled_from([aborted, None]))
    found = read(raw[:cut], fetch_offset, told)
    expected, following = read_by_client(raw[:cut], fetch_offset, told)
    # One type for a whole run: a topic has its own, and changes it hardly ever.
    assert [each[:2] + each[3:] for each in found.run] == [e[:2] + e[3:] for e in expected]
    assert found.run.offsets.tolist() == [each.offset for each in expected]
    assert found.run.timestamps.tolist() == [each.timestamp for each in expected]
    assert list(found.run.values) == [each.value for each in expected]
    assert found.next == max(following, fetch_offset)
    for name in ("traceparent", "λ", "", "none"):
        wanted = [dict(each.headers).get(name) for each in expected]
        assert list(found.run.headers_named(name)) == wanted


@settings(max_examples=200, deadline=None)
@given(log=logs(), data=st.data())
def test_parts_of_a_run_are_those_of_a_list(
    log: tuple[bytes, list[tuple[int, int]], int], data: st.DataObject
) -> None:
    raw, _, end = log
    run = read(raw).run
    for each in (run, RecordRun.of(list(run))):
        records = list(run)
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(records))] * 2)))
        offset = data.draw(st.integers(0, end))
        left_out = set(data.draw(st.lists(st.sampled_from(run.offsets.tolist() or [0]))))
        parts = {
            "slice": (each[start:stop], records[start:stop]),
            "before": (each.before(offset), [r for r in records if r.offset < offset]),
            "since": (each.since(offset), [r for r in records if r.offset >= offset]),
            "without": (each.without(left_out), [r for r in records if r.offset not in left_out]),
            "joined": (RecordRun.join([each[:start], each[start:]]), records),
        }
        for name, (part, expected) in parts.items():
            assert list(part) == expected, name
            assert list(part.values) == [r.value for r in expected], name
            assert part.offsets.tolist() == [r.offset for r in expected], name
            assert part.timestamps.tolist() == [r.timestamp for r in expected], name
            wanted = [dict(r.headers).get("clock") for r in expected]
            assert list(part.headers_named("clock")) == wanted, name


def test_each_byte_that_was_changed_is_noticed() -> None:
    records = [Record(9 + i, NOON_MS + i, 0, b"k", b"some value", ()) for i in range(3)]
    data = record_batch(records)
    for at in range(17, len(data)):
        for bit in (0x01, 0x80):
            wrong = bytearray(data)
            wrong[at] ^= bit
            with pytest.raises(CorruptError):
                read(bytes(wrong))


def test_a_length_that_was_changed_ends_the_reading() -> None:
    """The checksum does not cover it; what it says is refused, or taken for a batch cut off."""
    data = record_batch([Record(9, NOON_MS, 0, b"k", b"some value", ())]) * 2
    for length in (-(2**31), -13, -12, -1, 0, 48, 2**31 - 1):
        wrong = data[:8] + length.to_bytes(4, "big", signed=True) + data[12:]
        assert is_readable(wrong)
        if length < len(data):
            with pytest.raises(CorruptError):
                read(wrong, 9)
        else:
            assert (len(read(wrong, 9).run), read(wrong, 9).next) == (0, 9)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 7])
def test_what_cannot_be_decompressed_is_named(kind: int) -> None:
    data = record_batch([Record(9, NOON_MS, 0, b"k", b"no such thing", ())], attributes=kind)
    with pytest.raises(CorruptError, match="offset 9"):
        read(data)


def test_bytes_that_are_believed_may_be_any_and_are_read_within_their_bounds() -> None:
    """Without the checksum what is wrong is named or read as something else, and nothing else."""
    chance = random.Random(5)
    records = [Record(9 + i, NOON_MS + i, 0, b"k", b"v" * 30, (("h", b"x"),)) for i in range(8)]
    data = record_batch(records)
    for _ in range(3_000):
        wrong = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            wrong[chance.randrange(57, len(wrong))] = chance.randrange(256)
        try:
            run = read_fetched(bytes(wrong), 0, (), decompress, None).run
        except CorruptError:
            continue
        assert all(value is None or len(value) <= len(data) for value in run.values)


def test_older_formats_are_left_to_the_client() -> None:
    data = bytearray(record_batch([Record(0, NOON_MS, 0, None, b"v")]))
    assert is_readable(bytes(data))
    assert is_readable(b"")
    data[16] = 1
    assert not is_readable(bytes(data))
