"""What a producer still holds when it is given up ends without a word in the log."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import InvalidProducerIdMapping, ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import TopicPartition

from stream_infer.kafka.group_members import GroupMember
from stream_infer.kafka.transactions import GroupTransactionalProducer, _fail_batches


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


async def test_a_request_that_would_put_its_batch_back_afterwards_leaves_it_out() -> None:
    accumulator = MessageAccumulator(ClusterMetadata(), 1_000, 0, 30)
    tp = TopicPartition("scored", 0)
    await accumulator.add_message(tp, None, b"x", 1.0)
    batch = accumulator._pop_batch(tp)
    _fail_batches(accumulator, ProducerClosed())
    await asyncio.sleep(0)
    accumulator.reenqueue(batch)  # its answer was "again", and it has waited for its turn
    assert isinstance(batch.future.exception(), ProducerClosed)
    assert not accumulator._batches


async def test_an_answer_about_offsets_that_comes_when_nobody_waits_is_no_complaint() -> None:
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    producer = GroupTransactionalProducer(transactional_id="t", bootstrap_servers="127.0.0.1:1")
    manager: Any = producer._txn_manager
    manager.set_pid_and_epoch(1, 0)
    await producer.begin_transaction()
    offsets = {TopicPartition("events", 0): (5, "")}
    sending = asyncio.create_task(producer.send_offsets(offsets, GroupMember("g", 1, "m")))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    manager.fatal_error(InvalidProducerIdMapping())
    await asyncio.sleep(0)
    manager.wait_for_transaction_end().exception()
    producer._closed = True  # it never was open
    del manager, producer, sending
    gc.collect()
    await asyncio.sleep(0)
    assert [each["message"] for each in complaints if "never retrieved" in each["message"]] == []
