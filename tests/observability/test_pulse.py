from __future__ import annotations

import asyncio
import threading

import pytest

from stream_infer.observability.facts import PlaneFacts
from stream_infer.observability.health import HealthLimits, liveness
from stream_infer.observability.pulse import MAIN_LOOP, Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_beat_takes_a_snapshot_and_the_time() -> None:
    clock = Clock()
    pulse = Pulse(lambda: PlaneFacts(in_flight_bytes=7), seconds=clock)
    clock.now = 105.0
    pulse.beat()
    assert pulse.facts.in_flight_bytes == 7
    assert pulse.taken_s == 105.0
    assert pulse.turned_s() == {MAIN_LOOP: 105.0}


async def test_the_loop_of_another_thread_is_seen_to_turn_and_to_be_stuck() -> None:
    clock = Clock()
    loop = asyncio.new_event_loop()
    stuck, free = threading.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_forever)
    pulse = Pulse(seconds=clock)
    pulse.watch("consumer", lambda: loop)
    thread.start()
    try:
        pulse.beat()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_nothing(), loop))

        def block() -> None:
            stuck.set()
            free.wait()

        loop.call_soon_threadsafe(block)
        await asyncio.to_thread(stuck.wait)
        clock.now += 40
        pulse.beat()
        assert pulse.turned_s() == {MAIN_LOOP: 140.0, "consumer": 100.0}
        verdict = liveness(pulse.facts, pulse.turned_s(), clock.now, HealthLimits())
        assert [reason.message for reason in verdict.reasons] == [
            "The consumer has not turned for 40 s."
        ]
        free.set()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_nothing(), loop))
        assert pulse.turned_s()["consumer"] == 140.0
    finally:
        free.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _nothing() -> None: ...


def test_a_loop_that_was_closed_stays_at_its_last_time() -> None:
    clock = Clock()
    loop = asyncio.new_event_loop()
    pulse = Pulse(seconds=clock)
    pulse.watch("consumer", lambda: loop)
    pulse.beat()
    loop.close()
    clock.now += 50
    pulse.beat()
    assert pulse.turned_s()["consumer"] == 100.0


def test_a_loop_that_is_not_there_yet_is_not_missed() -> None:
    pulse = Pulse(seconds=Clock())
    pulse.watch("consumer", lambda: None)
    pulse.beat()
    assert pulse.turned_s() == {MAIN_LOOP: 100.0}


def test_facts_that_cannot_be_gathered_leave_the_old_ones_with_their_age(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> PlaneFacts:
        raise ValueError("no facts today")

    clock = Clock()
    pulse = Pulse(lambda: PlaneFacts(in_flight_bytes=7), seconds=clock)
    pulse.beat()
    pulse.gather = broken
    clock.now += 31
    pulse.beat()
    pulse.beat()
    assert (pulse.facts.in_flight_bytes, pulse.taken_s) == (7, 100.0)
    assert pulse.turned_s() == {MAIN_LOOP: 131.0}
    said = capsys.readouterr()
    assert (said.out + said.err).count("facts_not_gathered") == 1


async def test_it_beats_until_it_is_cancelled() -> None:
    beats = 0
    twice = asyncio.Event()

    def gather() -> PlaneFacts:
        nonlocal beats
        beats += 1
        if beats == 2:
            twice.set()
        return PlaneFacts()

    beating = asyncio.create_task(Pulse(gather).beat_forever(every_s=0.001))
    await twice.wait()
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating
