"""A worker with its role's rights tries a challenger on labels; without a trial's it says so."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.events.topic_names import (
    MODEL_EVIDENCE,
    SHADOW_SCORES,
    guard_topic,
    models_topic,
)
from stream_infer.guarding.latest import read_latest
from stream_infer.kafka.acls import role_acls
from stream_infer.kafka.granting import grant
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import pipeline as traffic
from stream_infer.registry.control import what_serves
from stream_infer.registry.control_topic import read_told, tell
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import Thresholds, read_manifest
from support.commands import run_command
from support.kafka import aread_all
from support.load import make_load, send_labels, send_transactions
from support.onnx_models import logistic_model
from support.pipelines import own_pipeline, written
from support.secure_kafka import SecureKafka
from support.worker import COMMAND, WorkerProcess, make_topics, settle, until

LOAD = make_load(days=20, customers=40, terminals=20)
SOME = LOAD.labels.take(slice(0, len(LOAD) // 4))
LABELS_MIN = len(LOAD) // 2
TRIAL = b"fraud/trial"


# -- what is granted ----------------------------------------------------------------------------


def readable(pipeline: Pipeline, *, trial: bool) -> set[str]:
    acls = role_acls(pipeline, ["worker"], trial=trial)
    return {acl.name for acl in acls if acl.resource == "topic" and "Read" in acl.operations}


def test_a_trial_lets_a_worker_read_what_it_compares_and_nothing_more() -> None:
    more = readable(fraud, trial=True) - readable(fraud, trial=False)
    assert more == {fraud.scored, SHADOW_SCORES}


def test_where_no_version_is_tried_no_result_is_read() -> None:
    assert readable(traffic, trial=True) == readable(traffic, trial=False)


@pytest.mark.parametrize(("word", "reads"), [("off", False), ("watch", True), ("promote", True)])
def test_the_shown_rules_go_by_whether_the_settings_ask_for_a_trial(
    monkeypatch: pytest.MonkeyPatch, word: str, *, reads: bool
) -> None:
    monkeypatch.setenv("STREAM_INFER_MODEL__TRIAL", word)
    rows = run_command("acls", "show", "fraud", "--role", "worker", "--json").json["acls"]
    [scored] = [row for row in rows if row["name"] == fraud.scored]
    assert ("Read" in scored["operations"]) is reads


# -- what Kafka makes of it ---------------------------------------------------------------------


def registry_in(folder: Path) -> Registry:
    """Return a registry with version 1, which says one half of all, and 2, which knows better.

    2 is on trial, and scores beside. Neither alerts on anything, so nobody moves it but the trial.
    """
    registry = Registry.open(folder)
    shipped = read_manifest(ready_model_dir("fraud"))
    weights = np.zeros((len(shipped.features), 1), np.float32)
    for version in ("1", "2"):
        content = logistic_model(weights=weights)
        manifest = msgspec.structs.replace(
            shipped,
            version=version,
            sha256=hashlib.sha256(content).hexdigest(),
            thresholds=Thresholds(review=0.8, decline=0.9),
            reference=None,
        )
        registry.publish(content, manifest)
        weights[shipped.features.index("TX_AMOUNT")] = -0.1
    registry.promote("fraud", "1")
    registry.assign("fraud", "challenger", "2")
    registry.assign("fraud", "shadow", "2")
    return registry


async def on_trial(
    secured: SecureKafka, pipeline: Pipeline, user: str, registry: Registry, *, trial: bool
) -> None:
    """Make the topics, grant a user a worker's rights and no other, and say what is to be tried."""
    await make_topics(secured.open_bootstrap, pipeline, partitions=2)
    rights = role_acls(pipeline, ["worker"], trial=trial)
    await grant(secured.open(), [(f"User:CN={user}", acl) for acl in rights])
    told = what_serves(registry, "fraud")
    assert told is not None
    await tell(secured.open(), models_topic(pipeline) or "", told)


def started(
    secured: SecureKafka, file: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> WorkerProcess:
    environment = secured.certified_environment(user) | {
        "STREAM_INFER_MODEL__REGISTRY": str(file.with_name("registry")),
        "STREAM_INFER_MODEL__TRIAL": "promote",
        "STREAM_INFER_MODEL__TRIAL_LABELS_MIN": str(LABELS_MIN),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return WorkerProcess(
        file, environment["STREAM_INFER_BOOTSTRAP"], "--web-port", "off", command=COMMAND
    )


pytestmark = pytest.mark.kafka


async def test_a_worker_with_its_role_s_rights_brings_a_trial_to_its_end(
    secured: SecureKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipeline, user = own_pipeline(), "trying-worker"
    registry = registry_in(tmp_path / "registry")
    await on_trial(secured, pipeline, user, registry, trial=True)
    worker = started(secured, written(pipeline, tmp_path), user, monkeypatch)
    try:
        await worker.says("trial_begins")
        await send_transactions(secured.open_bootstrap, pipeline, LOAD.transactions)
        await settle(secured.open_bootstrap, pipeline, worker.alive)

        # A label that is read before its scores is lost to the trial, so each comes again.
        async def is_written_down() -> bool:
            await send_labels(secured.open_bootstrap, pipeline, SOME)
            word = (await read_latest(secured.open(), guard_topic(pipeline) or "")).get(TRIAL)
            return word is not None and msgspec.json.decode(word)["steps"] > 0

        async def is_promoted() -> bool:
            await send_labels(secured.open_bootstrap, pipeline, LOAD.labels)
            await asyncio.sleep(0.3)
            return registry.standing("fraud").champion == "2"

        await until(is_written_down, alive=worker.alive)
        await until(is_promoted, alive=worker.alive)
        last = registry.history("fraud")[-1]
        assert (last.action, last.automatic) == ("promote", True)
        topic = models_topic(pipeline) or ""

        async def is_told() -> bool:
            told = await read_told(secured.open(), topic, "fraud")
            return told is not None and told.served["champion"].version == "2"

        await until(is_told, alive=worker.alive)
        assert await worker.stop() == 0, worker.log
    finally:
        worker.kill()
    assert "denies" not in worker.log, worker.log
    assert "Traceback" not in worker.log
    # What a missing right keeps out is not always warned of, so all that is written is looked for.
    mine = f"{pipeline.events.topic}-"
    shadows = await aread_all(secured.open_bootstrap, SHADOW_SCORES)
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    assert sum(decode(each.value or b"")["event_id"].startswith(mine) for each in shadows) == len(
        LOAD
    )
    evidence = await aread_all(secured.open_bootstrap, MODEL_EVIDENCE)
    assert {each.key for each in evidence} >= {f"{pipeline.name}:{n}".encode() for n in "12"}


async def test_without_the_rights_of_a_trial_a_worker_names_the_topic_and_goes_on(
    secured: SecureKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipeline, user = own_pipeline(), "untrying-worker"
    registry = registry_in(tmp_path / "registry")
    await on_trial(secured, pipeline, user, registry, trial=False)
    worker = started(secured, written(pipeline, tmp_path), user, monkeypatch)
    try:
        await worker.says("trial_not_fed")
        await send_transactions(secured.open_bootstrap, pipeline, LOAD.transactions)
        await settle(secured.open_bootstrap, pipeline, worker.alive)
        assert await worker.stop() == 0, worker.log
    finally:
        worker.kill()
    # Both are denied, and Kafka tells of either first.
    denied = [pipeline.scored, SHADOW_SCORES]
    assert any(f"denies this user the topic {topic}" in worker.log for topic in denied), worker.log
    assert "acls show" in worker.log
    assert "Traceback" not in worker.log
