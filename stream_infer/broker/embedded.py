"""`EmbeddedBroker`: a real Kafka as a context manager.

    with EmbeddedBroker() as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)

Owns one broker's folder, its ports and its process. Unlike a container it needs no
daemon and no root, and it cannot be left behind: see `supervisor`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_infer.broker import layout, ports
from stream_infer.broker.config import HOST, LOG_FILE
from stream_infer.broker.failures import explain_exit
from stream_infer.broker.folders import named_folder_errors
from stream_infer.broker.install import Installation, install
from stream_infer.broker.process import BrokerProcess
from stream_infer.broker.readiness import ask_broker
from stream_infer.errors import EmbeddedBrokerError, StreamInferError

START_TIMEOUT_S = 60.0
HEAP_MB = 512
READY_POLL_S = 0.03
PORT_ATTEMPTS = 3


class EmbeddedBroker:
    """One Kafka node on loopback, started and stopped by this process.

    data_dir         folder to keep; None: a temporary one, removed at `stop`
    port             client port; None: the folder's last one if free, else a free one
    config           broker settings by their Kafka names
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
        heap_mb: int = HEAP_MB,
        start_timeout_s: float = START_TIMEOUT_S,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._data_dir = None if data_dir is None else Path(data_dir).expanduser().absolute()
        self._port = port
        self._config = dict(config or {})
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
        for attempt in range(PORT_ATTEMPTS):
            try:
                self._launch(self._open(installation))
                return
            except StreamInferError as error:
                self._abandon()
                # Another process took the chosen port before the JVM bound it.
                if error.code != "port_taken" or self._port or attempt == PORT_ATTEMPTS - 1:
                    raise
            except BaseException:
                self._abandon()
                raise

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

    def restart(self) -> None:
        """Stop the broker, if it runs, and start it on the same port and data."""
        if self._process is not None:
            self._process.stop()
        self.start()

    def _open(self, installation: Installation) -> BrokerProcess:
        """Choose folder and ports, write the settings, open a supervisor."""
        known = None if self._data_dir is None else layout.read_identity(self._data_dir)
        identity = self._choose_identity(known)
        folder = self._data_dir
        with named_folder_errors(folder or Path(tempfile.gettempdir())):
            if folder is None:
                folder = Path(tempfile.mkdtemp(prefix="stream-infer-kafka-"))
            self._folder, self._identity = folder, identity
            layout.prepare(folder, identity, installation.bootstrap_checkpoint, self._config)
        self._process = BrokerProcess(
            self._command(installation), folder, remove=self._data_dir is None
        )
        return self._process

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

    def _command(self, installation: Installation) -> list[str]:
        return [
            str(installation.java),
            f"-Xmx{self._heap_mb}m",
            # A broker that is out of memory must end and say so, not limp on.
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            # /tmp may forbid execution, and what a killed JVM unpacks there stays.
            "-Djava.io.tmpdir=tmp",
            "-Dlog4j2.configurationFile=log4j2.properties",
            "-Dlog4j2.disableJmx=true",
            # Kafka and its compression libraries use both; Java 25 warns of each.
            "--sun-misc-unsafe-memory-access=allow",
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            installation.class_path,
            "kafka.Kafka",
            "server.properties",
        ]

    def _launch(self, process: BrokerProcess) -> None:
        """Run the JVM and wait until it answers as itself."""
        self._progress("starting Apache Kafka")
        process.start()
        identity = self._started()
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            exit_code = process.poll()
            if exit_code is not None:
                raise explain_exit(exit_code, layout.log_tail(self.folder), str(self.log_path))
            facts = ask_broker(HOST, identity.port)
            if (
                facts is not None
                and facts.cluster_id == identity.cluster_id
                and (HOST, identity.port) in facts.nodes
            ):
                self._progress(f"Apache Kafka serves at {self.bootstrap}")
                return
            time.sleep(READY_POLL_S)
        tail = layout.log_tail(self.folder).splitlines()[-12:]
        process.kill()
        raise EmbeddedBrokerError(
            "start_timeout",
            f"The embedded Kafka did not serve within {self._start_timeout_s:g} s. Its last "
            "lines:\n    " + "\n    ".join(tail),
            "Wait until this machine is less busy, or allow more time with start_timeout_s "
            "(--timeout).",
            log_lines=tail,
        )

    def _abandon(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _started(self) -> layout.Identity:
        if self._identity is None:
            raise EmbeddedBrokerError(
                "not_started",
                "The embedded Kafka was not started.",
                "Call start(), or use it as a context manager.",
            )
        return self._identity


def progress_on_terminal(line: str) -> None:
    """Print a line of progress on stderr, only when a person looks at it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
