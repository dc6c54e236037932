"""The registry that a setting names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from stream_infer.errors import ConfigError
from stream_infer.registry.folder import FolderStore
from stream_infer.registry.objects import open_objects
from stream_infer.registry.store import Store

OBJECT_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "memory")


def open_store(where: str | Path, *, create: bool = True) -> Store:
    """Return the place of a registry; nothing is read or written yet.

    where   a folder, ``file:///srv/models``, or the URL of an object store
    create  whether a folder that is missing is made when something is published
    Raises  ConfigError ``bad_registry``, ``object_store_missing``
    """
    if isinstance(where, Path):
        return FolderStore(where, create=create)
    url = urlsplit(where)
    if not url.scheme and where:
        return FolderStore(Path(where).expanduser(), create=create)
    if url.scheme == "file" and not url.netloc and url.path.startswith("/"):
        return FolderStore(Path(unquote(url.path)), create=create)
    if "@" in url.netloc and url.scheme not in ("abfs", "abfss"):
        # Not quoted: what stands before the @ is a secret.
        raise ConfigError(
            "bad_registry",
            "The registry's URL holds a user or a password.",
            "Leave them out: they are taken from the store's own environment variables.",
        )
    if url.scheme in OBJECT_SCHEMES:
        return open_objects(where)
    raise ConfigError(
        "bad_registry",
        f"{where!r} is no place for a registry.",
        "Write a folder, file:///srv/models (three slashes), or s3://bucket/models.",
    )
