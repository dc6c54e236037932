"""A worker serves a pipeline over a secured connection, and nothing that it says holds a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream_infer.kafka.acls import role_acls
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.granting import grant
from stream_infer.kafka.sending import topic_sender
from support.commands import run_command
from support.kafka import aread_all
from support.load import make_load, send_labels, send_transactions
from support.pipelines import own_pipeline, written
from support.secure_kafka import KEY_PASSWORD, PASSWORD, SecureKafka
from support.worker import COMMAND, WorkerProcess, make_topics, settle

pytestmark = pytest.mark.kafka

PLENTY = ("--log-level", "debug", "--log-format", "json")
PREFIX = "STREAM_INFER_SECURITY__"


def variables(kafka: SecureKafka, way: str) -> dict[str, str]:
    """Return the environment of a worker that proves itself by a password or a certificate."""
    if way == "SCRAM":
        return kafka.environment("worker")
    return kafka.certified_environment("certified-worker")


def without_secrets(*texts: str) -> None:
    for text in texts:
        assert PASSWORD not in text, text
        assert KEY_PASSWORD not in text, text


@pytest.mark.parametrize(
    ("way", "principal"), [("SCRAM", "User:worker"), ("certificate", "User:CN=certified-worker")]
)
async def test_a_worker_with_its_role_s_rights_does_all_its_work(
    secured: SecureKafka,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
    principal: str,
) -> None:
    pipeline, load = own_pipeline(), make_load(days=5, customers=80)
    file = written(pipeline, tmp_path)
    await make_topics(secured.open_bootstrap, pipeline, partitions=2)
    rights = [(principal, acl) for acl in role_acls(pipeline, ["worker"])]
    await grant(secured.open(), rights)
    await send_labels(secured.open_bootstrap, pipeline, load.labels)
    await send_transactions(secured.open_bootstrap, pipeline, load.transactions)
    environment = variables(secured, way)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    worker = WorkerProcess(file, environment["STREAM_INFER_BOOTSTRAP"], *PLENTY, command=COMMAND)
    try:
        await settle(secured.open_bootstrap, pipeline, worker.alive)
        assert await worker.stop() == 0, worker.log
    finally:
        worker.kill()
    assert "Traceback" not in worker.log
    scored = await aread_all(secured.open_bootstrap, pipeline.scored)
    assert len(scored) == len(load)
    without_secrets(worker.log, *(json.dumps(str(record)) for record in scored[:3]))


@pytest.mark.parametrize(
    ("changes", "code", "cause"),
    [
        ({"STREAM_INFER_SASL_PASSWORD": "wrong-horse-9912"}, 1, "user or password is wrong"),
        ({f"{PREFIX}USER": "nobody"}, 1, "denies this user the topic"),
    ],
)
async def test_a_worker_that_is_not_let_in_says_why_in_two_lines(
    secured: SecureKafka,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, str],
    code: int,
    cause: str,
) -> None:
    file = written(own_pipeline(), tmp_path)
    for name, value in (secured.environment("worker") | changes).items():
        monkeypatch.setenv(name, value)
    worker = WorkerProcess(file, secured.addresses["SASL_SSL"], *PLENTY, command=COMMAND)
    try:
        assert await worker.exit_code() == code, worker.log
    finally:
        worker.kill()
    assert cause in worker.log
    assert "fix:" in worker.log
    assert "Traceback" not in worker.log
    without_secrets(worker.log)
    assert "wrong-horse-9912" not in worker.log


def test_no_command_says_a_secret(
    secured: SecureKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    environment = secured.environment("operator")
    del environment["STREAM_INFER_SASL_PASSWORD"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = written(own_pipeline(), tmp_path)
    flag = ("--password-file", secret)
    commands: tuple[tuple[object, ...], ...] = (
        ("check", file, *flag, "--json"),
        ("check", file, *flag),
        ("doctor", file, *flag, "--json"),
        ("topics", "describe", file, *flag, "--json"),
        ("acls", "show", file, *flag, "--json"),
        ("tail", "nothing-here", *flag),
    )
    for words in commands:
        ran = run_command(*words)
        without_secrets(ran.out, ran.err)
    monkeypatch.setenv("STREAM_INFER_SASL_PASSWORD", PASSWORD)
    for words in (
        ("config", "show", "--origin"),
        ("config", "show", "--json"),
        ("config", "check"),
    ):
        ran = run_command(*words)
        assert ran.code == 0, ran.err
        without_secrets(ran.out, ran.err)


async def test_a_sender_s_connection_is_the_user_s(secured: SecureKafka) -> None:
    pipeline = own_pipeline()
    await make_topics(secured.open_bootstrap, pipeline, partitions=1)
    await grant(
        secured.open(), [("User:producer", acl) for acl in role_acls(pipeline, ["producer"])]
    )
    connection: Connection = secured.user("producer")
    async with topic_sender(connection, pipeline.events.topic):
        pass
