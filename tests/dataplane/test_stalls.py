"""Input that waits for an open transaction is noticed, timed and named; other input is not."""

from __future__ import annotations

import asyncio

import pytest

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import ReadTo
from stream_infer.dataplane.stalls import ASK_AFTER_S, UNKNOWN_PRODUCER, StallWatch

SOURCE = Partition("transactions", 0)


def held_at(stable: int, written: int) -> dict[Partition, ReadTo]:
    return {SOURCE: ReadTo(stable, stable, written)}


def test_a_stable_offset_that_stands_still_below_the_end_is_timed_from_when_it_stood() -> None:
    watch = StallWatch()
    assert watch.look(held_at(5, 9), 10.0)[SOURCE].since_s == 10.0
    assert watch.look(held_at(5, 20), 12.0)[SOURCE].since_s == 10.0


def test_one_that_moves_begins_anew_and_one_that_is_the_end_is_none() -> None:
    watch = StallWatch()
    watch.look(held_at(5, 9), 10.0)
    assert watch.look(held_at(6, 9), 12.0)[SOURCE].since_s == 12.0
    assert watch.look(held_at(9, 9), 13.0) == {}


def test_a_log_of_which_nothing_is_known_does_not_stall() -> None:
    unknown = [ReadTo(None, None), ReadTo(3, None, 9), ReadTo(3, 3), ReadTo(3, -1, 9)]
    for read in unknown:
        assert StallWatch().look({SOURCE: read}, 10.0) == {}


async def test_kafka_is_asked_once_and_only_when_it_has_lasted() -> None:
    asked: list[Partition] = []

    async def find(partition: Partition) -> str | None:
        asked.append(partition)
        return "loader"

    watch = StallWatch(find)
    for second in range(3):
        assert watch.look(held_at(5, 9), float(second))[SOURCE].by == ""
    assert asked == []
    for second in range(3):
        watch.look(held_at(5, 9), ASK_AFTER_S + second)
        await asyncio.sleep(0)
    assert asked == [SOURCE]
    assert watch.look(held_at(5, 9), 10.0)[SOURCE].by == "loader"


@pytest.mark.parametrize("answer", [None, ConnectionError("away")])
async def test_without_an_answer_the_producer_is_unknown(answer: Exception | None) -> None:
    async def find(_: Partition) -> str | None:
        if answer is not None:
            raise answer
        return None

    watch = StallWatch(find)
    watch.look(held_at(5, 9), 0.0)
    watch.look(held_at(5, 9), ASK_AFTER_S)
    await asyncio.sleep(0)
    assert watch.look(held_at(5, 9), ASK_AFTER_S + 1)[SOURCE].by == UNKNOWN_PRODUCER


def test_a_log_that_nobody_asks_for_stands_still_without_a_stall() -> None:
    watch = StallWatch()
    for second in range(20):
        # Asked for until the second second; what was said then is what is known ever after.
        read = ReadTo(5, 5, 9, said_ms=1_000 * min(second, 2))
        found = watch.look({SOURCE: read}, float(second)).get(SOURCE)
        assert found is None or found.by == ""
    assert watch.look({SOURCE: ReadTo(5, 5, 9, said_ms=20_000)}, 20.0)[SOURCE].since_s >= 18.0


async def test_the_holder_is_asked_for_only_where_answers_keep_saying_so() -> None:
    asked: list[Partition] = []

    async def find(partition: Partition) -> str | None:
        asked.append(partition)
        return "loader"

    silent, watch = StallWatch(find), StallWatch(find)
    for second in range(10):
        silent.look({SOURCE: ReadTo(5, 5, 9, said_ms=0)}, float(second))
        await asyncio.sleep(0)
    assert asked == []
    for second in range(10):
        watch.look({SOURCE: ReadTo(5, 5, 9, said_ms=second)}, float(second))
        await asyncio.sleep(0)
    assert asked == [SOURCE]
