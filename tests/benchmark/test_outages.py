"""What a flow says of outages, what samples of memory say of its slope, and short runs of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer.benchmark.flow import Flow, first_output_s, longest_pause_s, passing
from stream_infer.benchmark.latency import PacedPayments
from stream_infer.benchmark.load import single_load
from stream_infer.benchmark.outages import assignments, newest_checkpoints
from stream_infer.benchmark.restore import Replay, restore_figures
from stream_infer.benchmark.soak import (
    BLOCKS,
    FLAT_SHARE,
    TEN_MINUTES_S,
    EndlessPayments,
    slope_of,
    soak_figures,
)
from stream_infer.records.partitioner import KeyPartitioner
from support.commands import run_command

MIB = 2**20


def flow(sent_s: list[float], arrived_s: list[float]) -> Flow:
    made = Flow(PacedPayments(single_load(len(sent_s), 10).transactions), 100)
    made.sent_s[:] = sent_s
    made.arrived_s[:] = arrived_s
    return made


def test_the_first_output_counts_only_if_its_payment_was_sent_after_the_kill() -> None:
    made = flow([9.0, 11.0, 12.0, 13.0], [10.5, 18.0, 17.0, np.nan])
    everywhere = np.ones(4, np.bool_)
    assert first_output_s(made, everywhere, 10.0) == 7.0
    assert first_output_s(made, np.array([True, True, False, True]), 10.0) == 8.0
    assert first_output_s(made, np.array([True, False, False, True]), 10.0) is None


def test_a_pause_reaches_from_and_to_the_moments_that_were_looked_at() -> None:
    came = np.array([5.0, 1.0, 2.0, np.nan])
    assert longest_pause_s(came, 0.0, 5.5) == 3.0
    assert longest_pause_s(came, 0.0, 9.0) == 4.0
    assert longest_pause_s(came, 1.5, 1.8) == pytest.approx(0.3)


def test_a_payment_passes_one_partition_of_each_stage() -> None:
    customers, terminals = ["c1", "c2", "c3"], ["t9", "t9", "t8"]
    found = passing([("in", customers), ("by-terminal", terminals)], 2)
    for topic, keys in (("in", customers), ("by-terminal", terminals)):
        placed = [place for _, place in KeyPartitioner(2).place(keys)]
        assert [found[topic, place][at] for at, place in enumerate(placed)] == [True] * 3
        assert not np.any(found[topic, 0] & found[topic, 1])


def test_a_log_tells_of_each_assignment() -> None:
    log = (
        "2026-01-01T00:00:00Z [info     ] assigned          partitions=['a-0', 'a-1']\n"
        "2026-01-01T00:00:01Z [info     ] not assigned yet\n"
        "2026-01-01T00:00:02Z [info     ] assigned                       partitions=[]\n"
    )
    assert assignments(log) == [["a-0", "a-1"], []]


def test_a_log_tells_of_the_newest_checkpoint_of_each_partition() -> None:
    log = (
        "[info     ] checkpoint_published           bytes=1 keys_held=2 offset=30 source=a-0\n"
        "[info     ] checkpoint_published           bytes=1 keys_held=2 offset=7 source=a-1\n"
        "[info     ] checkpoint_restored            checkpoint=x offset=99 source=a-0\n"
        "[info     ] checkpoint_published           bytes=1 keys_held=2 offset=9 source=a-0\n"
    )
    assert newest_checkpoints(log) == {"a-0": 30, "a-1": 7}


def test_what_a_replay_costs_is_told_apart_by_what_each_has_more_than_the_one_before() -> None:
    runs = {
        "read": [Replay(1_000, 1.0, 0.002)],
        "decode": [Replay(1_000, 1.0, 0.005)],
        "fold": [Replay(1_000, 0.5, 0.009)],
    }
    found = {figure.name: figure.worker.values[0] for figure in restore_figures("x", runs)}
    assert found["x, replayed a second"] == pytest.approx(2_000)
    assert found["x, replay: read"] == pytest.approx(2.0)
    assert found["x, replay: decode"] == pytest.approx(3.0)
    assert found["x, replay: fold"] == pytest.approx(4.0)


def memory(growth: float, noise: float, level: float = 200 * MIB) -> Any:
    """Return the slope of ten minutes in which memory grows by a share of itself."""
    at_s = np.arange(0.0, TEN_MINUTES_S, 0.5)
    around = np.random.default_rng(3).normal(0.0, noise * level, len(at_s))
    return slope_of(at_s, level * (1 + growth * at_s / TEN_MINUTES_S) + around)


@pytest.mark.parametrize(
    ("growth", "noise", "verdict"),
    [
        (0.0, 0.01, "flat"),
        (-0.2, 0.01, "flat"),
        (FLAT_SHARE / 2, 0.01, "flat"),
        (4 * FLAT_SHARE, 0.01, "growing"),
        (FLAT_SHARE, 0.5, "not told"),
    ],
)
def test_memory_is_judged_by_the_confidence_of_its_slope(
    growth: float, noise: float, verdict: str
) -> None:
    slope = memory(growth, noise)
    assert slope.verdict == verdict
    assert slope.low <= slope.best <= slope.high
    assert verdict in soak_figures("x", 10, slope, 0)[0].name


def test_a_straight_line_has_its_own_slope_and_no_doubt() -> None:
    slope = slope_of(np.arange(float(BLOCKS)), np.arange(float(BLOCKS)))
    assert slope.best == pytest.approx(TEN_MINUTES_S)
    assert slope.high - slope.low == pytest.approx(0.0, abs=1e-6)


def test_endless_payments_have_new_ids_and_times_that_go_on() -> None:
    payments = EndlessPayments(single_load(30, 10).transactions, 1_000)
    pieces = [piece for count in (20, 25) for piece in payments.take(count, 5_000)]
    ids = [name for piece in pieces for name in piece.ids]
    times = np.concatenate([piece.event_time for piece in pieces])
    assert len(set(ids)) == len(ids) == 45
    assert np.all(np.diff(times) >= 0)
    assert (times[0], times[-1]) == (1_250, 11_000)


def figures_of(*words: object) -> dict[str, Any]:
    ran = run_command("bench", *words, "--model", "trees", "--repeat", 1, "--json")
    assert ran.code == 0, ran.err + ran.out
    return {figure["name"]: figure["worker"]["values"] for figure in ran.json["figures"]}


@pytest.mark.kafka
def test_a_short_run_of_restore_says_what_a_replay_costs(kafka: str, tmp_path: Path) -> None:
    found = figures_of("restore", "--events", 6_000, "--bootstrap", kafka, "--keep", tmp_path)
    for name in ("single stage, trees", "two stages"):
        assert found[f"{name}, replayed a second"][0] > 0
        assert found[f"{name}, replay: read"][0] > 0


@pytest.mark.kafka
@pytest.mark.thorough
def test_a_short_soak_has_a_verdict(kafka: str, tmp_path: Path) -> None:
    words = ("--minutes", 0.2, "--rate", 500, "--bootstrap", kafka, "--keep", tmp_path)
    found = figures_of("soak", *words)
    assert any(": memory is " in name for name in found)


@pytest.mark.kafka
@pytest.mark.thorough
@pytest.mark.parametrize("what", ["failover", "restart"])
def test_a_short_run_with_an_outage_gives_every_figure_a_value(
    kafka: str, tmp_path: Path, what: str
) -> None:
    found = figures_of(what, "--keys", 1_000, "--bootstrap", kafka, "--keep", tmp_path)
    assert found
    assert None not in [value for values in found.values() for value in values]
