"""How long the broker gathers follows how busy the process is."""

from __future__ import annotations

from stream_infer.dataplane.beat import LOOK_AT_LOAD_SECONDS, Gathering

LEAST_MS, MOST_MS = 3, 12


class Process:
    """A clock, and the processor time of a process that works a share of it."""

    def __init__(self, least_ms: int = LEAST_MS) -> None:
        self.now = self.worked = 0.0
        self.gathering = Gathering(least_ms, MOST_MS, lambda: self.now, lambda: self.worked)

    def run(self, share: float, seconds: float = 3.0) -> float:
        """Work so long; return the wait at the end."""
        wait = 0.0
        for _ in range(round(seconds / LOOK_AT_LOAD_SECONDS)):
            self.now += LOOK_AT_LOAD_SECONDS
            self.worked += share * LOOK_AT_LOAD_SECONDS
            wait = self.gathering.wait_ms()
        return wait


def test_a_process_with_time_to_spare_waits_as_short_as_possible() -> None:
    assert Process().run(share=0.3) == LEAST_MS


def test_a_busy_process_waits_longer_up_to_a_bound_and_less_again_afterwards() -> None:
    process = Process()
    assert process.run(share=0.9, seconds=0.2) > LEAST_MS
    assert process.run(share=1.2) == MOST_MS
    assert process.run(share=0.2) == LEAST_MS


def test_between_the_bounds_the_wait_stays_as_it_is() -> None:
    process = Process()
    busy = process.run(share=0.9, seconds=0.2)
    assert process.run(share=0.6) == busy


def test_a_worker_that_is_told_to_gather_for_long_never_does_for_less() -> None:
    assert Process(least_ms=30).run(share=0.1) == 30
    assert Process(least_ms=30).run(share=1.2) == 30
