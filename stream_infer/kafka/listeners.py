"""What kind of listener stands at an address, found out by asking it.

A listener that gets another protocol than its own mostly hangs up without a word: Kafka takes
the first bytes of TLS for the size of a request, and TLS takes a request for rubbish. So when a
client fails, two harmless questions are put to the listener, with TLS and without:

    ApiVersions    every Kafka listener answers it, before anybody has proved who they are
    SaslHandshake  a SASL listener names its mechanisms; any other says that there is no SASL

Both are sent only to explain a failure. Source: Kafka protocol guide, API keys 18 (version 0)
and 17 (version 1), request header version 1; KIP-43.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from aiokafka import errors as kafka_errors
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from stream_infer.errors import BrokerError, ConfigError
from stream_infer.kafka.security import DEFAULT_MECHANISM, Security
from stream_infer.kafka.security_causes import (
    mechanism_refused,
    no_sasl,
    no_tls,
    own_certificate_refused,
    proof_refused,
    sasl_wanted,
    tls_refused,
    tls_wanted,
)

_API_VERSIONS = 18
_SASL_HANDSHAKE = 17
_ANSWER_BYTES_MAX = 1 << 20
_CLOSE_S_MAX = 1.0
_CLIENT_ID = b"stream-infer"
_HEADER = struct.Struct(">hhih12s")
_UNEXPLAINED = (TimeoutError, kafka_errors.KafkaError, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What was found: whether it speaks Kafka this way, and which SASL mechanisms it asks for.

    silent      TLS was agreed on and no answer came: so ends who lacks a certificate, since
                in TLS 1.3 a server looks at it only then
    mechanisms  None: it does not ask for SASL
    """

    kafka: bool
    silent: bool = False
    mechanisms: tuple[str, ...] | None = None


async def log_in(security: Security, host: str, port: int, timeout_ms: int) -> BrokerError | None:
    """Open one connection as a client does, up to the proof of the user; None when it works."""
    try:
        async with _logged_in(security, host, port, timeout_ms):
            return None
    except _UNEXPLAINED as error:
        return await _why(error, security, host, port, timeout_ms)


async def ask_for_brokers(
    security: Security, host: str, port: int, timeout_ms: int
) -> list[tuple[str, int]]:
    """Return the addresses that Kafka tells its clients to use; none while it is starting.

    Raises  BrokerError for what stops a client on the way
    """
    try:
        async with _logged_in(security, host, port, timeout_ms) as connection:
            metadata = await connection.send(MetadataRequest([]))
            # (node id, host, port, rack), the rack from version 1 on.
            return [(broker[1], broker[2]) for broker in metadata.brokers]
    except _UNEXPLAINED as error:
        raise await _why(error, security, host, port, timeout_ms) from error


@contextlib.asynccontextmanager
async def _logged_in(
    security: Security, host: str, port: int, timeout_ms: int
) -> AsyncIterator[AIOKafkaConnection]:
    """Open a connection and close it for good: with TLS a close takes a round of both sides."""
    connection = AIOKafkaConnection(
        host,
        port,
        client_id=_CLIENT_ID.decode(),
        request_timeout_ms=timeout_ms,
        **security.client_options(),
    )
    try:
        await connection.connect()
        yield connection
    except (OSError, TimeoutError):
        # It broke or never came to be: what is left of it ends with the next turns of the loop.
        connection.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise
    except BaseException:
        await _closed(connection)
        raise
    await _closed(connection)


async def _closed(connection: AIOKafkaConnection) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S_MAX):
            await connection.close()


async def _why(
    error: BaseException, security: Security, host: str, port: int, timeout_ms: int
) -> BrokerError:
    address = f"{host}:{port}"
    return (
        _told_by(error, security, address)
        or await look_at_listener(security, host, port, timeout_ms)
        or _unexplained(security, address, timeout_ms, error)
    )


