from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.benchmark.subject import Subject
from stream_infer.errors import GateFailedError
from support.commands import run_command

pytestmark = pytest.mark.kafka

EVENTS = 6_000


def figures_of(out: Any) -> dict[str, Any]:
    return {figure["name"]: figure for figure in out["figures"]}


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
