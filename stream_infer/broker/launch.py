"""Run a broker's JVM and wait until it serves as itself, or say why it does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from pathlib import Path

from stream_infer.broker import layout
from stream_infer.broker.config import HOST, LOG_FILE
from stream_infer.broker.failures import explain_exit, start_timeout
from stream_infer.broker.process import BrokerProcess
from stream_infer.broker.readiness import ask_broker
from stream_infer.errors import StreamInferError

READY_POLL_S = 0.03
LISTENS_S_MAX = 1.0


def launch(
    process: BrokerProcess,
    folder: Path,
    identity: layout.Identity,
    timeout_s: float,
    further_ports: Collection[int] = (),
) -> None:
    """Start the JVM and return when it answers with its own cluster id and port.

    further_ports  of its other listeners: a broker opens them one by one, after the first
    Raises the named error when the JVM ends first, or start_timeout; then it is killed.
    """
    process.start()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise exit_error(process, folder)
        if serves(identity) and all(map(_listens, further_ports)):
            return
        time.sleep(READY_POLL_S)
    tail = layout.log_tail(folder)
    process.kill()
    raise start_timeout(timeout_s, tail)


def serves(identity: layout.Identity) -> bool:
    """Say whether the broker with this identity answers at its port now."""
    facts = ask_broker(HOST, identity.port)
    return (
        facts is not None
        and facts.cluster_id == identity.cluster_id
        and (HOST, identity.port) in facts.nodes
    )


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), LISTENS_S_MAX).close()
    except OSError:
        return False
    return True


def exit_error(process: BrokerProcess, folder: Path) -> StreamInferError:
    """Return the named error for a JVM that ended without being asked to."""
    # A temporary folder, and the log in it, is removed with the broker.
    log_path = None if process.removes_folder else str(folder / LOG_FILE)
    return explain_exit(process.exit_code or 0, layout.log_tail(folder), log_path)
