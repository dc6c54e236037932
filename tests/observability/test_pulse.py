from __future__ import annotations

import asyncio

import pytest

from stream_infer.observability.facts import PlaneFacts
from stream_infer.observability.pulse import Pulse


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
    assert pulse.turned_s == 105.0


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
    assert pulse.turned_s == 131.0
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
