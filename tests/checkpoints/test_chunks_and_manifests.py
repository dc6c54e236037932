"""What is written is read back as it was, and any byte that changed is noticed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.checkpoints import chunks as chunks_module
from stream_infer.checkpoints.chunks import ChunkWriter, FrameReader, open_chunk
from stream_infer.checkpoints.manifest import (
    SCHEMA_VERSION,
    ChunkPlace,
    Manifest,
    Unreadable,
    decode_manifest,
    encode_manifest,
    required,
)
from stream_infer.checkpoints.packing import pack_frame, unpack_frame
from stream_infer.errors import InvalidDataError
from support.checkpoints import draft, frames_of, manifest, mark, state_of

ID = "0123456789abcdef0123456789abcdef"


@settings(deadline=None, max_examples=50)
@given(frames=st.lists(st.binary(max_size=300), max_size=20), cuts=st.lists(st.integers(0, 20)))
def test_frames_come_back_however_they_were_handed_over(
    frames: list[bytes], cuts: list[int]
) -> None:
    writer, made, at = ChunkWriter(ID), [], 0
    for cut in sorted({min(cut, len(frames)) for cut in [*cuts, len(frames)]}):
        made += writer.add(frames[at:cut])
        at = cut
    made += writer.finish()
    reader = FrameReader(ID)
    read = [
        frame
        for number, chunk in enumerate(made)
        for frame in reader.add(open_chunk(chunk.data, ID, number, chunk.sha256))
    ]
    reader.finish(writer.content_sha256)
    assert read == frames


def test_chunks_are_bounded_also_where_nothing_can_be_compressed() -> None:
    writer = ChunkWriter(ID)
    noise = np.random.default_rng(1).bytes(5_000_000)
    made = writer.add([noise]) + writer.finish()
    assert len(made) == 6
    assert max(len(chunk.data) for chunk in made) < 1024 * 1024
    assert [chunk.number for chunk in made] == list(range(6))


def test_chunks_that_can_be_compressed_are() -> None:
    made = ChunkWriter(ID).add([bytes(1_000_000)])
    assert len(made[0].data) < 2_000


@pytest.mark.parametrize("at", [0, 4, 5, 6, 21, 22, 26, 30, 61, 62, -1])
def test_a_changed_byte_in_any_part_of_a_chunk_is_noticed(at: int) -> None:
    writer = ChunkWriter(ID)
    [chunk] = writer.add([b"a frame"]) + writer.finish()
    data = bytearray(chunk.data)
    data[at] ^= 1
    for sha256 in (None, chunk.sha256):
        with pytest.raises(InvalidDataError) as caught:
            open_chunk(bytes(data), ID, 0, sha256)
        assert caught.value.code == "checkpoint_damaged"
        assert "chunk 0" in caught.value.message
        assert "checkpoint verify" in caught.value.fix


@pytest.mark.parametrize("size", [0, 1, 29, 61, 62, -1])
def test_a_chunk_that_is_cut_off_is_noticed(size: int) -> None:
    writer = ChunkWriter(ID)
    [chunk] = writer.add([b"a frame"]) + writer.finish()
    with pytest.raises(InvalidDataError, match="chunk 0"):
        open_chunk(chunk.data[:size], ID, 0)


def test_a_whole_chunk_at_another_place_is_noticed() -> None:
    writer = ChunkWriter(ID)
    [chunk] = writer.add([b"a frame"]) + writer.finish()
    for checkpoint, number in ((ID, 1), ("f" * 32, 0)):
        with pytest.raises(InvalidDataError, match="stands at"):
            open_chunk(chunk.data, checkpoint, number)
    with pytest.raises(InvalidDataError, match="not the one"):
        open_chunk(chunk.data, ID, 0, "0" * 64)


def test_a_frame_that_is_cut_off_and_other_content_are_noticed() -> None:
    reader = FrameReader(ID)
    assert reader.add(b"\x05\0\0\0abc") == []
    with pytest.raises(InvalidDataError, match="cut off"):
        reader.finish("")
    with pytest.raises(InvalidDataError, match="checksum"):
        FrameReader(ID).finish("0" * 64)


def test_a_state_s_frames_are_packed_and_unpacked_alike() -> None:
    frames = list(frames_of(state_of(3_000, 700)))
    assert [frame["part"] for frame in frames][:2] == ["head", "keys"]
    packed = [pack_frame(frame) for frame in frames]
    assert [unpack_frame(each) for each in packed] == frames
    assert packed == [pack_frame(frame) for frame in frames_of(state_of(3_000, 700))]


@pytest.mark.parametrize("packed", [b"", b"\xc1", msgspec.msgpack.encode({"part": "keys"})])
def test_bytes_that_are_no_frame_are_an_error_that_says_so(packed: bytes) -> None:
    with pytest.raises(InvalidDataError) as caught:
        unpack_frame(packed)
    assert caught.value.code == "checkpoint_malformed"


def whole() -> Manifest:
    places = (ChunkPlace(7, 100, "a" * 64), ChunkPlace(9, 50, "b" * 64))
    return draft(12, mark=mark(11)).manifest(places, "c" * 64)


def test_a_manifest_comes_back_as_it_was() -> None:
    made = whole()
    assert decode_manifest("name", encode_manifest(made)) == made
    assert required(made).bytes == 150


def test_a_changed_byte_anywhere_in_a_manifest_is_noticed() -> None:
    data = encode_manifest(whole())
    for at in range(len(data)):
        for bit in (1, 16):
            changed = bytearray(data)
            changed[at] ^= bit
            found = decode_manifest("name", bytes(changed))
            assert isinstance(found, Unreadable), (at, bytes(changed))


def test_a_manifest_that_is_cut_off_is_noticed() -> None:
    data = encode_manifest(whole())
    for size in range(0, len(data), 7):
        assert isinstance(decode_manifest("name", data[:size]), Unreadable)
    with pytest.raises(InvalidDataError) as caught:
        required(decode_manifest("name", data[:-1]))
    assert caught.value.code == "manifest_damaged"


def test_a_manifest_of_another_format_is_told_apart_from_a_damaged_one() -> None:
    later = msgspec.structs.replace(manifest(), schema_version=9)
    found = decode_manifest("name", encode_manifest(later))
    assert found == Unreadable("name", f"its format has version 9, not {SCHEMA_VERSION}")


def test_what_a_chunk_holds_is_bounded_by_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES_MAX", 10)
    made = ChunkWriter(ID).add([b"x" * 26])
    assert [len(open_chunk(chunk.data, ID, chunk.number)) for chunk in made] == [10, 10, 10]
