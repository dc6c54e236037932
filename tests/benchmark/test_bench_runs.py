from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.benchmark import delivery
from stream_infer.benchmark.cores import choose_cores
from stream_infer.benchmark.delivery import DeliverySession
from stream_infer.benchmark.scenarios import single_scenario
from stream_infer.benchmark.subject import Subject
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection
from support.commands import run_command

pytestmark = pytest.mark.kafka

EVENTS = 6_000


def figures_of(out: Any) -> dict[str, Any]:
    return {figure["name"]: figure for figure in out["figures"]}


def settings_in(folder: Path) -> list[str]:
    return sorted(path.read_text() for path in folder.glob("*.toml"))


def test_a_short_throughput_run_measures_the_worker_beside_the_loop(
    kafka: str, tmp_path: Path
) -> None:
    ran = run_command(
        "bench", "single", "--model", "trees", "--events", EVENTS, "--repeat", 1,
        "--bootstrap", kafka, "--keep", tmp_path, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err + ran.out
    found = figures_of(ran.json)
    # So few events may pass between two samples: then there is a figure without a value.
    assert found["single stage, trees"]["unit"] == "events/s"
    assert list(found["single stage, trees"]["baselines"]) == ["aiokafka_loop"]
    assert len(list(tmp_path.glob("*.log"))) == 2
    assert ran.json["machine"]["cores"] >= 1


def test_a_short_latency_run_finds_an_output_for_every_event_of_both_stages(
    kafka: str, tmp_path: Path
) -> None:
    ran = run_command(
        "bench", "latency", "--model", "trees", "--seconds", 1, "--repeat", 1,
        "--baseline", "none", "--bootstrap", kafka, "--keep", tmp_path, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err + ran.out
    found = figures_of(ran.json)
    for name in ("single stage, trees", "two stages"):
        waits = [found[f"{name}, 2,000/s, {p}"]["worker"]["median"] for p in ("p50", "p99")]
        assert None not in waits
        assert 0 <= waits[0] <= waits[1]
        assert found[f"{name}, 2,000/s, no output in time"]["worker"]["values"] == [0]


def test_the_alerts_bench_says_how_many_events_alert_beside_what_they_cost(
    kafka: str, tmp_path: Path
) -> None:
    ran = run_command(
        "bench", "alerts", "--events", 20_000, "--repeat", 1,
        "--bootstrap", kafka, "--keep", tmp_path, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err + ran.out
    found = figures_of(ran.json)
    assert list(found["two stages and alerts"]["baselines"]) == ["without"]
    # 8 of the 8,000 that are measured; customers of different partitions meet at terminals.
    [percent] = found["two stages and alerts, events that alert"]["worker"]["values"]
    assert 0.05 <= percent <= 0.2


def test_a_process_that_ends_is_named_with_what_it_said(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo the reason; exit 3"]
    with Subject("baseline", command, None, tmp_path / "log") as subject:
        assert subject._process is not None
        subject._process.wait()
        with pytest.raises(GateFailedError, match="exit code 3: the reason"):
            subject.check()


async def test_a_short_run_tells_when_a_reader_has_the_outputs_of_both_deliveries(
    kafka: str, tmp_path: Path
) -> None:
    session = DeliverySession(
        Connection(bootstrap=kafka),
        choose_cores(),
        tmp_path,
        repeat=1,
        show=lambda _what, _done, _total: None,
    )
    found = {figure.name: figure for figure in await session.latency(single_scenario("trees"), 1)}
    title = "single stage, trees, exactly once, 2,000/s"
    for name in ("worker", "at_least_once"):
        values = [
            figure.worker if name == "worker" else figure.baselines[name]
            for figure in (found[f"{title}, read {p}"] for p in ("p50", "p99", "not in time"))
        ]
        p50, p99, missing = (spread.median for spread in values)
        assert p50 is not None
        assert p99 is not None
        # Kafka stamps whole ms, so that an output is never had before its input was there.
        assert 0 < p50 <= p99
        assert missing == 0
    assert settings_in(tmp_path) == [
        '[worker]\ndelivery = "at_least_once"\n',
        '[worker]\ndelivery = "exactly_once"\n',
    ]


async def test_a_short_run_counts_markers_and_what_they_hold_up(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MARKER_PARTITIONS", (3,))
    session = DeliverySession(
        Connection(bootstrap=kafka),
        choose_cores(),
        tmp_path,
        repeat=1,
        show=lambda _what, _done, _total: None,
    )
    figures = await session.markers(single_scenario("trees"), 1)
    found = {figure.name.rpartition("2,000/s, ")[2]: figure.worker.median for figure in figures}
    markers, transactions = found["markers"], found["transactions"]
    assert markers is not None
    assert transactions is not None
    # One in the group's offsets, and one in each of the three partitions that it wrote to.
    assert 1 < markers / transactions <= 4
    behind = found["stable offset behind, p99"]
    assert behind is not None
    assert behind > 0
