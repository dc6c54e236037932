from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import numpy as np
import pytest

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.events.told import Served, Told
from stream_infer.registry.registry import Registry
from stream_infer.registry.store import RegistryUnreachableError
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer
from stream_infer.serving import exchange as module
from stream_infer.serving.exchange import Exchange
from stream_infer.serving.router import Router, Serving
from stream_infer.serving.versions import VersionSource
from support.onnx_models import FEATURES, FINGERPRINT, make_manifest
from support.registries import CutOff, folder_store, model_content, registry_with
from support.worker import until


class Worker:
    """What a worker has of all this: a router, an exchange and what it was swapped to."""

    def __init__(self, registry: Registry, cache: Path) -> None:
        self.source = VersionSource(registry, "tiny", cache)
        told = self.source.what_serves()
        assert told is not None
        champion = self.bind(self.source.load(told.served["champion"]))
        self.router = Router(Serving(champion))
        self.exchange = Exchange(self.source.load, self.bind, self.swap, on_failure=self.fail)
        self.exchange.start_with(told.served["champion"], champion)

    @staticmethod
    def bind(model: Model) -> Scorer:
        return Scorer(model, FEATURES, FINGERPRINT)

    def swap(self, roles: Mapping[str, Scorer], share: float, number: int) -> None:
        self.router.serve(Serving(roles["champion"], roles.get("challenger"), share, number=number))

    async def fail(self, error: BaseException) -> None:
        raise error

    def version(self) -> str | list[str]:
        return self.router.route(["k"], np.zeros((1, 3))).versions()


def told_of(registry: Registry, cache: Path) -> Told:
    told = VersionSource(registry, "tiny", cache).what_serves()
    assert told is not None
    return told


async def test_a_promoted_version_serves_after_it_is_told(tmp_path: Path) -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    worker = Worker(registry, tmp_path)
    registry.promote("tiny", "2")
    assert worker.version() == "1"
    assert await worker.exchange.apply(told_of(registry, tmp_path))
    assert (worker.version(), worker.exchange.failures) == ("2", {})


async def test_a_version_in_two_roles_is_loaded_once(tmp_path: Path) -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    worker = Worker(registry, tmp_path)
    registry.assign("tiny", "challenger", "2", share=0.5)
    await worker.exchange.apply(told_of(registry, tmp_path))
    challenger = worker.router.serving.challenger
    registry.promote("tiny", "2")
    await worker.exchange.apply(told_of(registry, tmp_path))
    assert worker.router.serving.champion is challenger
    assert worker.router.serving.challenger is None


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("delete", "version_not_found"),
        ("cut", "model_checksum_differs"),
        ("other features", "features_fingerprint_differs"),
        ("other file", "version_differs"),
    ],
)
async def test_a_version_that_cannot_serve_leaves_the_champion_untouched(
    tmp_path: Path, spoil: str, code: str
) -> None:
    registry = registry_with("1", store=folder_store(tmp_path / "registry"))
    content = model_content(2)
    foreign = {"features_fingerprint": "0" * 64} if spoil == "other features" else {}
    registry.publish(content, make_manifest(content, version="2", **foreign))
    registry.promote("tiny", "1")
    worker = Worker(registry, tmp_path / "cache")
    registry.promote("tiny", "2")
    told = told_of(registry, tmp_path / "cache")
    folder = tmp_path / "registry/tiny/2"
    if spoil == "delete":
        shutil.rmtree(folder)
    elif spoil == "cut":
        (folder / "model.onnx").write_bytes(content[:-1])
    elif spoil == "other file":
        shutil.rmtree(folder)
        other = model_content(3)
        registry.publish(other, make_manifest(other, version="2"))
    assert await worker.exchange.apply(told)
    assert worker.exchange.failures["champion"].code == code
    assert worker.version() == "1"


async def test_a_challenger_that_cannot_be_loaded_does_not_hold_up_a_promotion(
    tmp_path: Path,
) -> None:
    registry = registry_with("1", "2", "3", store=folder_store(tmp_path / "registry"))
    registry.promote("tiny", "1")
    worker = Worker(registry, tmp_path / "cache")
    registry.assign("tiny", "challenger", "3", share=1.0)
    registry.promote("tiny", "2")
    told = told_of(registry, tmp_path / "cache")
    (tmp_path / "registry/tiny/3/model.onnx").write_bytes(b"")
    await worker.exchange.apply(told)
    assert list(worker.exchange.failures) == ["challenger"]
    assert worker.version() == "2"


async def test_a_registry_that_is_cut_off_is_asked_again_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S_MIN", 0.01)
    store = CutOff(folder_store(tmp_path / "registry"))
    registry = registry_with("1", "2", store=store)
    registry.promote("tiny", "1")
    worker = Worker(registry, tmp_path / "cache")
    registry.promote("tiny", "2")
    told = told_of(registry, tmp_path / "cache")
    store.is_cut_off = True

    async def words() -> AsyncGenerator[Told | InvalidDataError, None]:
        yield InvalidDataError("models_record_invalid", "nonsense")
        yield told
        await asyncio.Event().wait()

    following = asyncio.create_task(worker.exchange.follow(words))
    await until(lambda: "champion" in worker.exchange.failures)
    assert worker.version() == "1"
    store.is_cut_off = False
    await until(lambda: worker.version() == "2")
    assert worker.exchange.failures == {}
    following.cancel()


async def test_a_worker_that_restarts_without_its_registry_serves_its_copy(
    tmp_path: Path,
) -> None:
    store = CutOff(folder_store(tmp_path / "registry"))
    registry = registry_with("1", "2", store=store)
    registry.promote("tiny", "1")
    told = told_of(registry, tmp_path / "cache")
    source = VersionSource(registry, "tiny", tmp_path / "cache")
    source.load(told.served["champion"])
    store.is_cut_off = True
    assert source.load(told.served["champion"]).version == "1"
    with pytest.raises(RegistryUnreachableError):
        source.load(Served(version="2", sha256="0" * 64))


def test_a_copy_that_was_changed_does_not_serve(tmp_path: Path) -> None:
    registry = registry_with("1", store=folder_store(tmp_path / "registry"))
    registry.promote("tiny", "1")
    served = told_of(registry, tmp_path / "cache").served["champion"]
    source = VersionSource(registry, "tiny", tmp_path / "cache")
    source.load(served)
    [file] = (tmp_path / "cache").rglob("model.onnx")
    file.write_bytes(model_content(5))
    with pytest.raises(InvalidDataError) as caught:
        source.load(served)
    assert caught.value.code == "model_checksum_differs"


def test_nothing_is_left_of_a_copy_that_failed(tmp_path: Path) -> None:
    registry = registry_with("1")
    source = VersionSource(registry, "tiny", tmp_path)
    for version in ("1", "9"):
        with pytest.raises((InvalidDataError, NotFoundError)):
            source.load(Served(version=version, sha256="0" * 64))
    assert list((tmp_path / "tiny").iterdir()) == []
