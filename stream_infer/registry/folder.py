"""A registry in a folder that all who use it can see: a disk, or a file system over the network.

A file is written beside its name, brought to the disk, and then linked to its name, which fails
where the name is taken. So a file that can be seen is whole, and of two writers one is told.
"""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from stream_infer.errors import ConflictError, InvalidDataError, StreamInferError
from stream_infer.registry.store import FileExistsAlreadyError, missing, unreachable

_PARTIAL = ".partial-"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


class FolderStore:
    """Files under a folder.

    root    the folder
    create  make the folder when something is written; else one that is missing is an error, for
            where a disk is not mounted its folder must not appear
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self._root = root
        self._create = create

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._root)

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return a file's content."""
        file = self._root / path
        try:
            with file.open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                if size > bytes_max:
                    raise too_large(self.place, path, size, bytes_max)
                return opened.read()
        except (FileNotFoundError, NotADirectoryError):
            self._require_root()
            raise missing(self.place, path) from None
        except OSError as error:
            raise self._disk_error(error) from error

    def create(self, path: str, content: bytes) -> None:
        """Write a new file in one step."""
        file = self._root / path
        beside = file.with_name(f"{_PARTIAL}{uuid.uuid4().hex}")
        if not self._create:
            self._require_root()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("xb") as opened:
                    opened.write(content)
                    opened.flush()
                    os.fsync(opened.fileno())
                os.link(beside, file)
            finally:
                beside.unlink(missing_ok=True)
            _sync_folder(file.parent)
        except FileExistsError:
            raise FileExistsAlreadyError(path) from None
        except OSError as error:
            raise self._disk_error(error) from error

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder but for what is still being written."""
        try:
            found = [path.name for path in (self._root / folder).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            self._require_root()
            return []
        except OSError as error:
            raise self._disk_error(error) from error
        return sorted(name for name in found if not name.startswith("."))

    def _require_root(self) -> None:
        if not self._root.is_dir() and not self._create:
            raise unreachable(self.place, "there is no such folder")

    def _disk_error(self, error: OSError) -> StreamInferError:
        if error.errno in _NO_LINKS:
            return ConflictError(
                "registry_without_links",
                f"The file system of {self.place} cannot link files, so nothing can be published"
                " there in one step.",
                "Keep the registry on another file system, or in an object store.",
                registry=self.place,
            )
        return unreachable(self.place, error.strerror or str(error))


def too_large(place: str, path: str, size: int, bytes_max: int) -> InvalidDataError:
    """Return the error that refuses a file before it is read."""
    return InvalidDataError(
        "registry_file_too_large",
        f"{path} in the registry {place} has {size:,} bytes; at most {bytes_max:,} are read.",
        "Publish a smaller file: prune the model, or distil it.",
        registry=place,
        path=path,
        bytes=size,
        bytes_max=bytes_max,
    )


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk: without it a crash of the machine may lose it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
