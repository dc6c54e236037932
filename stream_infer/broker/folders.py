"""Where the embedded Kafka keeps things of one user, and the lock that guards them.

    cache   what can be made again: jars, quick-start archive    STREAM_INFER_CACHE
    state   which broker `stream-infer broker start` has started STREAM_INFER_STATE

Source: XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from stream_infer.errors import EmbeddedBrokerError


def cache_folder() -> Path:
    """Return the folder for what can be downloaded or computed again."""
    return _user_folder("STREAM_INFER_CACHE", "XDG_CACHE_HOME", ".cache")


def state_folder() -> Path:
    """Return the folder for what describes running processes."""
    return _user_folder("STREAM_INFER_STATE", "XDG_STATE_HOME", ".local/state")


def _user_folder(own: str, xdg: str, default: str) -> Path:
    chosen = os.environ.get(own)
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get(xdg, "")
    # The specification says to ignore a relative path.
    root = Path(base) if Path(base).is_absolute() else Path("~").expanduser() / default
    return root / "stream-infer"


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path`; other processes wait, and a dead one lets go.

    waiting  called once when another process holds the lock
    """
    with named_folder_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def named_folder_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that cannot be used into a named error."""
    try:
        yield
    except OSError as error:
        raise folder_error(error, folder) from error


def folder_error(error: OSError, folder: Path) -> EmbeddedBrokerError:
    """Return the named error for a full folder, or one that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EmbeddedBrokerError(
            "no_space",
            f"No space is left for {folder}.",
            "Free some space (about 200 MB are needed), or choose another disk with "
            "STREAM_INFER_CACHE, TMPDIR or --data-dir.",
            folder=str(folder),
        )
    return EmbeddedBrokerError(
        "not_writable",
        f"{folder} cannot be used: {error.strerror or error}.",
        "Choose a folder of your own with STREAM_INFER_CACHE, STREAM_INFER_STATE, "
        "TMPDIR or --data-dir.",
        folder=str(folder),
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, also on a full disk."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
