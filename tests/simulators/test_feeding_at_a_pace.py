from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from stream_infer.simulators.feeding import Fed, feed
from stream_infer.simulators.fraud import DAY_MS, World, generate
from stream_infer.simulators.pacing import AtOnce, ByRate, BySpeed, Pace
from stream_infer.simulators.pieces import (
    Piece,
    Role,
    fraud_pieces,
    traffic_pieces,
    until,
    whole_days,
)
from stream_infer.simulators.records import Records
from stream_infer.simulators.traffic import Roads, truth

WORLD = World(
    customers=200, terminals=100, days=9, label_delay_ms=DAY_MS, accounts_lost=0.01, seed=2
)
ROADS = Roads(seed=2, corridors=2, sensors_per_corridor=6, minutes=240, silent_per_sensor_day=0.5)


ROLES: tuple[Role, ...] = ("events", "labels", "truth")


class ListSink:
    """Keeps what it takes, with how many events it had by then."""

    def __init__(self, roles: tuple[Role, ...] = ROLES) -> None:
        self.roles = roles
        self.taken: dict[Role, list[bytes]] = {role: [] for role in roles}
        self.order: list[tuple[Role, int]] = []
        self.clocks: list[int | None] = []
        self.flushes = 0

    async def take(self, role: Role, records: Records, clock_ms: int | None) -> None:
        self.taken[role] += records.values
        self.order += [(role, time) for time in records.timestamps]
        self.clocks.append(clock_ms)

    async def flush(self) -> None:
        self.flushes += 1


def fed_into(sink: ListSink, pieces: Iterator[Piece], pace: Pace, **options: Any) -> Fed:
    async def run() -> Fed:
        fed = Fed()
        await feed(pieces, sink, pace, fed, stop=asyncio.Event(), **options)
        return fed

    return asyncio.run(run())


def values(pieces: Iterator[Piece], role: Role) -> list[bytes]:
    return [value for piece in pieces for value in piece.records[role].values]


@pytest.mark.parametrize(
    "pace",
    [AtOnce(), ByRate(1e6), BySpeed(start_ms=WORLD.start_ms, speed=1e7)],
    ids=["at once", "by rate", "by speed"],
)
def test_whatever_the_pace_everything_is_fed_once_and_in_order(pace: Pace) -> None:
    sink = ListSink()
    fed = fed_into(sink, fraud_pieces(WORLD, rows_max=97), pace)
    for role in ROLES:
        assert sink.taken[role] == values(fraud_pieces(WORLD), role)
        assert fed.sent[role] == len(sink.taken[role]) > 0
    assert fed.ended
    assert sum(fed.kinds.values()) == int(generate(WORLD).is_fraud.sum())
    assert sink.flushes > 0
    assert (fed.first_ms, fed.last_ms) == (
        json.loads(sink.taken["events"][0])["event_time"],
        json.loads(sink.taken["events"][-1])["event_time"],
    )


def test_labels_and_truth_are_never_fed_before_their_time() -> None:
    sink = ListSink()
    fed_into(sink, fraud_pieces(WORLD, rows_max=500), ByRate(20_000))
    clock = 0
    for role, time in sink.order:
        if role == "events":
            clock = time
        else:
            assert time <= clock


def test_a_paced_simulation_tells_its_clock_and_an_unpaced_one_has_none() -> None:
    paced, unpaced = ListSink(), ListSink()
    few = replace(WORLD, days=1)
    fed_into(paced, fraud_pieces(few), ByRate(1e6))
    fed_into(unpaced, fraud_pieces(few), AtOnce())
    assert all(clock is not None and clock >= few.start_ms for clock in paced.clocks)
    assert set(unpaced.clocks) == {None}


def test_the_truth_of_roads_comes_with_what_it_is_about() -> None:
    sink = ListSink(("events", "truth"))
    fed = fed_into(sink, traffic_pieces(ROADS, rows_max=100), AtOnce())
    incidents, faults = truth(ROADS)
    assert fed.kinds["incident"] == len(incidents)
    assert sum(fed.kinds.values()) == len(incidents) + len(faults) == fed.sent["truth"]
    assert fed.kinds["silent"] > 0


