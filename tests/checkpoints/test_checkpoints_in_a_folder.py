"""Checkpoints as files: what is half-written is none, and a full disk has a name."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from stream_infer.checkpoints import folder as folder_module
from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import Manifest, Unreadable
from stream_infer.checkpoints.reading import restore_checkpoint
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.state import StageState
from stream_infer.errors import ConflictError, InvalidDataError, NotFoundError
from support.checkpoints import PLAN, draft, keys_read, state_of, written


def files(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[2][32:] for path in folder.rglob("*") if path.is_file())


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = state_of(5_000, 2_000)

    async def run() -> StageState:
        store = FolderStore(tmp_path, "payments")
        made = await written(store, state, 5_000, keys=state.keys)
        assert await store.found() == [made]
        assert await keys_read(store, made) == 2_000
        again = StageState(PLAN)
        await restore_checkpoint(store, made, again)
        return again

    assert asyncio.run(run()).snapshot() == state.snapshot()
    assert files(tmp_path) == [".chunks", ".json"]


def test_without_a_manifest_there_is_no_checkpoint(tmp_path: Path) -> None:
    async def run() -> list[Any]:
        store = FolderStore(tmp_path, "payments")
        await write_checkpoint(store, draft(7), state_of(100).capture())
        return await store.found()

    assert asyncio.run(run()) == []
    assert files(tmp_path) == [".partial"]


def the_file(folder: Path, pattern: str) -> Path:
    [path] = folder.rglob(pattern)
    return path


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty"])
def test_damaged_chunks_are_named_and_never_become_a_state(tmp_path: Path, damage: str) -> None:
    async def run() -> None:
        store = FolderStore(tmp_path, "payments")
        made = await written(store, state_of(500), 500)
        path = the_file(tmp_path, "*.chunks")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 8
        path.write_bytes({"cut": data[:-9], "flipped": data}.get(damage, bytearray()))
        if damage == "missing":
            path.unlink()
        await keys_read(store, made)

    with pytest.raises(InvalidDataError) as caught:
        asyncio.run(run())
    assert caught.value.code == "checkpoint_damaged"


def test_a_manifest_that_is_cut_off_is_found_as_unreadable(tmp_path: Path) -> None:
    async def run() -> list[Any]:
        store = FolderStore(tmp_path, "payments")
        await written(store, state_of(10), 10)
        path = the_file(tmp_path, "*.json")
        path.write_bytes(path.read_bytes()[:-20])
        return await store.found()

    [found] = asyncio.run(run())
    assert isinstance(found, Unreadable)
    assert found.name.endswith(".json")


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "checkpoint_disk_full"), (errno.EACCES, "checkpoint_not_written")],
)
def test_a_disk_that_refuses_is_named_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refuse(path: str, chunk: object) -> int:
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(b"half a chunk")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder_module, "_append", refuse)
    with pytest.raises(ConflictError) as caught:
        asyncio.run(written(FolderStore(tmp_path, "payments"), state_of(10), 10))
    assert caught.value.code == code
    assert files(tmp_path) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "unmounted", "payments")
    for ask in (store.found(), written(store, state_of(10), 10)):
        with pytest.raises(NotFoundError) as caught:
            asyncio.run(ask)
        assert caught.value.code == "checkpoint_folder_missing"
    assert list(tmp_path.iterdir()) == []


def test_removing_takes_the_files_and_what_was_left_over_long_ago(tmp_path: Path) -> None:
    async def run() -> tuple[Manifest, list[Any]]:
        store = FolderStore(tmp_path, "payments")
        first, second = [await written(store, state_of(10), offset) for offset in (10, 20)]
        for offset, age in ((30, 0), (31, 90_000)):
            await write_checkpoint(store, draft(offset), state_of(10).capture())
            path = the_file(tmp_path, f"*{offset}-*.partial")
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
        await store.remove([first])
        await store.remove([first])
        return second, await store.found()

    second, found = asyncio.run(run())
    assert found == [second]
    assert files(tmp_path) == [".chunks", ".json", ".partial"]
