"""Registries for tests: a folder or memory, a clock that is set by hand, tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import obstore.store

from stream_infer.registry.folder import FolderStore
from stream_infer.registry.objects import ObjectStore
from stream_infer.registry.registry import Registry
from stream_infer.registry.store import Store, unreachable
from support.onnx_models import WEIGHTS, logistic_model, make_manifest

NOON_MS = 1_767_268_800_000


def memory_store() -> Store:
    return ObjectStore("memory:///", obstore.store.MemoryStore())


def folder_store(root: Path) -> Store:
    return FolderStore(root)


class Clock:
    """Ms since the epoch; each look is a second later."""

    def __init__(self) -> None:
        self.ms = NOON_MS

    def __call__(self) -> int:
        self.ms += 1_000
        return self.ms


class CutOff:
    """A store that can be cut off."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_cut_off = False

    @property
    def place(self) -> str:
        return self._store.place

    def read(self, path: str, bytes_max: int) -> bytes:
        self._pass()
        return self._store.read(path, bytes_max)

    def create(self, path: str, content: bytes) -> None:
        self._pass()
        self._store.create(path, content)

    def names(self, folder: str) -> list[str]:
        self._pass()
        return self._store.names(folder)

    def _pass(self) -> None:
        if self.is_cut_off:
            raise unreachable(self.place, "the cable is out")


def model_content(number: int = 1) -> bytes:
    """Return a model that answers otherwise than those of other numbers."""
    return logistic_model(weights=(WEIGHTS * np.float32(number)))


def publish(registry: Registry, version: str = "1", number: int | None = None, **of: Any) -> None:
    """Publish version `version` of the model ``tiny``."""
    content = model_content(number or (int(version) if version.isdecimal() else 1))
    registry.publish(content, make_manifest(content, version=version, **of))


def registry_with(*versions: str, store: Store | None = None, now: bool = False) -> Registry:
    """Return a registry that holds these versions of ``tiny``; `now` has it go by the real time."""
    registry = Registry(store or memory_store(), now_ms=None if now else Clock())
    for version in versions:
        publish(registry, version)
    return registry
