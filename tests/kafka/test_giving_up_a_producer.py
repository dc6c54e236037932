"""What a producer still holds when it is given up ends without a word in the log."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import TopicPartition

from stream_infer.kafka.transactions import _fail_batches


async def test_a_batch_that_waits_to_be_sent_again_ends_quietly() -> None:
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    accumulator = MessageAccumulator(ClusterMetadata(), 1_000, 0, 30)
    tp = TopicPartition("scored", 0)
    await accumulator.add_message(tp, None, b"x", 1.0)
    batch = accumulator._pop_batch(tp)
    accumulator.reenqueue(batch)
    _fail_batches(accumulator, ProducerClosed())
    await asyncio.sleep(0)
    assert isinstance(batch.future.exception(), ProducerClosed)
    assert complaints == []
