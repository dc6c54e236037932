"""How to reach Kafka, and what went wrong when it cannot be reached.

`Connection` is the one value that says where Kafka is and how it is spoken to; every
client takes its options from `client_options`. `reach` goes the way a client goes, one
step at a time (name, TCP, TLS, Kafka protocol, user, advertised addresses), so that a
failure has one named cause and one fix: aiokafka itself says only "Unable to bootstrap"
and logs the rest. `translated` turns what a client raises into our errors, at this edge.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors as kafka_errors

from stream_infer.errors import BrokerError, ConfigError, StreamInferError
from stream_infer.kafka.causes import BROKEN_WAY, cause_of, topic_missing
from stream_infer.kafka.listeners import ask_for_brokers, log_in
from stream_infer.kafka.security import InsecureConnectionWarning, Security, Weakness

__all__ = [
    "DEFAULT_BOOTSTRAP",
    "Connection",
    "diagnose",
    "quiet_client_logs",
    "reach",
    "topic_missing",
    "translate",
    "translated",
]

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
DEFAULT_PORT = 9092


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where Kafka is and how to talk to it. Its `repr` holds no secret.

    bootstrap           ``host:port``, several separated by commas
    security            who this client is and who Kafka must be; unencrypted by default
    client_id           name under which the broker logs and limits this client
    connect_timeout_ms  for each step of `reach`
    request_timeout_ms  for each request of a client
    """

    bootstrap: str = DEFAULT_BOOTSTRAP
    security: Security = field(default_factory=Security)
    client_id: str = "stream-infer"
    connect_timeout_ms: int = 5_000
    request_timeout_ms: int = 30_000

    def __post_init__(self) -> None:
        for weakness in self.weaknesses():
            text = f"{weakness.message} {weakness.fix}"
            warnings.warn(text, InsecureConnectionWarning, stacklevel=3)

    def weaknesses(self) -> list[Weakness]:
        """Return what protects less than it could; each was said when this was made."""
        return self.security.weaknesses([host for host, _ in self.addresses()])

    def addresses(self) -> list[tuple[str, int]]:
        """Return the bootstrap addresses; raise `ConfigError` when one is malformed."""
        return [_address(part.strip()) for part in self.bootstrap.split(",")]

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments that every aiokafka client takes.

        They hold the password: hand them to a client and show them to nobody.
        Raises  `ConfigError` for certificates that cannot be used
        """
        return {
            "bootstrap_servers": [_join(host, port) for host, port in self.addresses()],
            "client_id": self.client_id,
            "request_timeout_ms": self.request_timeout_ms,
            **self.security.client_options(),
        }


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(
            "bad_bootstrap",
            f"{text!r} is not a Kafka address.",
            "Write host:port, several separated by commas, such as 127.0.0.1:9092.",
        )
    return host, int(port)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def quiet_client_logs() -> None:
    """Keep aiokafka's own log lines from the terminal: every failure reaches us as an error."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def reach(connection: Connection) -> list[str]:
    """Walk the way to Kafka and return the advertised addresses of its brokers.

    Raises  `BrokerError` with the first cause that stops a client; when several
            bootstrap addresses fail, the cause of the last one
    Cost    a few ms, one short connection a broker
    """
    brokers = await _advertised(connection)
    failure: BrokerError | None = None
    for host, port in brokers:
        failure = await _enter(connection, host, port)
        if failure is None:
            # One broker that answers is enough to start: others may be down for good reason.
            return [_join(*address) for address in brokers]
    raise _advertised_error(connection, [_join(*address) for address in brokers], failure)


async def _enter(connection: Connection, host: str, port: int) -> BrokerError | None:
    """Go as far as one address lets a client: TCP, and TLS and user where they are asked for."""
    failure = await _knock(host, port, connection.connect_timeout_ms)
    if failure is not None or connection.security.protocol == "PLAINTEXT":
        return failure
    return await log_in(connection.security, host, port, connection.connect_timeout_ms)


async def _knock(host: str, port: int, timeout_ms: int) -> BrokerError | None:
    """Open and close one TCP connection; return why it cannot be opened, or None."""
    address = _join(host, port)
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror:
        return BrokerError(
            "broker_dns",
            f"The host name of Kafka at {address} has no address.",
            "Check the spelling of --bootstrap and that this machine resolves the name.",
            address=address,
        )
    except ConnectionRefusedError:
        return BrokerError(
            "broker_refused",
            f"Nothing listens at {address}.",
            "Start Kafka there (here: stream-infer broker start) or give its address with"
            " --bootstrap.",
            address=address,
        )
    except (TimeoutError, OSError) as error:
        return BrokerError(
            "broker_unreachable",
            f"Kafka at {address} does not answer ({type(error).__name__}).",
            "Check the address, the network and firewalls between this machine and Kafka.",
            address=address,
            waited_ms=timeout_ms,
        )
    writer.close()
    with contextlib.suppress(OSError):  # a peer that hangs up first has still answered
        await writer.wait_closed()
    return None


async def _advertised(connection: Connection) -> list[tuple[str, int]]:
    """Return the addresses that Kafka tells its clients to use, from the first that answers."""
    failure: BrokerError | None = None
    for host, port in connection.addresses():
        failure = await _knock(host, port, connection.connect_timeout_ms)
        if failure is not None:
            continue
        try:
            brokers = await ask_for_brokers(
                connection.security, host, port, connection.connect_timeout_ms
            )
        except BrokerError as error:
            failure = error
            continue
        if brokers:
            return brokers
        failure = _not_ready(_join(host, port))
    raise failure or _not_ready(connection.bootstrap)


def _not_ready(address: str) -> BrokerError:
    return BrokerError(
        "broker_not_ready",
        f"Kafka at {address} answers and names no broker yet.",
        "It is still starting: wait and try again.",
        address=address,
    )


def _advertised_error(
    connection: Connection, advertised: list[str], cause: BrokerError | None
) -> BrokerError:
    named = ", ".join(advertised)
    reason = f" {cause.message}" if cause else ""
    return BrokerError(
        "broker_advertised",
        f"Kafka at {connection.bootstrap} sends its clients to {named}, and that address cannot"
        f" be reached from here.{reason}",
        "Set the broker's advertised.listeners to an address that this machine can reach.",
        address=connection.bootstrap,
        advertised=advertised,
        cause=cause.code if cause else None,
    )


def translate(error: BaseException, connection: Connection) -> StreamInferError:
    """Return our error for what a Kafka client raised, from the error alone.

    For an error that says only that the way broke, `diagnose` finds out why.
    """
    return cause_of(error, connection.bootstrap)


async def diagnose(error: BaseException, connection: Connection) -> StreamInferError:
    """Return our error for what a Kafka client raised, walking the way again if it broke."""
    if isinstance(error, BROKEN_WAY):
        try:
            await reach(connection)
        except BrokerError as found:
            return found
    return translate(error, connection)


@contextlib.asynccontextmanager
async def translated(connection: Connection) -> AsyncIterator[None]:
    """Raise our errors for whatever a Kafka client raises inside the block."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read our stdout has gone (``| head``): no failure of Kafka, and the client
        # library never lets this one through.
        raise
    except (TimeoutError, kafka_errors.KafkaError, OSError) as error:
        raise await diagnose(error, connection) from error
