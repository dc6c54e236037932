from __future__ import annotations

from itertools import pairwise

import pytest

from stream_infer.demo.plan import ROADS_LIVE_MS, plan_demo
from stream_infer.errors import UsageError
from stream_infer.simulators.traffic import truth

MINUTE_MS = 60_000


def test_the_same_seed_gives_the_same_worlds_and_another_one_gives_others() -> None:
    first = plan_demo(seed=3, rate=500, seconds=30)
    assert first == plan_demo(seed=3, rate=500, seconds=30)
    assert first.roads.incidents != plan_demo(seed=4, rate=500, seconds=30).roads.incidents


def test_time_passes_as_fast_as_the_rate_of_payments_asks_for() -> None:
    slow, quick = (plan_demo(seed=1, rate=rate, seconds=30) for rate in (250, 500))
    assert quick.payments_time.speed == 2 * slow.payments_time.speed
    # 2,000 payments are a day of this world: at 500 a second that is 6 hours a second.
    assert quick.payments_time.speed == 6 * 3_600


@pytest.mark.parametrize("seed", range(5))
def test_an_incident_begins_within_two_seconds_and_another_every_five(seed: int) -> None:
    plan = plan_demo(seed=seed, rate=500, seconds=30)
    starts = [each.start_ms for each in plan.roads.incidents]
    speed = plan.roads_time.speed
    assert (starts[0] - ROADS_LIVE_MS) / speed <= 2_000
    gaps = [(after - before) / speed for before, after in pairwise(starts)]
    assert len(gaps) >= 5
    assert max(gaps) <= 5_000


def test_the_roads_last_as_long_as_one_watches() -> None:
    plan = plan_demo(seed=1, rate=500, seconds=600)
    roads = plan.roads
    end_ms = roads.start_ms + roads.minutes * MINUTE_MS
    assert end_ms >= plan.roads_time.live_ms + 600_000 * plan.roads_time.speed
    incidents, faults = truth(roads)
    assert {each.incident_id for each in plan.roads.incidents} <= {
        each.incident_id for each in incidents
    }
    assert set(plan.roads.faults) <= set(faults)


def test_the_payments_last_as_long_as_one_watches() -> None:
    plan = plan_demo(seed=1, rate=2_000, seconds=60)
    world = plan.payments
    end_ms = world.start_ms + world.days * 86_400_000
    assert end_ms >= plan.payments_time.live_ms + 60_000 * plan.payments_time.speed


def test_a_demo_of_more_than_a_day_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        plan_demo(seed=1, rate=500, seconds=100_000)
    assert caught.value.code == "demo_too_long"
