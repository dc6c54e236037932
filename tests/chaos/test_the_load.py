"""The load of a run flows on whatever happens to Kafka, and nothing of it is left out."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.errors import KafkaTimeoutError

from chaos.load import Feeder, Load
from support.pipelines import own_pipeline
from support.worker import until


class Client:
    """A producer that is out of room twice."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes | None, bytes | None]] = []
        self.refusals = 2

    async def send(self, topic: str, value: bytes | None, key: bytes | None) -> asyncio.Future[Any]:
        if len(self.taken) == 5 and self.refusals:
            self.refusals -= 1
            raise KafkaTimeoutError
        self.taken.append((topic, key, value))
        return asyncio.get_running_loop().create_future()


async def test_a_record_that_the_client_had_no_room_for_is_sent_in_its_turn() -> None:
    pipeline = own_pipeline()
    feeder, client = Feeder("localhost:1", Load(pipeline, 7), rate=400), Client()
    real: Any = feeder
    producer, real._producer = real._producer, client
    feeding = asyncio.create_task(real._feed())

    def is_alive() -> None:
        if feeding.done():
            feeding.result()

    try:
        await until(lambda: len(client.taken) > 10, alive=is_alive)
        assert client.refusals == 0
        assert client.taken[:10] == Load(pipeline, 7).take(20)[:10]
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
        await producer.stop()
