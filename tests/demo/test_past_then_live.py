from __future__ import annotations

from stream_infer.demo.figures import Latencies, Rates
from stream_infer.demo.load import PastThenLive
from stream_infer.demo.plan import WorldTime
from stream_infer.demo.sent import UNKNOWN_MS, SentTimes

TIMES = [100, 900, 1_000, 4_000, 4_001]


def test_only_the_past_is_due_however_much_time_passes() -> None:
    pace = PastThenLive(WorldTime(live_ms=1_000, speed=3.0))
    assert [pace.due(elapsed, 0, TIMES) for elapsed in (0.0, 1.0, 1e6)] == [2, 2, 2]
    assert pace.past_events is None


def test_how_many_events_the_past_has_is_known_when_nothing_more_is_due() -> None:
    pace = PastThenLive(WorldTime(live_ms=1_000, speed=3.0))
    assert pace.wait_s(5.0, 2, 1_000) > 0
    assert pace.past_events == 2


def test_from_the_opening_on_events_are_due_when_their_time_has_come() -> None:
    pace = PastThenLive(WorldTime(live_ms=1_000, speed=3.0))
    pace.opened_s = 50.0
    # 1,000 + 3 * 1,000 ms is the time of the fourth.
    assert [pace.due(elapsed, 0, TIMES) for elapsed in (50.0, 50.999, 51.0, 51.1)] == [3, 3, 4, 5]
    assert pace.wait_s(50.5, 3, 4_000) == 0.5
    assert pace.wait_s(60.0, 3, 4_000) == 0.0


def test_the_time_of_writing_is_found_by_partition_and_offset() -> None:
    times = SentTimes([10, 0])
    times.note([2, 1], 100)
    times.note([0, 3], 200)
    times.note([1, 0], 300)
    assert [times.time_of(0, offset) for offset in (10, 11, 12)] == [100, 100, 300]
    assert [times.time_of(1, offset) for offset in (0, 1, 3)] == [100, 200, 200]


def test_a_record_that_nobody_noted_has_no_time() -> None:
    times = SentTimes([10])
    times.note([1], 100)
    assert [times.time_of(0, 9), times.time_of(0, 11), times.time_of(1, 10)] == [UNKNOWN_MS] * 3


def test_percentiles_are_times_that_so_many_did_not_exceed() -> None:
    taken = Latencies()
    taken.add(list(range(1, 1_001)))
    assert taken.as_json() == {"p50": 500, "p99": 990, "p999": 999}
    taken.add([-5, 10_000_000])
    assert (taken.percentile(0.01), taken.percentile(100)) == (0, 60_000)
    assert Latencies().as_json() == {"p50": None, "p99": None, "p999": None}


def test_latencies_of_two_pipelines_are_counted_together() -> None:
    one, other = Latencies(), Latencies()
    one.add([1, 1])
    other.add([9, 9, 9])
    assert one.merged(other).percentile(50) == 9
    assert one.percentile(100) == 1


def test_a_rate_is_taken_over_half_a_second_and_more() -> None:
    rates = Rates()
    for now_s, total in ((0.0, 0), (0.1, 90), (0.5, 100), (1.5, 400)):
        rates.look(now_s, total)
    assert list(rates.kept) == [200.0, 300.0]
    assert rates.now == 250.0
