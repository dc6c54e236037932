"""An operator is told once that Kafka went away, and once that it is back."""

from __future__ import annotations

import asyncio

import structlog

from stream_infer.dataplane.watch import watch_broker
from stream_infer.errors import BrokerError
from stream_infer.kafka.connection import Connection


async def test_each_change_is_said_once() -> None:
    answers = iter([True, False, False, True, True])
    finished = asyncio.Event()

    async def knock(_connection: Connection) -> None:
        answer = next(answers, None)
        if answer is None:
            finished.set()
        elif not answer:
            raise BrokerError("refused", "Nothing listens.", "Start it.")

    with structlog.testing.capture_logs() as logs:
        watching = asyncio.create_task(watch_broker(Connection(), every_s=0.001, knock=knock))
        await finished.wait()
        watching.cancel()
    assert [entry["event"] for entry in logs] == ["waiting_for_broker", "broker_is_back"]
    assert logs[0]["cause"] == "Nothing listens."
    assert logs[0]["fix"] == "Start it."
