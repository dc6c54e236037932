"""A broker that goes away is no error of ours: one line, no traceback."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from stream_infer.broker import EmbeddedBroker
from stream_infer.logs import configure_logs
from stream_infer.settings.log import LogLevel, LogSettings
from support.kafka import BROKER_CONFIG

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("_logs_as_before")]

RESET = "Connection reset by peer"


def stand_still(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    while "State:\tT" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii"):
        pass


async def reset_by_a_killed_broker() -> asyncio.Future[None]:
    """Return asyncio's future of a connection that broke, which nobody has looked at.

    The broker has not read what was sent to it when it dies, so its kernel answers with a reset.
    """
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        client = AIOKafkaClient(bootstrap_servers=broker.bootstrap)
        await client.bootstrap()
        connection = await client._get_conn(client.get_random_node())
        assert broker.pid is not None
        stand_still(broker.pid)
        asked = asyncio.ensure_future(connection.send(ApiVersionRequest()))
        await asyncio.sleep(0)
        broker.kill()
        with pytest.raises(KafkaConnectionError):
            await asked
        await client.close()
        protocol = connection._protocol
        closed: asyncio.Future[None] = protocol._closed
        # The collector's bad order: the future is gone when the protocol would look at it.
        protocol._closed = asyncio.get_running_loop().create_future()
        return closed


async def said_of_it(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> str:
    configure_logs(LogSettings(format="json", level=level))
    broken = await reset_by_a_killed_broker()
    # By its attribute: to ask for the error is to have looked at it.
    assert isinstance(broken._exception, ConnectionResetError)
    del broken
    # The loop holds what it has just woken, and by its error the frames that knew the future.
    await asyncio.sleep(0)
    gc.collect()
    return capsys.readouterr().err


async def test_that_a_killed_broker_reset_a_connection_is_one_line_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [line] = (await said_of_it("info", capsys)).splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"]) == ("connection_lost", "info")
    assert RESET in said["cause"]
    assert "exception" not in said


async def test_it_is_said_to_nobody_who_wants_warnings_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await said_of_it("warning", capsys) == ""


@pytest.mark.parametrize("error", [ValueError("bad"), ConnectionResetError(104, RESET)])
async def test_any_other_error_that_nobody_looked_at_is_reported_in_full(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a connection's, where it is not the Kafka client's."""
    configure_logs(LogSettings(format="json"))
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    del future
    gc.collect()
    said = json.loads(capsys.readouterr().err)
    assert (said["level"], said["logger"]) == ("error", "asyncio")
    assert str(error) in said["exception"]
