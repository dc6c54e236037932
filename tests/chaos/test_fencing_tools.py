"""The late starter of the harness: it finds an owner's transactional id, and fences it."""

from __future__ import annotations

import gc

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from chaos.transactions import fence, transactional_ids
from support.kafka import acreate_topics, unique

pytestmark = pytest.mark.kafka


async def test_an_id_is_listed_and_its_owner_fenced(kafka: str) -> None:
    group, topic = unique("group"), unique("topic")
    await acreate_topics(kafka, {topic: 1})
    name = f"{group}.customer.a"
    owner = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=name)
    await owner.start()
    try:
        async with owner.transaction():
            await owner.send_and_wait(topic, b"first")
        assert await transactional_ids(kafka, group) == [name]
        await fence(kafka, name)
        await owner.begin_transaction()
        with pytest.raises(ProducerFenced):
            await owner.send_and_wait(topic, b"second")
    finally:
        await owner.stop()
        # aiokafka leaves futures behind whose exception nobody took; they tell so when they are
        # collected, which must not happen in the middle of something else.
        del owner
        gc.collect()
