"""`EmbeddedBroker`: a real Kafka as a context manager.

    with EmbeddedBroker() as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)

Owns one broker's folder, its ports and its process. Unlike a container it needs no
daemon and no root, and it cannot be left behind: see `supervisor`.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_infer.broker import layout, ports
from stream_infer.broker.config import HOST, LOG_FILE, server_properties
from stream_infer.broker.formatting import format_checkpoint
from stream_infer.broker.install import Installation, install
from stream_infer.broker.jvm import HEAP_MB, java_command
from stream_infer.broker.launch import exit_error, launch
from stream_infer.broker.listeners import Listener
from stream_infer.broker.process import BrokerProcess
from stream_infer.broker.quickstart import quick_start_flags
from stream_infer.errors import EmbeddedBrokerError

START_TIMEOUT_S = 60.0
PORT_ATTEMPTS = 3


class EmbeddedBroker:
    """One Kafka node on loopback, started and stopped by this process.

    data_dir         folder to keep; None: a temporary one, removed at `stop`
    port             client port; None: the folder's last one if free, else a free one
    config           broker settings by their Kafka names
    listeners        further listeners, each on a free port of its own: see `listeners`
    scram_users      user -> password for SASL by SCRAM, of a new data folder
    heap_mb          the JVM's largest heap, MiB
    start_timeout_s  how long `start` waits for the broker to serve
    progress         called with one line at each step; None: stderr if it is a terminal
    Raises           EmbeddedBrokerError, ConflictError, ConfigError, each with its fix
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        port: int | None = None,
        config: Mapping[str, str] | None = None,
        *,
        listeners: Sequence[Listener] = (),
        scram_users: Mapping[str, str] | None = None,
        heap_mb: int = HEAP_MB,
        start_timeout_s: float = START_TIMEOUT_S,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._data_dir = None if data_dir is None else Path(data_dir).expanduser().absolute()
        self._port = port
        self._config = dict(config or {})
        self._listeners = {each.name: each for each in listeners}
        self._listener_ports: dict[str, int] = {}
        self._scram_users = dict(scram_users or {})
        self._heap_mb = heap_mb
        self._start_timeout_s = start_timeout_s
        self._progress = progress or progress_on_terminal
        self._folder: Path | None = None
        self._identity: layout.Identity | None = None
        self._process: BrokerProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Client port of the started broker."""
        return self._started().port

    @property
    def bootstrap(self) -> str:
        """What clients take as bootstrap servers."""
        return f"{HOST}:{self.port}"

    @property
    def addresses(self) -> dict[str, str]:
        """Bootstrap servers of each further listener, by its name."""
        self._started()
        ports = self._listener_ports
        return {name: f"{each.host}:{ports[name]}" for name, each in self._listeners.items()}

    @property
    def cluster_id(self) -> str:
        """Id of the cluster; it stays with the data folder."""
        return self._started().cluster_id

    @property
    def folder(self) -> Path:
        """The broker's own folder."""
        self._started()
        return self._folder or Path()

    @property
    def log_path(self) -> Path:
        """The broker's log; the JVM's own output stands in ``jvm.log`` beside it."""
        return self.folder / LOG_FILE

    @property
    def pid(self) -> int | None:
        """Pid of the JVM, None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def supervisor_pid(self) -> int:
        """Pid of the process that owns the JVM."""
        if self._process is None:
            raise not_started()
        return self._process.supervisor_pid

    @property
    def running(self) -> bool:
        """Whether the JVM runs now."""
        return self._process is not None and self._process.poll() is None and self.pid is not None

    def start(self) -> None:
        """Start the broker and wait until it serves; a running one is left as it is."""
        if self.running:
            return
        if self._process is not None:  # killed or crashed: same folder, same ports
            self._launch(self._process)
            return
        installation = install(self._progress)
        aot = quick_start_flags(installation, self._progress)
        attempts_left = PORT_ATTEMPTS
        while self._process is None:
            attempts_left -= 1
            try:
                self._process = self._open(installation, aot)
                self._launch(self._process)
            except BaseException as error:
                self._abandon()
                # Another process may take the chosen port before the JVM binds it.
                retry = getattr(error, "code", "") == "port_taken" and self._port is None
                if not retry or not attempts_left:
                    raise

    def check(self) -> None:
        """Raise the named error when the broker has ended without being asked to."""
        if self._process is not None and self._process.poll() is not None:
            raise exit_error(self._process, self.folder)

    def stop(self) -> None:
        """Shut the broker down and remove a temporary folder; again does nothing."""
        if self._process is None:
            return
        try:
            self._process.stop()
        finally:
            self._abandon()

    def kill(self) -> None:
        """Kill the JVM with SIGKILL; data and ports stay for `start` or `restart`."""
        if self._process is not None:
            self._process.kill()

    def detach(self) -> None:
        """Let the broker live on when this process ends.

        From here on SIGTERM to the supervisor stops the broker, and nothing here does.
        """
        if self._process is None:
            raise not_started()
        process, self._process = self._process, None
        process.detach()

    def restart(self) -> None:
        """Stop the broker, if it runs, and start it on the same port and data."""
        if self._process is not None:
            self._process.stop()
        self.start()

    def _open(self, installation: Installation, aot: Sequence[str]) -> BrokerProcess:
        """Claim the folder, choose ports, write the settings, open a supervisor."""
        temporary = self._data_dir is None
        folder = self._data_dir or layout.temporary_folder()
        try:
            with layout.claimed(folder) as lock:
                identity = self._choose_identity(layout.read_identity(folder))
                self._prepare(folder, identity, installation)
                self._folder, self._identity = folder, identity
                command = java_command(
                    installation.java, installation.jars, folder, self._heap_mb, aot
                )
                return BrokerProcess(command, folder, remove=temporary, lock=lock)
        except BaseException:
            if temporary:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def _prepare(self, folder: Path, identity: layout.Identity, installation: Installation) -> None:
        taken = {identity.port, identity.controller_port}
        self._listener_ports = {}
        for name in self._listeners:
            self._listener_ports[name] = ports.free_port(frozenset(taken))
            taken.add(self._listener_ports[name])
        listeners = [(each, self._listener_ports[name]) for name, each in self._listeners.items()]
        with self._checkpoint(installation) as checkpoint:
            layout.prepare(folder, identity, checkpoint, self._config, listeners)

    @contextlib.contextmanager
    def _checkpoint(self, installation: Installation) -> Iterator[Path]:
        if not self._scram_users:
            yield installation.bootstrap_checkpoint
            return
        with tempfile.TemporaryDirectory(prefix=layout.TEMPORARY_PREFIX) as work:
            yield format_checkpoint(
                installation.java,
                installation.jars,
                Path(work),
                server_properties(9092, 9093),
                self._scram_users,
            )

    def _choose_identity(self, known: layout.Identity | None) -> layout.Identity:
        port = self._port
        if port is not None:
            ports.require_free(port)
        elif known is not None and ports.is_free(known.port):
            port = known.port
        else:
            port = ports.free_port()
        controller_port = ports.free_port(frozenset({port}))
        if known is None:
            return layout.new_identity(port, controller_port)
        return layout.Identity(known.kafka_version, known.cluster_id, port, controller_port)

    def _launch(self, process: BrokerProcess) -> None:
        self._progress("starting Apache Kafka")
        further = self._listener_ports.values()
        launch(process, self.folder, self._started(), self._start_timeout_s, further)
        self._progress(f"Apache Kafka serves at {self.bootstrap}")

    def _abandon(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _started(self) -> layout.Identity:
        if self._identity is None:
            raise not_started()
        return self._identity


def not_started() -> EmbeddedBrokerError:
    """Return the error for a question that only a started broker can answer."""
    return EmbeddedBrokerError(
        "not_started",
        "The embedded Kafka was not started.",
        "Call start(), or use it as a context manager.",
    )


def progress_on_terminal(line: str) -> None:
    """Print a line of progress on stderr, only when a person looks at it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
