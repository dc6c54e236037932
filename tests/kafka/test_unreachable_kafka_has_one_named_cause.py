from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.errors import BrokerError, ConfigError, NotFoundError
from stream_infer.kafka.connection import (
    Connection,
    diagnose,
    reach,
    translate,
    translated,
)
from support.secure_kafka import SecureKafka

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.close()


async def free_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


async def cause_of(bootstrap: str) -> BrokerError:
    with pytest.raises(BrokerError) as raised:
        await reach(Connection(bootstrap=bootstrap, connect_timeout_ms=2_000))
    assert raised.value.fix, "every cause has a fix"
    return raised.value


async def test_a_name_without_an_address_is_a_dns_failure() -> None:
    assert (await cause_of("no-such-host.invalid:9092")).code == "broker_dns"


async def test_a_port_where_nothing_listens_is_refused() -> None:
    error = await cause_of(f"127.0.0.1:{await free_port()}")
    assert error.code == "broker_refused"


async def test_something_that_does_not_speak_kafka_is_named_as_such() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with listening(hang_up) as address:
        assert (await cause_of(address)).code == "broker_protocol"


async def test_an_address_that_never_answers_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_args: object) -> None:
        await asyncio.sleep(3_600)

    monkeypatch.setattr(asyncio, "open_connection", never)
    with pytest.raises(BrokerError) as raised:
        await reach(Connection(bootstrap="127.0.0.1:9092", connect_timeout_ms=20))
    assert raised.value.code == "broker_unreachable"


async def test_an_advertised_address_that_cannot_be_reached_is_shown(
    secured: SecureKafka,
) -> None:
    _, _, port = secured.addresses["NOWHERE"].rpartition(":")
    error = await cause_of(f"127.0.0.1:{port}")
    assert (error.code, error.details["cause"]) == ("broker_advertised", "broker_dns")
    assert secured.addresses["NOWHERE"] in error.message
    assert error.details["advertised"] == [secured.addresses["NOWHERE"]]


async def test_one_of_several_addresses_is_enough(kafka: str) -> None:
    bootstrap = f"127.0.0.1:{await free_port()},{kafka}"
    assert await reach(Connection(bootstrap=bootstrap)) == await reach(Connection(bootstrap=kafka))


async def test_a_client_error_without_a_cause_is_diagnosed_by_walking_the_way() -> None:
    connection = Connection(bootstrap=f"127.0.0.1:{await free_port()}")
    found = await diagnose(kafka_errors.KafkaConnectionError("Unable to bootstrap"), connection)
    assert found.code == "broker_refused"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (kafka_errors.UnknownTopicOrPartitionError(), NotFoundError, "topic_missing"),
        (kafka_errors.OffsetOutOfRangeError({}), NotFoundError, "offset_gone"),
        (kafka_errors.TopicAuthorizationFailedError("t"), BrokerError, "denied_topic"),
        (kafka_errors.GroupAuthorizationFailedError("g"), BrokerError, "denied_group"),
        (
            kafka_errors.TransactionalIdAuthorizationFailed(),
            BrokerError,
            "denied_transactional_id",
        ),
        (kafka_errors.ClusterAuthorizationFailedError(), BrokerError, "denied_cluster"),
        (kafka_errors.LeaderNotAvailableError(), BrokerError, "broker_not_ready"),
        (kafka_errors.KafkaTimeoutError(), BrokerError, "broker_unreachable"),
        (kafka_errors.PolicyViolationError(), BrokerError, "broker_rejected"),
    ],
)
def test_every_client_error_gets_a_code_and_a_fix(
    error: Exception, kind: type[Exception], code: str
) -> None:
    found = translate(error, Connection())
    assert isinstance(found, kind)
    assert found.code == code
    assert found.fix


async def test_foreign_errors_keep_their_cause(kafka: str) -> None:
    with pytest.raises(BrokerError) as raised:
        async with translated(Connection(bootstrap=kafka)):
            raise kafka_errors.PolicyViolationError
    assert isinstance(raised.value.__cause__, kafka_errors.PolicyViolationError)


@pytest.mark.parametrize(
    "text", ["", "host:", "host:0", "host:99999", "host:x", ":9092", "a:1,,b:2"]
)
def test_a_malformed_address_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Connection(bootstrap=text)
    assert raised.value.code == "bad_bootstrap"


def test_addresses_may_leave_the_port_out_and_hold_ipv6() -> None:
    assert Connection(bootstrap="kafka").addresses() == [("kafka", 9092)]
    connection = Connection(bootstrap="[::1]:9093,b:1")
    assert connection.addresses() == [("::1", 9093), ("b", 1)]
    assert connection.client_options()["bootstrap_servers"] == ["[::1]:9093", "b:1"]