def _told_by(error: BaseException, security: Security, address: str) -> BrokerError | None:
    """Return the cause if what was raised, or what stands behind it, tells."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLError):
            found = tls_refused(
                each, address, has_certificate=security.certificate_file is not None
            )
            if found is not None:
                return found
        if isinstance(each, kafka_errors.SaslAuthenticationFailed):
            mechanism = security.mechanism or DEFAULT_MECHANISM
            return proof_refused(address, security.user or "", mechanism)
        if isinstance(each, kafka_errors.IllegalSaslStateError):
            return no_sasl(address, security.protocol)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unexplained(
    security: Security, address: str, timeout_ms: int, error: BaseException
) -> BrokerError:
    return BrokerError(
        "broker_protocol",
        f"What listens at {address} does not answer as Kafka with {security.protocol}"
        f" ({type(error).__name__}).",
        f"Check that the port is a {security.protocol} listener of Kafka (not the controller or"
        " another service); if Kafka has just started, try again.",
        address=address,
        waited_ms=timeout_ms,
    )


async def look_at_listener(
    security: Security, host: str, port: int, timeout_ms: int
) -> BrokerError | None:
    """Return what does not fit between the client's protocol and the listener's, None if it fits.

    Cost  up to three short connections
    """
    address = f"{host}:{port}"
    plain = await _ask(host, port, None, timeout_ms)
    if security.tls and plain.kafka:
        return no_tls(address, security.protocol, plain.mechanisms)
    if not security.tls and not plain.kafka:
        found = await _ask(host, port, _unverified(), timeout_ms)
        return tls_wanted(address, security.protocol, found.mechanisms) if found.kafka else None
    found = plain if not security.tls else await _ask_verified(security, host, port, timeout_ms)
    if found.silent and security.certificate_file is None:
        return own_certificate_refused(address, "no answer", has_certificate=False)
    return _sasl_differs(security, address, found) if found.kafka and not found.silent else None


def _sasl_differs(security: Security, address: str, found: Listener) -> BrokerError | None:
    if found.mechanisms is None:
        return no_sasl(address, security.protocol) if security.sasl else None
    if not security.sasl:
        return sasl_wanted(address, security.protocol, found.mechanisms)
    mechanism = security.mechanism or DEFAULT_MECHANISM
    if mechanism in found.mechanisms:
        return None
    return mechanism_refused(address, mechanism, found.mechanisms)


async def _ask_verified(security: Security, host: str, port: int, timeout_ms: int) -> Listener:
    try:
        context = security.tls_context()
    except ConfigError:
        return Listener(kafka=False)
    return await _ask(host, port, context, timeout_ms)


def _unverified() -> ssl.SSLContext:
    """Return a context for the question whether TLS is spoken at all; nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _ask(host: str, port: int, context: ssl.SSLContext | None, timeout_ms: int) -> Listener:
    """Ask both questions over one connection each: a wrong first request ends a connection."""
    versions = await _answer(host, port, context, timeout_ms, _API_VERSIONS, 0, b"")
    if versions is None:
        shaken = context is not None and await _shakes_hands(host, port, context)
        return Listener(kafka=shaken, silent=shaken)
    word = DEFAULT_MECHANISM.encode()
    question = struct.pack(">h", len(word)) + word
    answer = await _answer(host, port, context, timeout_ms, _SASL_HANDSHAKE, 1, question)
    return Listener(kafka=True, mechanisms=_mechanisms(answer) if answer else None)


async def _shakes_hands(host: str, port: int, context: ssl.SSLContext) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        # An alert is TLS too; anything else that came was none.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    await _hang_up(writer)
    return True


async def _answer(
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    timeout_ms: int,
    key: int,
    version: int,
    body: bytes,
) -> bytes | None:
    """Return what follows the correlation id in the answer; None when it is no answer."""
    request = _HEADER.pack(key, version, 1, len(_CLIENT_ID), _CLIENT_ID) + body
    writer = None
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.write(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            if not 4 <= size <= _ANSWER_BYTES_MAX:
                return None
            answer = await reader.readexactly(size)
    except (OSError, EOFError, TimeoutError):
        return None
    finally:
        if writer is not None:
            await _hang_up(writer)
    return answer[4:] if answer[:4] == b"\0\0\0\1" else None


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):  # a peer that hung up first has still answered
        await writer.wait_closed()


def _mechanisms(answer: bytes) -> tuple[str, ...] | None:
    """Read a SaslHandshake answer: error int16, mechanisms [int32 count, strings of int16 size].

    A listener without SASL answers ILLEGAL_SASL_STATE (34).
    """
    try:
        error, count = struct.unpack_from(">hi", answer)
        if error == kafka_errors.IllegalSaslStateError.errno:
            return None
        found, at = [], 6
        for _ in range(count):
            (size,) = struct.unpack_from(">h", answer, at)
            found.append(answer[at + 2 : at + 2 + size].decode())
            at += 2 + size
    except (struct.error, UnicodeDecodeError):
        return None
    return tuple(found)
