"""Versions as a worker gets them: from the registry, or from the copy that it has kept.

A copy stands in ``<cache>/<model>/<version>-<sha256>``, named by what its file must hash to, and
gets that name when it is whole. So a worker that restarts while the registry cannot be reached
serves what it served; and a version that was tampered with in the registry has another name.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.events.told import Served, Told
from stream_infer.registry.control import what_serves
from stream_infer.registry.registry import Registry
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.model import Model, load_model, warm_up

SHA256_DIGITS = 16


class VersionSource:
    """The versions of one model.

    registry  where they are
    model     which model
    cache     folder for copies, which workers on a machine may share
    execution where they run
    """

    def __init__(
        self, registry: Registry, model: str, cache: Path, execution: Execution = ON_CPU
    ) -> None:
        self.registry = registry
        self._execution = execution
        self._model = model
        self._cache = cache / model

    def what_serves(self) -> Told | None:
        """Return what the registry says; None before anything was promoted. Blocks."""
        return what_serves(self.registry, self._model)

    def load(self, served: Served) -> Model:
        """Return a version, verified and warm. Blocks; meant for a thread.

        Raises  RegistryUnreachableError where there is no copy either; NotFoundError
                ``version_not_found``; ConflictError ``model_cache_unusable``; InvalidDataError
                ``version_differs`` and what `load_model` raises
        """
        folder = self._cache / f"{served.version}-{served.sha256[:SHA256_DIGITS]}"
        if not folder.is_dir():
            try:
                self._copy(served, folder)
            except OSError as error:
                raise ConflictError(
                    "model_cache_unusable",
                    f"Version {served.version} of {self._model} cannot be kept in {self._cache}"
                    f" ({error.strerror}).",
                    "Make room there, or name another folder with [model] cache.",
                    folder=str(self._cache),
                ) from error
        model = load_model(folder, self._execution)
        if model.manifest.sha256 != served.sha256:
            raise _differs(self._model, served, model.manifest.sha256)
        warm_up(model)
        return model

    def _copy(self, served: Served, folder: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._cache))
        try:
            manifest = self.registry.copy_to(self._model, served.version, beside)
            if manifest.sha256 != served.sha256:
                raise _differs(self._model, served, manifest.sha256)
            try:
                beside.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another worker was quicker, with the same
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _differs(model: str, served: Served, found: str) -> InvalidDataError:
    return InvalidDataError(
        "version_differs",
        f"Version {served.version} of {model} is not the one that is to serve: its checksum"
        " differs.",
        "Find out who changed the registry; publish the model under another version.",
        model=model,
        version=served.version,
        expected=served.sha256,
        found=found,
    )
