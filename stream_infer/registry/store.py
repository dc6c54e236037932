"""What a registry asks of the place that it is kept in: files that are written once.

Everything that a registry knows stands in such files. Nobody changes or removes one, so there is
nothing to lock: of two who create a file of one name, one is told that it is there already, and
that is the compare-and-set on which aliases move.
"""

from __future__ import annotations

from typing import Protocol

from stream_infer.errors import NotFoundError, StreamInferError


class RegistryUnreachableError(StreamInferError):
    """The registry does not answer, or refuses: what is loaded goes on serving."""


class FileExistsAlreadyError(Exception):
    """A file of that name is there, written by an earlier call or by somebody else."""


class Store(Protocol):
    """Files by path, ``/`` between folders. Safe to use from several threads and processes."""

    @property
    def place(self) -> str:
        """Where it is, for people; without secrets."""

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return a file's content.

        Raises  NotFoundError ``registry_file_missing``; RegistryUnreachableError; InvalidDataError
                ``registry_file_too_large``
        """

    def create(self, path: str, content: bytes) -> None:
        """Write a new file; whoever sees it sees all of it.

        Raises  FileExistsAlreadyError; RegistryUnreachableError
        """

    def names(self, folder: str) -> list[str]:
        """Return the names of files and folders in a folder, sorted; none where it is not there.

        Raises  RegistryUnreachableError
        """


def missing(place: str, path: str) -> NotFoundError:
    """Return the error that says that a file is not there."""
    return NotFoundError(
        "registry_file_missing",
        f"The registry {place} holds no {path}.",
        "See what it holds with: stream-infer models list.",
        registry=place,
        path=path,
    )


def unreachable(place: str, why: str) -> RegistryUnreachableError:
    """Return the error that says that the registry cannot be used now."""
    return RegistryUnreachableError(
        "registry_unreachable",
        f"The registry {place} cannot be reached: {why.rstrip('.')}.",
        "Check that it is there and that you may use it. Workers serve on with what they loaded.",
        registry=place,
    )
