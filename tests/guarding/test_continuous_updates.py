"""From training to serving and back, without a person: what docs/continuous-updates.md tells of.

Payments of a generated world with delayed labels go through a real Kafka. Three versions are
trained by the command line: 1 of few days, 2 of more days, and 3 of a file whose amounts were in
cents. The second is made smaller; what is left of it, 4, wins its trial. The third is taken off,
and rolled back when somebody promotes it all the same.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stream_infer.alerts.wire import Alert, decode_alert
from stream_infer.events.evidence import decode_evidence
from stream_infer.events.topic_names import MODEL_EVIDENCE, OPERATIONS_ALERTS
from stream_infer.guarding.latest import read_latest
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.registry.registry import Registry
from stream_infer.settings.model import ModelSettings
from stream_infer.settings.worker import WorkerSettings
from stream_infer.simulators.fraud import DAY_MS, Transactions, World, generate
from stream_infer.training import candidates
from stream_infer.worker import Worker
from support.commands import Ran, run_command
from support.kafka import aread_all
from support.load import read_scored, send_labels, send_transactions
from support.pipelines import own_pipeline, written
from support.worker import Serving, make_topics, until

pytestmark = pytest.mark.kafka

WORLD = World(
    seed=5, customers=400, terminals=200, days=44, terminals_lost=0.0015, cards_lost=0.0015
)
PAYMENTS = generate(WORLD)
TRIAL_DAY = 30
"""The trial begins then; its labels come six days after each payment."""
FIELDS = "transaction_id=id,event_time=at:ms,customer_id=who,terminal_id=where,amount={}"
TEST = "2026-01-31..2026-02-05"
DATA = "payments.parquet"
FEW, MANY = "2026-01-12..2026-01-19", "2026-01-12..2026-01-23"


def labelled(folder: Path, amounts: str = "euros") -> tuple[object, ...]:
    """Return the options that name the file of payments."""
    fields = FIELDS.format(amounts)
    return (
        *("--data", folder / DATA, "--fields", fields),
        *("--labels", "fraud", "--pipeline", "fraud"),
    )


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a registry with versions 1 (few days), 2 (more days) and 3 (amounts in cents)."""
    trees = {"trees": 160, "leaves": 15, "rate": 0.08, "inputs": 0.5, "weight": 1}
    monkeypatch.setitem(candidates.DECLARED, "trees", (trees,))
    monkeypatch.setitem(candidates.DECLARED, "logistic", candidates.DECLARED["logistic"][:1])
    where = tmp_path / "registry"
    pl.DataFrame(
        {
            "id": [f"t-{n}" for n in range(len(PAYMENTS))],
            "at": PAYMENTS.event_time,
            "who": PAYMENTS.customer,
            "where": PAYMENTS.terminal,
            "euros": PAYMENTS.amount_cents / 100,
            "cents": PAYMENTS.amount_cents.astype(np.float64),
            "fraud": PAYMENTS.fraud > 0,
        }
    ).write_parquet(tmp_path / DATA)
    for amounts, days, kind in (
        ("euros", FEW, "logistic"),
        ("euros", MANY, "trees"),
        ("cents", MANY, "trees"),
    ):
        ran = run_command(
            *("train", "fraud", *labelled(tmp_path, amounts), "--train", days, "--test", TEST),
            *("--kinds", kind, "--budget", "0.02", "--threads", "1", "--out", tmp_path / "models"),
            *("--registry", where, "--json"),
        )
        assert ran.code == 0, ran.err
    return where


class Updating:
    """A worker that serves what the registry says, and whoever commands the registry."""

    def __init__(self, kafka: str, pipeline: Pipeline, folder: Path, registry: Path) -> None:
        self.kafka, self.pipeline = kafka, pipeline
        self.reference = written(pipeline, folder)
        self.where = registry
        self.registry = Registry.open(registry)
        worker = Worker(
            pipeline,
            Connection(bootstrap=kafka),
            WorkerSettings(align_wait_max_ms=None),
            registry=Registry.open(registry),
            cache=folder / "cache",
            versions=ModelSettings(trial="promote"),
        )
        self.worker, self.serving = worker, Serving(kafka, worker)

    async def command(self, *words: object) -> Ran:
        """Run a command that ends well."""
        ran = await asyncio.to_thread(run_command, *words, "--registry", self.where)
        assert ran.code == 0, ran.err
        return ran

    async def models(self, verb: str, *words: object, why: str) -> None:
        """Move an alias by the command line, and tell the workers."""
        await self.command(
            *("models", verb, "fraud", *words, "--why", why),
            *("--pipeline", self.reference, "--bootstrap", self.kafka),
        )

    async def serves(self, **versions: str) -> None:
        """Wait until these aliases serve, and no others of a trial."""

        def met() -> bool:
            facts = None if self.worker.app is None else self.worker.app.model_facts()
            return facts is not None and dict(facts.serves) == versions

        await until(met, alive=self.serving.alive)

    async def send(self, payments: Transactions) -> None:
        await send_transactions(self.kafka, self.pipeline, payments)

    async def alert(self, version: str, status: str) -> Alert:
        """Wait for an operations alert about a version of ours, and return it."""
        found: list[Alert] = []

        async def met() -> bool:
            newest = await read_latest(Connection(bootstrap=self.kafka), OPERATIONS_ALERTS)
            alerts = [decode_alert(value) for value in newest.values()]
            found[:] = [
                each
                for each in alerts
                if (each.pipeline, each.version) == (self.pipeline.name, version)
                and each.status == status
            ]
            return bool(found)

        await until(met, alive=self.serving.alive)
        return max(found, key=lambda each: each.opened_time)


