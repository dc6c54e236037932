"""A registry in an object store: ``s3://bucket/models``, ``gs://…``, ``az://…``.

Access comes from where that store's own tools take it (`AWS_ACCESS_KEY_ID`, an instance's role,
`GOOGLE_APPLICATION_CREDENTIALS`, …), never from a setting of ours. A file is created by a
conditional request, which the store refuses where the name is taken, so all that is said of a
folder holds here as well.
"""

from __future__ import annotations

from typing import Any

from stream_infer.errors import ConfigError
from stream_infer.registry.folder import too_large
from stream_infer.registry.store import FileExistsAlreadyError, missing, unreachable

TIMEOUT = "10s"
RETRIES_MAX = 2
"""A worker asks again by itself; somebody at a terminal does not wait for minutes."""


class ObjectStore:
    """Files in an object store.

    place    its URL, for people
    objects  a store of `obstore`
    """

    def __init__(self, place: str, objects: Any) -> None:
        self._place = place
        self._objects = objects

    @property
    def place(self) -> str:
        """The URL."""
        return self._place

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return a file's content."""
        import obstore  # noqa: PLC0415 - an extra, see `open_objects`

        try:
            found = obstore.get(self._objects, path)
            size = int(found.meta["size"])
            content = bytes(found.bytes()) if size <= bytes_max else b""
        except FileNotFoundError:
            raise missing(self._place, path) from None
        except Exception as error:  # what a store says has no base class of its own
            raise unreachable(self._place, _first_line(error)) from error
        if size > bytes_max:
            raise too_large(self._place, path, size, bytes_max)
        return content

    def create(self, path: str, content: bytes) -> None:
        """Write a new file; the store itself refuses a name that is taken."""
        import obstore  # noqa: PLC0415 - as above
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        try:
            # In one request: a conditional one cannot be cut into parts everywhere.
            obstore.put(self._objects, path, content, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            raise FileExistsAlreadyError(path) from None
        except Exception as error:  # as above
            raise unreachable(self._place, _first_line(error)) from error

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder."""
        import obstore  # noqa: PLC0415 - as above

        try:
            found = obstore.list_with_delimiter(self._objects, folder or None)
        except FileNotFoundError:
            return []
        except Exception as error:  # as above
            raise unreachable(self._place, _first_line(error)) from error
        paths = [each["path"] for each in found["objects"]] + list(found["common_prefixes"])
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)


def open_objects(url: str) -> ObjectStore:
    """Return the store of a URL; nothing is asked of it yet.

    Raises  ConfigError ``object_store_missing`` without the extra, ``bad_registry``
    """
    try:
        import obstore.store  # noqa: PLC0415 - an extra: imported where its absence is explained
    except ImportError as error:
        raise ConfigError(
            "object_store_missing",
            f"A registry in an object store such as {url} needs the package obstore.",
            "Install it with: pip install 'stream-infer[object-store]'; or keep the registry in a"
            " folder.",
        ) from error
    try:
        objects = obstore.store.from_url(
            url,
            client_options={"timeout": TIMEOUT, "connect_timeout": TIMEOUT},
            retry_config={"max_retries": RETRIES_MAX},
        )
    except Exception as error:
        raise ConfigError(
            "bad_registry",
            f"{url!r} is no place for a registry: {_first_line(error)}.",
            "Write a folder, or a URL such as s3://bucket/models.",
        ) from error
    return ObjectStore(url, objects)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
