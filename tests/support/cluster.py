"""Apache Kafka as one cluster of several nodes, each behind a proxy that can be cut.

Clients see the proxies' addresses; the nodes talk to each other directly. Built from the
parts of `stream_infer.broker`, whose own `EmbeddedBroker` is one node without a proxy.

    client ──▶ proxy ──▶ CLIENTS listener of a node
    node ──▶ INTERNAL and CONTROLLER listeners of the others
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stream_infer.broker import config, layout, ports
from stream_infer.broker.config import HOST
from stream_infer.broker.install import install
from stream_infer.broker.jvm import java_command
from stream_infer.broker.process import BrokerProcess
from stream_infer.broker.quickstart import quick_start_flags
from stream_infer.broker.readiness import ask_broker
from support.kafka import BROKER_CONFIG
from support.proxy import TcpProxy

START_S_MAX = 90.0
HEAP_MB = 320
REPLICAS_MAX = 3

_COMMON = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "listener.security.protocol.map": ("CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENTS:PLAINTEXT"),
    "log.dirs": config.DATA_FOLDER,
    **config.SMALL_NODE,
    **BROKER_CONFIG,
    # A follower that was away counts as in sync again soon: faults come every few seconds.
    "replica.lag.time.max.ms": "3000",
    # Not more often than by default: a broker that looks for transactions beyond their time-out
    # before its partitions have a leader again drops their markers (docs/delivery.md).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000",
    "unclean.leader.election.enable": "false",
    "controlled.shutdown.enable": "true",
}


@dataclass
class Node:
    """One node of a cluster."""

    number: int
    client_port: int
    internal_port: int
    controller_port: int
    proxy: TcpProxy
    folder: Path
    process: BrokerProcess | None = None

    @property
    def runs(self) -> bool:
        """Whether its JVM runs."""
        return self.process is not None and self.process.poll() is None and bool(self.process.pid)


class Cluster:
    """A Kafka cluster on loopback; use it as an asynchronous context manager.

    size    nodes, 1 or 3; topics get as many replicas
    more    further broker settings
    """

    def __init__(self, size: int = 1, more: Mapping[str, str] | None = None) -> None:
        self.size = size
        self._more = dict(more or {})
        self._cluster_id = layout.new_identity(1, 2).cluster_id
        taken: set[int] = set()

        def port() -> int:
            taken.add(found := ports.free_port(frozenset(taken)))
            return found

        self.nodes = []
        for number in range(1, size + 1):
            client = port()
            self.nodes.append(
                Node(
                    number, client, port(), port(), TcpProxy(port(), client),
                    layout.temporary_folder(),
                )
            )  # fmt: skip

    @property
    def replicas(self) -> int:
        """Replicas that a topic gets."""
        return min(self.size, REPLICAS_MAX)

    @property
    def bootstrap(self) -> str:
        """Where clients find it: the proxies."""
        return ",".join(f"{HOST}:{node.proxy.port}" for node in self.nodes)

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._open)
            for node in self.nodes:
                await node.proxy.start()
            for node in self.nodes:
                await self.wait_for(node)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.proxy.stop()
        await asyncio.to_thread(self._close)

    async def kill(self, node: Node) -> None:
        """Kill a node as a crash does."""
        if node.process is not None:
            await asyncio.to_thread(node.process.kill)

    async def stop(self, node: Node) -> None:
        """Shut a node down in order: leaders move first."""
        if node.process is not None:
            await asyncio.to_thread(node.process.stop)

    async def start(self, node: Node) -> None:
        """Start a node that was killed or stopped, and wait until it serves."""
        if node.process is not None and not node.runs:
            await asyncio.to_thread(node.process.start)
        await self.wait_for(node)

    async def wait_for(self, node: Node) -> None:
        """Wait until a node serves and knows all others that run."""
        async with asyncio.timeout(START_S_MAX):
            while True:
                facts = await asyncio.to_thread(ask_broker, HOST, node.client_port)
                running = {each.proxy.port for each in self.nodes if each.runs}
                if facts is not None and {port for _, port in facts.nodes} >= running:
                    return
                if not node.runs:
                    raise RuntimeError(f"node {node.number} ended: {layout.log_tail(node.folder)}")
                await asyncio.sleep(0.1)

    def _open(self) -> None:
        def quiet(_line: str) -> None:
            """Say nothing."""

        installation = install(quiet)
        flags = quick_start_flags(installation, quiet)
        for node in self.nodes:
            self._prepare(node, installation.bootstrap_checkpoint)
            command = java_command(
                installation.java, installation.jars, node.folder, HEAP_MB, flags
            )
            node.process = BrokerProcess(command, node.folder, remove=True)
            node.process.start()

    def _prepare(self, node: Node, checkpoint: Path) -> None:
        data = node.folder / config.DATA_FOLDER
        for part in (data, node.folder / config.LOG_FOLDER, node.folder / "tmp"):
            part.mkdir(exist_ok=True)
        (node.folder / "server.properties").write_text(config.properties_text(self._settings(node)))
        (node.folder / "log4j2.properties").write_text(config.log4j_properties())
        shutil.copyfile(checkpoint, data / "bootstrap.checkpoint")
        (data / "meta.properties").write_text(
            config.properties_text(
                {"version": "1", "node.id": str(node.number), "cluster.id": self._cluster_id}
            )
        )

    def _settings(self, node: Node) -> dict[str, str]:
        voters = ",".join(f"{n.number}@{HOST}:{n.controller_port}" for n in self.nodes)
        in_sync = str(max(1, self.replicas - 1))
        replicas = {
            f"{topic}.{name}": value
            for topic in (
                "offsets.topic", "transaction.state.log", "share.coordinator.state.topic",
            )
            for name, value in (("replication.factor", str(self.replicas)), ("min.isr", in_sync))
            if (topic, name) != ("offsets.topic", "min.isr")
        }  # fmt: skip
        return {
            **_COMMON,
            **replicas,
            "min.insync.replicas": in_sync,
            "default.replication.factor": str(self.replicas),
            "node.id": str(node.number),
            "controller.quorum.voters": voters,
            "listeners": (
                f"CLIENTS://{HOST}:{node.client_port},INTERNAL://{HOST}:{node.internal_port},"
                f"CONTROLLER://{HOST}:{node.controller_port}"
            ),
            "advertised.listeners": (
                f"CLIENTS://{HOST}:{node.proxy.port},INTERNAL://{HOST}:{node.internal_port}"
            ),
            **self._more,
        }

    def _close(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.kill()
                node.process.close()
            shutil.rmtree(node.folder, ignore_errors=True)
