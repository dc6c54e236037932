"""The broker's settings as text. Pure: nothing here touches the disk or a socket.

One node is broker and controller at once (KRaft, KIP-500). The settings differ from
Apache Kafka's defaults only where one node, a small heap or a laptop asks for it; each
difference has its reason beside it. Paths are relative to the broker's own folder, in
which the JVM runs, because ``log.dirs`` is a comma-separated list and a folder's name
may hold a comma.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream_infer.broker.listeners import Listener
from stream_infer.errors import ConfigError

KAFKA_VERSION = "4.3.1"
HOST = "127.0.0.1"
NODE_ID = 1
DATA_FOLDER = "data"
LOG_FOLDER = "logs"
LOG_FILE = "logs/broker.log"

# Where the broker listens and what it is called is the embedding's own business: a value
# given here would make `bootstrap` wrong, or open the broker to the network.
RESERVED = frozenset(
    {
        "advertised.listeners",
        "controller.listener.names",
        "controller.quorum.bootstrap.servers",
        "controller.quorum.voters",
        "inter.broker.listener.name",
        "listener.security.protocol.map",
        "listeners",
        "log.dir",
        "log.dirs",
        "metadata.log.dir",
        "node.id",
        "process.roles",
    }
)

SMALL_NODE = {
    # The first member of a group would wait 3 s for others to join.
    "group.initial.rebalance.delay.ms": "0",
    # 50 partitions each by default: most of a fresh broker's files and start-up time.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # A misspelt topic must be an error, as it is in production.
    "auto.create.topics.enable": "false",
    # The cleaner takes this much heap at once, 128 MiB by default.
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    # A broker that was killed may register again only when its old session is over, 9 s by
    # default. Shorter than this, a machine that is busy for a moment would fence it.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""What a small heap and a laptop ask for, of however many nodes."""

_ALONE = {
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


def server_properties(
    port: int,
    controller_port: int,
    overrides: Mapping[str, str] | None = None,
    listeners: Sequence[tuple[Listener, int]] = (),
) -> str:
    """Return the text of ``server.properties``.

    port             TCP port for clients, on loopback
    controller_port  TCP port of the KRaft controller, on loopback, another than `port`
    overrides        broker settings by their Kafka names, they win over ours
    listeners        further listeners with their ports, on loopback too
    Raises           ConfigError when an override is one of `RESERVED`
    Source           Apache Kafka 4.3 documentation, Broker Configs
    """
    reserved = sorted(RESERVED.intersection(overrides or {}))
    if reserved:
        raise ConfigError(
            "broker_config_reserved",
            f"The embedded Kafka sets {', '.join(reserved)} itself.",
            "Remove it from config; use the port or data_dir argument instead.",
            settings=reserved,
        )
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "controller.quorum.voters": f"{NODE_ID}@{HOST}:{controller_port}",
        "listeners": ",".join(
            [
                f"PLAINTEXT://{HOST}:{port}",
                f"CONTROLLER://{HOST}:{controller_port}",
                *(f"{each.name}://{HOST}:{own}" for each, own in listeners),
            ]
        ),
        "advertised.listeners": ",".join(
            [
                f"PLAINTEXT://{HOST}:{port}",
                *(f"{each.name}://{each.host}:{own}" for each, own in listeners),
            ]
        ),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": ",".join(
            [
                "CONTROLLER:PLAINTEXT",
                "PLAINTEXT:PLAINTEXT",
                *(f"{each.name}:{each.protocol}" for each, _ in listeners),
            ]
        ),
        "log.dirs": DATA_FOLDER,
        **_ALONE,
        **SMALL_NODE,
        **{key: value for each, _ in listeners for key, value in each.properties().items()},
        **(overrides or {}),
    }
    return properties_text(settings)


def meta_properties(cluster_id: str) -> str:
    """Return ``meta.properties`` of a freshly formatted log folder (format version 1).

    The broker adds its own ``directory.id`` at its first start (KIP-858).
    """
    return properties_text({"version": "1", "node.id": str(NODE_ID), "cluster.id": cluster_id})


def log4j_properties() -> str:
    """Return Log4j 2 settings: one rolling file of at most 3 x 10 MiB.

    The dump of every setting at start (INFO, 40 KiB) and the notes of each segment roll
    are left out, so that a failure stands near the end of the file.
    """
    quiet = (
        "org.apache.kafka.common.config.AbstractConfig",
        "org.apache.kafka.common.utils.AppInfoParser",
        "kafka.log",
        "org.apache.kafka.storage.internals.log",
        "state.change.logger",
        "org.apache.kafka.image.loader",
        "org.apache.kafka.coordinator.group",
    )
    settings = {
        "status": "warn",
        "appender.file.type": "RollingFile",
        "appender.file.name": "file",
        "appender.file.fileName": LOG_FILE,
        "appender.file.filePattern": f"{LOG_FILE}.%i",
        "appender.file.layout.type": "PatternLayout",
        "appender.file.layout.pattern": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c{1.})%n",
        "appender.file.policies.type": "Policies",
        "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size": "10MB",
        "appender.file.strategy.type": "DefaultRolloverStrategy",
        "appender.file.strategy.max": "2",
        "rootLogger.level": "info",
        "rootLogger.appenderRef.file.ref": "file",
    }
    for index, name in enumerate(quiet):
        settings[f"logger.quiet{index}.name"] = name
        settings[f"logger.quiet{index}.level"] = "warn"
    return properties_text(settings)


def properties_text(settings: Mapping[str, str]) -> str:
    """Write a mapping in the form that ``java.util.Properties`` reads.

    Properties files are ISO 8859-1: other characters stand as UTF-16 escapes, and a
    backslash or line break in a value would otherwise end or change it.
    """
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in settings.items())


def _escape(text: str) -> str:
    named = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    escaped = "".join(named.get(character, character) for character in text)
    if escaped.startswith((" ", "#", "!")):
        escaped = "\\" + escaped
    units = escaped.encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}" for unit in pairs)
