"""What a group has committed, once no transaction can change it any more.

A transaction that passed the group's check before a rebalance may be committed after it. Whoever
takes a partition over and read the offset in between would do again what then becomes visible. So
the offsets are asked for with `require_stable` (KIP-447): Kafka answers UNSTABLE_OFFSET_COMMIT
while one is in an open transaction.

Private names of aiokafka 0.14 (the version is pinned) that this module relies on:

    GroupCoordinator   .group_id, ensure_coordinator_known, coordinator_dead, _send_req
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream_infer.errors import BrokerError
from stream_infer.kafka.transaction_requests import StableOffsetFetch

LOOK_AGAIN_S = 0.02
"""Between two looks at an offset that is in an open transaction."""

UNSTABLE_OFFSET_COMMIT = 88
_AGAIN = {7, 14, 15, 16, UNSTABLE_OFFSET_COMMIT}
_COORDINATOR_MOVED = {15, 16}
UNKNOWN_TOPIC_OR_PARTITION = 3

Found = dict[TopicPartition, OffsetAndMetadata | None]


async def fetch_stable_offsets(
    coordinator: Any, partitions: Collection[TopicPartition], *, seconds_max: float
) -> Found:
    """Return what the group of a consumer's coordinator has committed, None where nothing.

    coordinator  `consumer._coordinator`; call it in the consumer's event loop
    seconds_max  how long to wait for open transactions, and for a coordinator that has moved

    Raises BrokerError `offsets_not_stable` when they are not settled in time, KafkaError when
    Kafka refuses.
    """
    wanted = sorted(partitions)
    if not wanted:
        return {}
    state = "the coordinator did not answer"
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                await coordinator.ensure_coordinator_known()
                found, codes = await _ask(coordinator, wanted)
                if not codes & _AGAIN:
                    break
                if UNSTABLE_OFFSET_COMMIT in codes:
                    state = "a transaction with offsets of these partitions is still open"
                if codes & _COORDINATOR_MOVED:
                    coordinator.coordinator_dead()
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError as error:
        raise _not_stable(coordinator.group_id, wanted, seconds_max, state) from error
    if refused := codes - {0, UNKNOWN_TOPIC_OR_PARTITION}:
        code = min(refused)
        raise kafka_errors.for_code(code)(f"code {code}, group {coordinator.group_id}")
    return found


async def _ask(coordinator: Any, wanted: list[TopicPartition]) -> tuple[Found, set[int]]:
    """Ask once; return what was found, and all error codes of the answer."""
    by_topic = defaultdict(list)
    for tp in wanted:
        by_topic[tp.topic].append(tp.partition)
    request = StableOffsetFetch(
        group_id=coordinator.group_id,
        topics=[(topic, each, {}) for topic, each in by_topic.items()],
        require_stable=True,
        tags={},
    )
    try:
        answer = await coordinator._send_req(request)
    except kafka_errors.KafkaError as error:
        if not error.retriable:
            raise
        return {}, {_COORDINATOR_NOT_AVAILABLE}
    found: Found = dict.fromkeys(wanted)
    codes = {answer.error_code}
    for topic, each, _ in answer.topics:
        for partition, offset, _, metadata, code, _ in each:
            codes.add(code)
            if code == 0 and offset >= 0:
                found[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata)
    return found, codes


_COORDINATOR_NOT_AVAILABLE = 15


def _not_stable(
    group: str, wanted: list[TopicPartition], seconds_max: float, state: str
) -> BrokerError:
    return BrokerError(
        "offsets_not_stable",
        f"The committed offsets of group {group!r} are not known after {seconds_max:g} s: {state}.",
        "Wait: Kafka ends an open transaction when its time-out is over. Where a dead worker left"
        " it open, the next one ends it at once if it may write the group's transactional ids:"
        " stream-infer acls show PIPELINE prints what a worker needs.",
        group=group,
        partitions=[f"{tp.topic}-{tp.partition}" for tp in wanted],
        waited_s=seconds_max,
    )
