"""The versions of models in a store: published once, verified whenever they are read.

    <model>/<version>/model.onnx       the file
    <model>/<version>/<attachment>     a report, say
    <model>/<version>/manifest.json    last of all: without it there is no such version
    <model>/_history/0000000001.json   see `stream_infer.registry.aliases`

So what is half published, or half copied, is not there. A name that somebody began to publish
under and never finished stays taken for everybody who brings other files.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stream_infer.errors import ConflictError, InvalidDataError, NotFoundError, StreamInferError
from stream_infer.registry.entry import checked_name
from stream_infer.registry.store import FileExistsAlreadyError, Store
from stream_infer.scoring.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from stream_infer.scoring.model import load_model
from stream_infer.scoring.onnx_file import MODEL_BYTES_MAX

MANIFEST_BYTES_MAX = 16 * 1024 * 1024
ATTACHMENT_BYTES_MAX = 64 * 1024 * 1024
NUMBERING_TRIES_MAX = 20


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is there now.

    new  False where the same version with the same files was there before
    """

    manifest: Manifest
    new: bool


class Versions:
    """The versions in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def models(self) -> list[str]:
        """Return the names of the models that have a folder."""
        return [name for name in self._store.names("") if name[:1].isalnum()]

    def versions(self, model: str) -> list[str]:
        """Return the versions of a model that are whole, oldest number first."""
        names = [name for name in self._store.names(checked_name(model, "model")) if name[0] != "_"]
        return sorted(
            (name for name in names if MANIFEST_FILE in self._store.names(f"{model}/{name}")),
            key=_by_number,
        )

    def manifest(self, model: str, version: str) -> Manifest:
        """Return a version's manifest.

        Raises  NotFoundError ``version_not_found``; InvalidDataError ``manifest_invalid``,
                ``manifest_misplaced``
        """
        folder = _folder(model, version)
        try:
            text = self._store.read(f"{folder}/{MANIFEST_FILE}", MANIFEST_BYTES_MAX)
        except NotFoundError:
            raise version_not_found(self._store.place, model, version) from None
        manifest = decode_manifest(text, f"{self._store.place}/{folder}/{MANIFEST_FILE}")
        if (manifest.name, manifest.version) != (model, version):
            raise InvalidDataError(
                "manifest_misplaced",
                f"The manifest in {folder} is of {manifest.name} {manifest.version}.",
                "Publish it under its own name; versions are never copied by hand.",
                path=folder,
            )
        return manifest

    def copy_to(self, model: str, version: str, folder: Path) -> Manifest:
        """Write a version's model and manifest into a folder that is there; checks the model's sum.

        Raises  as `manifest`; InvalidDataError ``model_checksum_differs``
        """
        manifest = self.manifest(model, version)
        content = self._content(manifest, MODEL_FILE, manifest.sha256, MODEL_BYTES_MAX)
        (folder / MODEL_FILE).write_bytes(content)
        (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))
        return manifest

    def attachment(self, model: str, version: str, name: str) -> bytes:
        """Return a further file of a version; raise NotFoundError ``attachment_not_found``."""
        manifest = self.manifest(model, version)
        expected = manifest.attachments.get(name)
        if expected is None:
            raise NotFoundError(
                "attachment_not_found",
                f"Version {version} of {model} has no file {name!r}.",
                f"It has: {', '.join(manifest.attachments) or 'none'}.",
            )
        return self._content(manifest, name, expected, ATTACHMENT_BYTES_MAX)

    def verify(self, model: str, version: str) -> Manifest:
        """Read a version anew, check every sum and load the model as a worker would.

        Raises  as `manifest`; what `load_model` raises
        """
        with tempfile.TemporaryDirectory(prefix="stream-infer-verify-") as folder:
            manifest = self.copy_to(model, version, Path(folder))
            load_model(folder)
        for name, expected in manifest.attachments.items():
            self._content(manifest, name, expected, ATTACHMENT_BYTES_MAX)
        return manifest

    def publish(
        self, content: bytes, manifest: Manifest, attachments: Mapping[str, bytes] | None = None
    ) -> Published:
        """Publish a version under the manifest's name and version; safe to repeat.

        content      of `model.onnx`
        attachments  further files by name; the manifest's own sums of them are made here
        Raises       ConflictError ``version_exists``, ``version_half_published``; InvalidDataError
                     ``model_checksum_differs`` and what `load_model` raises: nothing is written
        """
        files = dict(attachments or {})
        for name, file in files.items():
            if len(file) > ATTACHMENT_BYTES_MAX:
                raise InvalidDataError(
                    "attachment_too_large",
                    f"The file {name} has {len(file):,} bytes; at most {ATTACHMENT_BYTES_MAX:,}.",
                    "Leave it out, or make it smaller.",
                )
        manifest = _described(manifest, files)
        _try_out(content, manifest)
        folder = _folder(manifest.name, manifest.version)
        if MANIFEST_FILE in self._store.names(folder):
            return self._there_already(manifest)
        for name, file in {MODEL_FILE: content, **files}.items():
            self._create(manifest, name, file)
        try:
            self._store.create(f"{folder}/{MANIFEST_FILE}", encode_manifest(manifest))
        except FileExistsAlreadyError:
            return self._there_already(manifest)
        return Published(manifest, new=True)

    def publish_next(
        self, content: bytes, manifest: Manifest, attachments: Mapping[str, bytes] | None = None
    ) -> Published:
        """Publish under the next number that nobody has begun to publish under.

        Raises  as `publish`
        """
        for _ in range(NUMBERING_TRIES_MAX):
            taken = [name for name in self._store.names(manifest.name) if name.isdecimal()]
            number = str(max(map(int, taken), default=0) + 1)
            try:
                published = self.publish(
                    content, msgspec.structs.replace(manifest, version=number), attachments
                )
            except ConflictError:
                continue  # somebody else took the number meanwhile
            if published.new:
                return published
        raise ConflictError(
            "version_numbers_taken",
            f"Others publish versions of {manifest.name} faster than this can be numbered.",
            "Try again, or name a version.",
        )

    def _create(self, manifest: Manifest, name: str, content: bytes) -> None:
        path = f"{_folder(manifest.name, manifest.version)}/{name}"
        try:
            self._store.create(path, content)
        except FileExistsAlreadyError:
            if self._store.read(path, max(len(content), 1) * 2 + 1024) != content:
                raise _half_published(manifest) from None

    def _there_already(self, manifest: Manifest) -> Published:
        there = self.manifest(manifest.name, manifest.version)
        if msgspec.structs.replace(there, created=manifest.created) != manifest:
            raise ConflictError(
                "version_exists",
                f"Version {manifest.version} of {manifest.name} is there already, and differs.",
                "Versions never change: publish under another one, or with --next.",
                model=manifest.name,
                version=manifest.version,
            )
        return Published(there, new=False)

    def _content(self, manifest: Manifest, name: str, expected: str, bytes_max: int) -> bytes:
        folder = _folder(manifest.name, manifest.version)
        content = self._store.read(f"{folder}/{name}", bytes_max)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise InvalidDataError(
                "model_checksum_differs",
                f"The file {name} of {manifest.name} {manifest.version} in {self._store.place} is"
                " not the one its manifest describes.",
                "Restore it from a copy, or publish the model under another version.",
                expected=expected,
                found=found,
            )
        return content


def version_not_found(place: str, model: str, version: str) -> NotFoundError:
    """Return the error that says that a version is not there, or no longer."""
    return NotFoundError(
        "version_not_found",
        f"The registry {place} has no version {version} of {model}.",
        f"See: stream-infer models list {model}.",
        registry=place,
        model=model,
        version=version,
    )


def _described(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    # Checked as whoever reads it will: a name that leaves the folder is refused here.
    fields = msgspec.to_builtins(manifest) | {"attachments": sums}
    return decode_manifest(msgspec.json.encode(fields), "to be published")


def _try_out(content: bytes, manifest: Manifest) -> None:
    with tempfile.TemporaryDirectory(prefix="stream-infer-publish-") as name:
        folder = Path(name)
        (folder / MODEL_FILE).write_bytes(content)
        (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))
        load_model(folder)


def _half_published(manifest: Manifest) -> StreamInferError:
    return ConflictError(
        "version_half_published",
        f"Somebody began to publish version {manifest.version} of {manifest.name} with other files"
        " and did not finish.",
        "Publish under another version, or with --next.",
        model=manifest.name,
        version=manifest.version,
    )


def _folder(model: str, version: str) -> str:
    return f"{checked_name(model, 'model')}/{checked_name(version, 'version')}"


def _by_number(version: str) -> tuple[int, int, str]:
    return (0, int(version), "") if version.isdecimal() else (1, 0, version)
