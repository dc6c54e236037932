"""A broker's own folder: what stands in it, and whether it is ours.

broker.json         marks the folder as ours: Kafka version, cluster id, last ports
server.properties   written at each start
log4j2.properties   written at each start
data/               Kafka's logs; meta.properties and bootstrap.checkpoint when new
logs/               broker.log (rolled), jvm.log (the JVM's own output)
tmp/                native libraries that the JVM unpacks
lock                held by the broker's supervisor for its whole life
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stream_infer.broker import config
from stream_infer.broker.failures import data_dir_in_use
from stream_infer.broker.folders import named_folder_errors, write_whole
from stream_infer.broker.listeners import Listener
from stream_infer.errors import ConflictError

MARKER = "broker.json"
LOCK = "lock"
TEMPORARY_PREFIX = "stream-infer-kafka-"
LOG_BYTES_QUOTED = 64 * 1024


@dataclass(frozen=True)
class Identity:
    """Who the broker of a folder is, over restarts."""

    kafka_version: str
    cluster_id: str
    port: int
    controller_port: int


def read_identity(folder: Path) -> Identity | None:
    """Return the identity of a folder, None when it is new or empty.

    Raises ConflictError: folder_not_ours, data_version
    """
    if not folder.exists():
        return None
    marker = folder / MARKER
    if not marker.exists():
        ours = (LOCK, f"{MARKER}.partial")
        if any(entry.name not in ours for entry in folder.iterdir()):
            raise ConflictError(
                "folder_not_ours",
                f"{folder} holds other files and no data of an embedded Kafka.",
                "Choose an empty or new folder with --data-dir.",
                folder=str(folder),
            )
        return None
    try:
        identity = Identity(**json.loads(marker.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ConflictError(
            "folder_damaged",
            f"{marker} cannot be read: {error}.",
            "Remove the folder, or choose another with --data-dir.",
            folder=str(folder),
        ) from error
    if identity.kafka_version != config.KAFKA_VERSION:
        raise ConflictError(
            "data_version",
            f"{folder} holds data of Kafka {identity.kafka_version}, "
            f"and this is Kafka {config.KAFKA_VERSION}.",
            "Choose another folder with --data-dir.",
            folder=str(folder),
        )
    return identity


def temporary_folder() -> Path:
    """Make a folder that no other broker has."""
    with named_folder_errors(Path(tempfile.gettempdir())):
        return Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Make the folder and hold its lock; yield the lock's descriptor.

    The lock lives until every copy of the descriptor is closed, so a child process that
    inherits it holds the folder on. Other files are never touched: see `read_identity`.
    Raises ConflictError: data_dir_in_use, folder_not_ours; EmbeddedBrokerError: not_writable
    """
    with named_folder_errors(folder):
        read_identity(folder)
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor
        except BlockingIOError as error:
            raise data_dir_in_use(str(folder)) from error
        finally:
            os.close(descriptor)


def new_identity(port: int, controller_port: int) -> Identity:
    """Return an identity with a cluster id of its own (16 random bytes, URL-safe base64)."""
    cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    # The storage tool refuses an id with a leading dash, since no shell takes it.
    cluster_id = cluster_id.replace("-", "A")
    return Identity(config.KAFKA_VERSION, cluster_id, port, controller_port)


def prepare(
    folder: Path,
    identity: Identity,
    checkpoint: Path,
    overrides: Mapping[str, str],
    listeners: Sequence[tuple[Listener, int]] = (),
) -> None:
    """Write all that the JVM reads; a folder with data keeps its data.

    checkpoint  ``bootstrap.checkpoint`` of the installation, or one with users
    listeners   further listeners with their ports
    Raises      OSError as the system has it; ConfigError for a reserved setting
    """
    properties = config.server_properties(
        identity.port, identity.controller_port, overrides, listeners
    )
    data = folder / config.DATA_FOLDER
    # First, so that a start that fails half-way leaves a folder that is known as ours.
    write_whole(folder / MARKER, json.dumps(asdict(identity)))
    for part in (data, folder / config.LOG_FOLDER, folder / "tmp"):
        part.mkdir(exist_ok=True)
    _write_private(folder / "server.properties", properties)
    (folder / "log4j2.properties").write_text(config.log4j_properties())
    if not (data / "meta.properties").exists():
        shutil.copyfile(checkpoint, data / "bootstrap.checkpoint")
        # Last: with it the folder counts as formatted.
        write_whole(data / "meta.properties", config.meta_properties(identity.cluster_id))


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read: listeners' settings hold passwords."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def log_tail(folder: Path) -> str:
    """Return the end of both logs, the JVM's own after the broker's."""
    texts = []
    for name in (config.LOG_FILE, f"{config.LOG_FOLDER}/jvm.log"):
        path = folder / name
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - LOG_BYTES_QUOTED))
                texts.append(stream.read().decode(errors="replace"))
    return "\n".join(text.strip() for text in texts if text.strip())
