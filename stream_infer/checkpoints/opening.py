"""The store that a setting names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.checkpoints.topic import TopicStore
from stream_infer.errors import ConfigError
from stream_infer.kafka.connection import Connection

IN_KAFKA = "kafka"


def open_store(where: str, connection: Connection, pipeline: str) -> CheckpointStore:
    """Return the store of a pipeline's checkpoints; nothing is read or written yet.

    where   ``kafka``, or a folder as ``file:///srv/checkpoints``
    Raises  ConfigError ``bad_checkpoint_store``
    """
    if where == IN_KAFKA:
        return TopicStore(connection, pipeline)
    url = urlsplit(where)
    if url.scheme == "file" and not url.netloc and url.path.startswith("/"):
        return FolderStore(Path(unquote(url.path)), pipeline)
    raise ConfigError(
        "bad_checkpoint_store",
        f"{where!r} is no place for checkpoints.",
        "Write kafka, or a folder as file:///srv/checkpoints (three slashes).",
    )
