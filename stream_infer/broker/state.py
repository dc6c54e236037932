"""Which brokers the command line has started, and whether they still live.

One JSON file per name under the state folder: ``brokers/NAME.json``. The file only claims;
what counts is the supervisor that it names by pid and start (see `identity`). Whoever
changes it holds the name's lock, so two commands at once cannot start two brokers.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stream_infer.broker import layout
from stream_infer.broker.config import KAFKA_VERSION
from stream_infer.broker.embedded import EmbeddedBroker
from stream_infer.broker.folders import locked, named_folder_errors, state_folder, write_whole
from stream_infer.broker.identity import started_at, terminate
from stream_infer.broker.process import STOP_GRACE_S
from stream_infer.errors import ConflictError, EmbeddedBrokerError, NotFoundError

STOP_POLL_S = 0.05


@dataclass(frozen=True)
class BrokerState:
    """One detached broker, as its state file has it."""

    name: str
    bootstrap: str
    pid: int
    supervisor_pid: int
    supervisor_started_at: str
    folder: str
    temporary: bool
    log_path: str
    kafka_version: str

    def lives(self) -> bool:
        """Say whether the very process that was started still runs."""
        return started_at(self.supervisor_pid) == self.supervisor_started_at


def start_detached(broker: EmbeddedBroker, name: str, *, temporary: bool) -> BrokerState:
    """Start the broker, note it under `name`, and leave it running.

    The note is written before the broker is let go, so none can run unknown.
    Raises ConflictError already_running, and what `EmbeddedBroker.start` raises
    """
    with _owned(name) as path:
        known = _read(path)
        if known is not None and known.lives():
            raise ConflictError(
                "already_running",
                f"The embedded Kafka '{name}' already runs at {known.bootstrap}.",
                "Use it, stop it with `stream-infer broker stop`, or start another with --name.",
                bootstrap=known.bootstrap,
                pid=known.pid,
            )
        if known is not None:
            _forget(path, known)
        with broker:
            state = _describe(broker, name, temporary=temporary)
            with named_folder_errors(path.parent):
                write_whole(path, json.dumps(asdict(state)))
            broker.detach()
        return state


def find_running(name: str) -> BrokerState:
    """Return the running broker of this name.

    Raises NotFoundError: not_running, broker_died (with the last lines of its log)
    """
    state = _read(_path(name))
    if state is None:
        raise _not_running(name)
    if not state.lives():
        raise _died(state)
    return state


def stop_detached(name: str) -> BrokerState:
    """Stop the broker of this name and wait until it is gone.

    Raises NotFoundError as `find_running`; EmbeddedBrokerError stop_timeout
    """
    with _owned(name) as path:
        state = _read(path)
        if state is None:
            raise _not_running(name)
        if not terminate(state.supervisor_pid, state.supervisor_started_at):
            error = _died(state)
            _forget(path, state)
            raise error
        deadline = time.monotonic() + STOP_GRACE_S * 2
        while state.lives():
            if time.monotonic() > deadline:
                raise EmbeddedBrokerError(
                    "stop_timeout",
                    f"The embedded Kafka '{name}' does not stop.",
                    f"Look at {state.log_path}, then kill process {state.pid}.",
                    pid=state.pid,
                )
            time.sleep(STOP_POLL_S)
        _forget(path, state)
        return state


def _describe(broker: EmbeddedBroker, name: str, *, temporary: bool) -> BrokerState:
    supervisor_pid, pid = broker.supervisor_pid, broker.pid
    moment = started_at(supervisor_pid)
    if pid is None or moment is None:
        raise EmbeddedBrokerError(
            "exited_early",
            "The embedded Kafka ended as soon as it served.",
            "Start it again.",
        )
    return BrokerState(
        name=name,
        bootstrap=broker.bootstrap,
        pid=pid,
        supervisor_pid=supervisor_pid,
        supervisor_started_at=moment,
        folder=str(broker.folder),
        temporary=temporary,
        log_path=str(broker.log_path),
        kafka_version=KAFKA_VERSION,
    )


def _path(name: str) -> Path:
    return state_folder() / "brokers" / f"{name}.json"


@contextlib.contextmanager
def _owned(name: str) -> Iterator[Path]:
    path = _path(name)
    with locked(path.with_suffix(".lock")):
        yield path


def _read(path: Path) -> BrokerState | None:
    try:
        return BrokerState(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        # Written by another version or cut short. It names no process for certain, and
        # nothing may be signalled on a guess.
        return None


def _forget(path: Path, state: BrokerState) -> None:
    if state.temporary:
        shutil.rmtree(state.folder, ignore_errors=True)
    path.unlink(missing_ok=True)


def _not_running(name: str) -> NotFoundError:
    return NotFoundError(
        "not_running",
        f"No embedded Kafka '{name}' runs.",
        "Start one with `stream-infer broker start`.",
        name=name,
    )


def _died(state: BrokerState) -> NotFoundError:
    lines = layout.log_tail(Path(state.folder)).splitlines()[-5:]
    quoted = ("Its last lines:\n    " + "\n    ".join(lines)) if lines else "Its log is gone."
    return NotFoundError(
        "broker_died",
        f"The embedded Kafka '{state.name}' ended by itself. {quoted}",
        "Start it again with `stream-infer broker start`.",
        log_path=state.log_path,
    )
