"""Each example runs as it stands, and does what its text says."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import EventDecoder
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.sending import topic_sender
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.simulators.fraud import World, generate
from stream_infer.simulators.records import transaction_columns
from support.pipelines import own_pipeline
from support.worker import GroupProgress, make_topics, until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PIPELINES = ("custom_step.py", "machines.py")
START_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z"""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def loaded(name: str) -> Pipeline:
    return load_pipeline(str(EXAMPLES / name))


def defined_with(pipeline: Pipeline) -> ModuleType:
    """Return the module that the example's file became."""
    [step] = [feature.step for feature in pipeline.features if hasattr(feature, "step")]
    return sys.modules[step.__module__]


def decoded(pipeline: Pipeline, events: list[dict[str, Any]]) -> EventColumns:
    found = EventDecoder(pipeline.events).decode([msgspec.json.encode(event) for event in events])
    assert found.bad == []
    return found.columns


def features_of(pipeline: Pipeline, events: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return feature name -> its value for each event."""
    matrix = compute_features(pipeline, decoded(pipeline, events))
    names = compile_plan(pipeline).feature_names
    return {name: matrix[:, at].tolist() for at, name in enumerate(names)}


def test_every_example_is_tested_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*PIPELINES, "agents_beside.py"}


@pytest.mark.parametrize("name", PIPELINES)
def test_an_example_names_its_own_file_in_the_commands_that_it_shows(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert f"stream-infer topics create examples/{name}" in text
    assert f"stream-infer worker examples/{name}" in text
    assert compile_plan(loaded(name)).pipeline.model is None


def test_the_machines_example_tells_each_machine_s_last_day() -> None:
    readings = [
        {"reading_id": f"r{at}", "taken_at": START_MS + hours * HOUR_MS, "machine_id": machine}
        | {"temperature": temperature}
        for at, (hours, machine, temperature) in enumerate(
            [(0, "a", 20.5), (1, "a", 21.5), (1, "b", -3.25), (25, "a", 30.0), (26, "b", -2.75)]
        )
    ]
    found = features_of(loaded("machines.py"), readings)
    assert found["temperature"] == [20.5, 21.5, -3.25, 30.0, -2.75]
    assert found["readings_1h"] == [1, 1, 1, 1, 1]  # an hour ago lies just outside of (t-1h, t]
    assert found["readings_24h"] == [1, 2, 1, 1, 1]
    assert found["mean_24h"] == [20.5, 21.0, -3.25, 30.0, -2.75]
    assert found["max_24h"] == [20.5, 21.5, -3.25, 30.0, -2.75]
    assert found["std_24h"] == [0.0, pytest.approx(0.5**0.5), 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(found["last_temperature"], [np.nan, 20.5, np.nan, 21.5, -3.25])
    np.testing.assert_array_equal(
        found["seconds_since_last"], [np.nan, 3600, np.nan, 24 * 3600, 25 * 3600]
    )


def payment(at: int, day: float, amount: float, customer: str = "c-1") -> dict[str, Any]:
    return {
        "transaction_id": f"t{at}",
        "event_time": START_MS + int(day * DAY_MS),
        "customer_id": customer,
        "terminal_id": "m-1",
        "amount": amount,
    }


def test_the_custom_step_calls_an_amount_far_above_the_mean_an_outlier() -> None:
    amounts = [10.0, 10.0, 10.0, 40.0, 10.0, 35.0]
    payments = [payment(at, at, amount) for at, amount in enumerate(amounts)]
    payments.append(payment(len(amounts), 10.5, 10.0))
    found = features_of(loaded("custom_step.py"), payments)
    # The outlier counts as 30 in the mean: (10 + 10 + 10 + 30) / 4 = 15, then 14, ...
    assert found["amount_over_mean"][:6] == [1.0, 1.0, 1.0, 4.0, 10 / 15, 35 / 14]
    assert found["outliers_7d"] == [0, 0, 0, 1, 1, 1, 0]
    assert found["transactions_1d"] == [1] * 7
    assert found["transactions_7d"][-1] == 3


def test_the_custom_step_forgets_a_customer_who_was_away_for_long() -> None:
    days = [0.0, 1.0, 2.0, 3.0, 34.0]
    payments = [payment(at, day, 10.0) for at, day in enumerate(days)]
    payments.append(payment(9, 35.0, 1000.0))
    assert features_of(loaded("custom_step.py"), payments)["amount_over_mean"][-1] == 1.0
    regular = [payment(at, float(at), 10.0) for at in range(5)] + [payment(9, 5.0, 1000.0)]
    assert features_of(loaded("custom_step.py"), regular)["amount_over_mean"][-1] == 100.0


def _zeroed(record: np.dtype[Any]) -> SimpleNamespace:
    assert record.names is not None
    return SimpleNamespace(**{name: np.zeros(1, record)[name][0] for name in record.names})


def test_the_custom_step_is_the_same_python_that_the_file_shows() -> None:
    """Compiled over columns, batch by batch, it answers as its source does event by event."""
    pipeline = loaded("custom_step.py")
    module = defined_with(pipeline)
    world = World(seed=3, customers=40, terminals=20, days=40, start_ms=START_MS)
    columns = transaction_columns(generate(world))
    found = compute_features(pipeline, columns)[:, -2:]
    records: dict[str, SimpleNamespace] = {}
    out = np.empty(2)
    for row, customer in enumerate(columns.entities["customer_id"]):
        record = records.setdefault(customer, _zeroed(module.HABIT))
        amount = columns.values["amount"][row : row + 1] / 100.0
        module.outlier_step.py_func(record, int(columns.event_time[row]), amount, out)
        np.testing.assert_array_equal(found[row], out)
    assert found[:, 0].max() > module.OUTLIER
    assert found[:, 1].max() >= 1


_BESIDE = """\
import dataclasses
import stream_infer.pipelines.fraud as home

fraud = home.pipeline
home.pipeline = dataclasses.replace(
    fraud,
    name={name!r},
    events=dataclasses.replace(fraud.events, topic={events!r}),
    labels=dataclasses.replace(fraud.labels, topic={labels!r}),
    scored={scored!r},
    alerts=dataclasses.replace(fraud.alerts, topic={alerts!r}),
)
from examples.agents_beside import app  # noqa: E402
"""


def _start(folder: Path, bootstrap: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "faust", "-A", "beside:app", "--datadir", str(folder / "data")]
    path = os.pathsep.join([str(ROOT), str(folder)])
    with log.open("wb") as output:
        return subprocess.Popen(
            # Faust's own port may be somebody else's on this machine.
            [*command, "worker", "--without-web"],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": path, "STREAM_INFER_BOOTSTRAP": bootstrap},
        )


@asynccontextmanager
async def faust_worker(folder: Path, bootstrap: str, pipeline: Pipeline) -> AsyncIterator[Path]:
    """Run ``faust -A ... worker`` on the example, on topics that no other test uses."""
    labels = pipeline.labels
    assert labels is not None
    assert pipeline.alerts is not None
    (folder / "beside.py").write_text(
        _BESIDE.format(
            name=pipeline.name,
            events=pipeline.events.topic,
            labels=labels.topic,
            scored=pipeline.scored,
            alerts=pipeline.alerts.topic,
        )
    )
    log = folder / "faust.log"
    process = _start(folder, bootstrap, log)
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 60)
        assert process.returncode == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def declined(log: Path) -> set[str]:
    """Return the transactions that the example printed, each on one line of Faust's log."""
    return set(re.findall(r"\] declined (t\d+)\s*$", log.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.kafka
async def test_an_ordinary_agent_sees_what_the_stages_beside_it_score(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=2)
    habits = [payment(at, at / 4, 10.0, f"c-{at % 5}") for at in range(200)]
    frauds = [payment(1000 + at, 50.5, 500.0, f"c-{at}") for at in range(5)]
    async with topic_sender(Connection(bootstrap=kafka), pipeline.events.topic) as sender:
        await sender.send(
            [event["customer_id"] for event in habits + frauds],
            [msgspec.json.encode(event) for event in habits + frauds],
        )
    async with (
        faust_worker(tmp_path, kafka, pipeline) as log,
        GroupProgress(kafka, pipeline) as progress,
    ):
        await until(progress.caught_up)
        await until(lambda: declined(log) >= {f"t{1000 + at}" for at in range(5)})
    assert declined(log) == {f"t{1000 + at}" for at in range(5)}