@asynccontextmanager
async def updating(kafka: str, folder: Path, registry: Path) -> AsyncIterator[Updating]:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 2)
    Registry.open(registry).promote("fraud", "1")
    running = Updating(kafka, pipeline, folder, registry)
    try:
        yield running
    finally:
        if not running.serving._task.done():
            await running.serving.stop()


def days_of(rows: Transactions, first: int, last: int, times: Any) -> Transactions:
    day = (times - WORLD.start_ms) // DAY_MS
    return rows.take(np.flatnonzero((day >= first) & (day < last)))


def later_payments() -> AsyncIterator[Transactions]:
    """Return payments of later days, forty at a time, for as long as somebody asks."""

    async def go() -> AsyncIterator[Transactions]:
        for n in itertools.count():
            day = dataclasses.replace(
                WORLD,
                seed=100 + n,
                days=1,
                start_ms=WORLD.start_ms + (WORLD.days + n) * DAY_MS,
                id_prefix=f"later{n}-",
            )
            payments = generate(day)
            for start in range(0, len(payments) - 40, 40):
                yield payments.take(slice(start, start + 40))

    return go()


async def test_a_better_version_is_promoted_and_a_bad_one_is_gone_before_anybody_looked(
    kafka: str, tmp_path: Path, registry: Path
) -> None:
    labels = PAYMENTS.by_label_time()
    label_times = np.asarray(labels.label_time)
    async with updating(kafka, tmp_path, registry) as running:
        # -- as usual: version 1 alone, with all labels that are known by then --------------------
        await running.serves(champion="1")
        await running.send(days_of(PAYMENTS, 0, TRIAL_DAY, PAYMENTS.event_time))
        await send_labels(kafka, running.pipeline, days_of(labels, 0, TRIAL_DAY, label_times))
        await running.serving.settle()

        # -- half of version 2 is published as the challenger ------------------------------------
        told = await running.command(
            "evaluate", "fraud@2", *labelled(tmp_path), "--test", TEST, "--json"
        )
        assert told.json["average_precision"] > 0.4
        await running.command(
            *("optimize", "fraud@2", *labelled(tmp_path), "--only", "half-trees", "--publish"),
            *("--drop-max", "0.2", "--flips-max", "0.9", "--threads", "1", "--out", tmp_path / "o"),
        )
        assert running.registry.standing("fraud").aliases["challenger"] == "4"

        # -- it tries a tenth of the keys, and scores beside on all ------------------------------
        await running.models("assign", "challenger", "4", "--share", "0.1", why="half of 2")
        await running.models("assign", "shadow", "4", why="compared event by event")
        await running.serves(champion="1", challenger="4", shadow="4")
        await running.send(days_of(PAYMENTS, TRIAL_DAY, 44, PAYMENTS.event_time))
        await running.serving.settle()
        assert running.registry.standing("fraud").champion == "1"
        await send_labels(kafka, running.pipeline, days_of(labels, TRIAL_DAY, 99, label_times))
        await running.serves(champion="4")
        entry = running.registry.history("fraud")[-1]
        assert (entry.action, entry.automatic) == ("promote", True)
        assert "labelled events" in entry.why
        assert "below that of 1, on the same events" in entry.why
        assert running.registry.standing("fraud").aliases == {"champion": "4", "previous": "1"}

        # -- a bad challenger: version 3 ---------------------------------------------------------
        later = later_payments()

        async def until_it_is_gone() -> None:
            async def gone() -> bool:
                await running.send(await anext(later))
                await asyncio.sleep(0.2)
                return "3" in running.registry.standing("fraud").barred

            await until(gone, alive=running.serving.alive)
            await running.serves(champion="4")

        await running.models("assign", "challenger", "3", "--share", "0.5", why="as good offline")
        await running.serves(champion="4", challenger="3")
        await until_it_is_gone()
        alert = await running.alert("3", "open")
        assert (alert.kind, alert.severity) == ("challenger_rejected", "high")

        # -- somebody believes in it: it becomes champion, and is rolled back --------------------
        await running.models("clear", "3", why="it must have been the day")
        assert (await running.alert("3", "cleared")).alert_id == alert.alert_id
        await running.models("promote", "3", why="it is as good offline")
        await running.serves(champion="3")
        await until_it_is_gone()
        last = running.registry.history("fraud")[-1]
        assert (last.action, last.automatic, last.barred) == ("rollback", True, "3")
        second = await running.alert("3", "open")
        assert (second.kind, second.severity) == ("model_moved_back", "critical")
        assert second.alert_id != alert.alert_id
        assert last.why in second.text

        # -- every payment was scored once, by the version that served ---------------------------
        await running.serving.settle()
        scored = await read_scored(kafka, running.pipeline)
        assert scored.doubles() == 0
        first = [event["version"] for event in scored.events if event["event_time"] < _trial_ms()]
        assert set(first) == {"1"}
        assert {event["version"] for event in scored.events} == {"1", "3", "4"}
        seen = [
            decode_evidence(each.value or b"") for each in await aread_all(kafka, MODEL_EVIDENCE)
        ]
        ours = [each for each in seen if each.pipeline == running.pipeline.name]
        assert {"1", "3", "4"} <= {each.version for each in ours}
        assert all(set(each.features) for each in ours if each.rows)


def _trial_ms() -> int:
    return WORLD.start_ms + TRIAL_DAY * DAY_MS
