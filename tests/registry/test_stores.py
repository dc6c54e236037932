"""One suite for every place in which a registry can be."""

from __future__ import annotations

import threading
from pathlib import Path

import obstore.store
import pytest

from stream_infer.errors import ConfigError, InvalidDataError, NotFoundError
from stream_infer.registry.folder import FolderStore
from stream_infer.registry.objects import ObjectStore
from stream_infer.registry.opening import open_store
from stream_infer.registry.store import FileExistsAlreadyError, RegistryUnreachableError, Store


@pytest.fixture(params=["folder", "memory", "disk behind the object store's library"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "models")
    if request.param == "memory":
        return ObjectStore("memory:///", obstore.store.MemoryStore())
    return ObjectStore("file:///", obstore.store.LocalStore(tmp_path))


def test_what_was_written_is_read(store: Store) -> None:
    store.create("a/b/c.json", b"content")
    assert store.read("a/b/c.json", 100) == b"content"


def test_a_name_is_given_once(store: Store) -> None:
    store.create("a/b", b"first")
    with pytest.raises(FileExistsAlreadyError):
        store.create("a/b", b"second")
    assert store.read("a/b", 100) == b"first"


def test_of_many_who_create_one_file_at_once_one_succeeds(store: Store) -> None:
    won, lost, gate = [], [], threading.Barrier(8)

    def create(writer: int) -> None:
        gate.wait()
        try:
            store.create("a/b", b"%d" % writer * 1000)
        except FileExistsAlreadyError:
            lost.append(writer)
        else:
            won.append(writer)

    threads = [threading.Thread(target=create, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert store.read("a/b", 10_000) == b"%d" % won[0] * 1000


def test_a_folder_lists_files_and_folders(store: Store) -> None:
    assert store.names("a") == []
    for path in ("a/2", "a/1", "a/deep/er", "b"):
        store.create(path, b"")
    assert store.names("a") == ["1", "2", "deep"]
    assert store.names("") == ["a", "b"]


def test_a_file_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFoundError, match="a/b"):
        store.read("a/b", 10)


def test_a_file_larger_than_may_be_read_is_refused(store: Store) -> None:
    store.create("a/b", b"x" * 11)
    with pytest.raises(InvalidDataError) as caught:
        store.read("a/b", 10)
    assert caught.value.code == "registry_file_too_large"


def test_what_is_being_written_is_not_listed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a/b", b"")
    (tmp_path / "a" / ".partial-0").write_bytes(b"half")
    assert store.names("a") == ["b"]


def test_a_folder_that_may_not_be_made_is_unreachable_where_it_is_missing(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/not-mounted", create=False)
    for use in (
        lambda: store.read("a", 10),
        lambda: store.names("a"),
        lambda: store.create("a/b", b""),
    ):
        with pytest.raises(RegistryUnreachableError):
            use()
    assert not (tmp_path / "not-mounted").exists()


def test_an_object_store_that_does_not_answer_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "of-nobody",
        "AWS_REGION": "nowhere",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://bucket/models")
    with pytest.raises(RegistryUnreachableError) as caught:
        store.read("a/b", 10)
    assert "of-nobody" not in str(caught.value)


@pytest.mark.parametrize("where", ["ftp://somewhere/models", "file:models", ""])
def test_what_is_no_place_for_a_registry_is_refused(where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(where)
    assert caught.value.code == "bad_registry"


def test_a_password_in_a_url_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        open_store("s3://me:hush@bucket/models")
    assert "hush" not in str(caught.value)
