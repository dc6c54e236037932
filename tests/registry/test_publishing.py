from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from stream_infer.errors import ConflictError, InvalidDataError, NotFoundError, UsageError
from stream_infer.models.ready import ready_models_root
from stream_infer.registry.registry import Registry
from stream_infer.registry.store import Store
from stream_infer.scoring.model import load_model
from support.onnx_models import logistic_model, make_manifest
from support.registries import (
    CutOff,
    folder_store,
    memory_store,
    model_content,
    publish,
    registry_with,
)


def test_a_published_version_is_loaded_as_it_was(tmp_path: Path) -> None:
    registry = registry_with("1", "2")
    registry.copy_to("tiny", "2", tmp_path)
    assert load_model(tmp_path).manifest == registry.manifest("tiny", "2")
    assert registry.versions("tiny") == ["1", "2"]
    assert registry.models() == ["tiny"]


def test_versions_that_are_numbers_come_in_their_order() -> None:
    registry = registry_with("10", "9", "a1")
    assert registry.versions("tiny") == ["9", "10", "a1"]


def test_publishing_again_changes_nothing() -> None:
    registry = registry_with("1")
    content = model_content()
    again = registry.publish(content, make_manifest(content, created="2027-01-01T00:00:00Z"))
    assert not again.new
    assert registry.manifest("tiny", "1").created == "2026-01-01T00:00:00Z"


def test_a_version_never_changes() -> None:
    registry = registry_with("1")
    with pytest.raises(ConflictError) as caught:
        publish(registry, "1", number=2)
    assert caught.value.code == "version_exists"


def test_attachments_are_kept_with_their_sums() -> None:
    registry = registry_with()
    content = model_content()
    registry.publish(content, make_manifest(content), {"report.html": b"<p>good</p>"})
    assert registry.attachment("tiny", "1", "report.html") == b"<p>good</p>"
    with pytest.raises(NotFoundError, match=r"report\.html"):
        registry.attachment("tiny", "1", "../report.html")


def test_an_attachment_whose_name_leaves_the_folder_is_refused() -> None:
    registry = registry_with()
    content = model_content()
    for name in ("../evil", "a/b", "manifest.json"):
        with pytest.raises(InvalidDataError):
            registry.publish(content, make_manifest(content), {name: b""})
    assert registry.versions("tiny") == []


@pytest.mark.parametrize("name", ["../x", "", "a/b", "_history", "UPPER"])
def test_names_that_leave_the_registry_are_refused(name: str) -> None:
    registry = registry_with("1")
    with pytest.raises(UsageError):
        registry.manifest("tiny", name)
    with pytest.raises(UsageError):
        registry.versions(name)


def test_a_half_copied_version_is_never_seen(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    registry_with("1", store=folder_store(source))
    registry = Registry(folder_store(target))
    (target / "tiny" / "1").mkdir(parents=True)
    shutil.copy(source / "tiny/1/model.onnx", target / "tiny/1/model.onnx")
    assert registry.versions("tiny") == []
    with pytest.raises(NotFoundError) as caught:
        registry.promote("tiny", "1")
    assert caught.value.code == "version_not_found"


class StopsBefore(CutOff):
    """Cut off before the file number `count`."""

    def __init__(self, store: Store, count: int) -> None:
        super().__init__(store)
        self.left = count

    def create(self, path: str, content: bytes) -> None:
        self.is_cut_off = self.left == 0
        self.left -= 1
        super().create(path, content)


@pytest.mark.parametrize("files", [0, 1, 2])
def test_a_publisher_that_dies_at_any_file_leaves_no_version_and_may_try_again(files: int) -> None:
    store = memory_store()
    content = model_content()
    dying = Registry(StopsBefore(store, files))
    with pytest.raises(Exception, match="cable"):
        dying.publish(content, make_manifest(content), {"report.html": b"x"})
    registry = Registry(store)
    assert registry.versions("tiny") == []
    registry.publish(content, make_manifest(content), {"report.html": b"x"})
    assert registry.verify("tiny")[0].error is None


def test_a_name_that_was_begun_with_other_files_stays_taken() -> None:
    store = memory_store()
    content = model_content()
    with pytest.raises(Exception, match="cable"):
        Registry(StopsBefore(store, 1)).publish(content, make_manifest(content))
    registry = Registry(store)
    with pytest.raises(ConflictError) as caught:
        publish(registry, "1", number=2)
    assert caught.value.code == "version_half_published"
    other = model_content(2)
    assert registry.publish_next(other, make_manifest(other)).manifest.version == "2"


def test_two_who_publish_the_next_number_at_once_get_two_numbers() -> None:
    store, got, gate = memory_store(), [], threading.Barrier(4)

    def run(number: int) -> None:
        content = model_content(number)
        gate.wait()
        got.append(Registry(store).publish_next(content, make_manifest(content)).manifest.version)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry = Registry(store)
    assert len(set(got)) == 4
    assert sorted(got) == registry.versions("tiny")
    assert all(each.error is None for each in registry.verify("tiny"))


def test_a_model_that_a_worker_would_refuse_is_not_published() -> None:
    registry = registry_with()
    broken = logistic_model(activation="Identity")
    with pytest.raises(InvalidDataError):
        registry.publish(broken, make_manifest(broken))
    with pytest.raises(InvalidDataError):
        registry.publish(model_content(), make_manifest(model_content(2)))
    assert registry.versions("tiny") == []


def test_verify_names_a_file_that_was_changed(tmp_path: Path) -> None:
    registry = registry_with("1", "2", store=folder_store(tmp_path))
    file = tmp_path / "tiny/2/model.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    found = {each.version: each.error for each in registry.verify("tiny")}
    assert found["1"] is None
    assert found["2"] is not None
    assert found["2"].code == "model_checksum_differs"


def test_a_manifest_in_another_versions_place_is_refused(tmp_path: Path) -> None:
    registry = registry_with("1", store=folder_store(tmp_path))
    shutil.copytree(tmp_path / "tiny/1", tmp_path / "tiny/7")
    with pytest.raises(InvalidDataError) as caught:
        registry.manifest("tiny", "7")
    assert caught.value.code == "manifest_misplaced"


def test_the_models_that_ship_can_be_read_as_a_registry() -> None:
    registry = Registry.open(ready_models_root(), create=False)
    for model in ("fraud", "traffic"):
        assert registry.versions(model)
        assert [each.error for each in registry.verify(model)] == [None] * len(
            registry.versions(model)
        )