def test_a_sink_without_a_place_for_a_role_gets_the_others() -> None:
    sink = ListSink(("events",))
    fed = fed_into(sink, fraud_pieces(WORLD), AtOnce())
    assert set(fed.sent) == {"events"}
    assert not fed.kinds


def test_being_told_to_stop_ends_the_feeding_with_all_counted_and_flushed() -> None:
    async def run() -> tuple[Fed, ListSink]:
        stop, sink, fed = asyncio.Event(), ListSink(), Fed()

        def show(done: int) -> None:
            if done >= 200:
                stop.set()

        await feed(fraud_pieces(WORLD, rows_max=50), sink, AtOnce(), fed, stop=stop, show=show)
        return fed, sink

    fed, sink = asyncio.run(run())
    assert not fed.ended
    assert fed.sent["events"] == len(sink.taken["events"]) == 200
    assert sink.flushes == 1


def test_time_that_is_up_ends_a_paced_feeding_in_the_middle_of_a_piece() -> None:
    sink = ListSink()
    fed = fed_into(sink, fraud_pieces(WORLD), ByRate(100.0), seconds_max=0.2)
    assert not fed.ended
    assert 0 < fed.sent["events"] <= 20
    assert fed.seconds >= 0.2


def test_a_failing_sink_ends_the_feeding_with_its_error() -> None:
    class Failing(ListSink):
        async def flush(self) -> None:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        fed_into(Failing(), fraud_pieces(WORLD), ByRate(1e6))


# --- pieces


@pytest.mark.parametrize("days", [0.25, 2.5])
def test_a_simulation_is_cut_at_the_time_asked_for(days: float) -> None:
    end_ms = WORLD.start_ms + round(days * DAY_MS)
    whole, cut = generate(WORLD), list(until(fraud_pieces(WORLD), end_ms))
    times = [time for piece in cut for time in piece.records["events"].timestamps]
    assert times == whole.event_time[whole.event_time < end_ms].tolist()
    assert all(time < end_ms for piece in cut for time in piece.records["truth"].timestamps)
    assert all(len(piece.kinds) == len(piece.records["truth"]) for piece in cut)


def test_what_happened_before_the_start_is_left_out_with_its_labels() -> None:
    since_ms = WORLD.start_ms + DAY_MS // 2
    pieces = list(fraud_pieces(WORLD, since_ms=since_ms))
    events = {json.loads(value)["transaction_id"] for value in values(iter(pieces), "events")}
    labels = {json.loads(value)["transaction_id"] for value in values(iter(pieces), "labels")}
    rows = generate(WORLD)
    assert len(events) == int((rows.event_time >= since_ms).sum())
    assert labels <= events
    assert len(labels) > 0


def test_days_are_counted_from_the_midnight_before_the_start() -> None:
    noon = WORLD.start_ms + DAY_MS // 2
    assert whole_days(noon, 1.0) == (WORLD.start_ms, 2)
    assert whole_days(noon, 0.5) == (WORLD.start_ms, 1)
    assert whole_days(WORLD.start_ms, 3) == (WORLD.start_ms, 3)


# --- pace


def test_a_rate_allows_so_many_events_a_second() -> None:
    pace = ByRate(100.0)
    assert pace.due(1.0, 0, [0] * 500) == 100
    assert pace.due(1.0, 90, [0] * 500) == 10
    assert pace.due(1.0, 150, [0] * 500) == 0
    assert pace.wait_s(1.0, 120, 0) == pytest.approx(0.21)


def test_a_speed_goes_by_the_events_own_time() -> None:
    pace = BySpeed(start_ms=10_000, speed=60.0)
    times = [10_000, 40_000, 70_000, 70_001]
    assert pace.due(0.0, 0, times) == 1
    assert pace.due(1.0, 0, times) == 3
    assert pace.wait_s(0.25, 1, 40_000) == pytest.approx(0.25)
    assert pace.wait_s(5.0, 1, 40_000) == 0.0
