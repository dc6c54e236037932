"""Writing a model's folder: the file, then its manifest, each in one step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.scoring.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    Thresholds,
    Training,
    encode_manifest,
    read_manifest,
)
from stream_infer.scoring.model import load_model


def describe_model(
    content: bytes,
    *,
    name: str,
    version: str,
    features: Sequence[str],
    fingerprint: str,
    thresholds: Thresholds,
    row_chunk: int,
    training: Training,
    metrics: dict[str, float],
    created: datetime | None = None,
    outputs: Sequence[str] = (),
) -> Manifest:
    """Return the manifest of the model in `content`; `created` is now unless it is given."""
    when = (created or datetime.now(UTC)).astimezone(UTC)
    return Manifest(
        name=name,
        version=version,
        sha256=hashlib.sha256(content).hexdigest(),
        features=tuple(features),
        features_fingerprint=fingerprint,
        thresholds=thresholds,
        row_chunk=row_chunk,
        created=when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        training=training,
        metrics=metrics,
        outputs=tuple(outputs),
    )


def write_model(folder: Path, content: bytes, manifest: Manifest) -> bool:
    """Write a model and load it as a worker would; return whether anything changed.

    Nothing is touched when the folder holds the same model already but for `created`: so
    making a model twice leaves no difference behind.
    """
    if _holds(folder, content, manifest):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / MODEL_FILE, content)
    _replace(folder / MANIFEST_FILE, encode_manifest(manifest))
    load_model(folder)
    return True


def _holds(folder: Path, content: bytes, manifest: Manifest) -> bool:
    try:
        there = read_manifest(folder)
        same_file = (folder / MODEL_FILE).read_bytes() == content
    except (NotFoundError, InvalidDataError, FileNotFoundError):
        return False  # nothing there, or nothing of use: it is written anew
    return same_file and msgspec.structs.replace(there, created=manifest.created) == manifest


def _replace(path: Path, content: bytes) -> None:
    """Write the file in one step: a worker that starts meanwhile reads the old or the new one."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.replace(path)
