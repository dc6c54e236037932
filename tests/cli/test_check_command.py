from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics
from stream_infer.pipeline import Pipeline
from support.commands import Ran, run_command
from support.kafka import acreate_topics, produce
from support.pipelines import own_pipeline, written

GOOD = b'{"transaction_id":"t","event_time":1,"customer_id":"c","terminal_id":"m","amount":1}'
PLACE_OF_C = 2
"""Where murmur2 puts the customer ``c`` among four partitions."""


class Checked:
    def __init__(self, ran: Ran) -> None:
        self.code = ran.code
        self.ok = ran.json["ok"]
        self.status = {check["name"]: check["status"] for check in ran.json["checks"]}
        self.fix = {check["name"]: check["fix"] for check in ran.json["checks"]}


class Subject:
    def __init__(self, bootstrap: str, pipeline: Pipeline, folder: Path) -> None:
        self.bootstrap, self.pipeline = bootstrap, pipeline
        self.file = str(written(pipeline, folder))

    def check(self, *options: str) -> Checked:
        return Checked(
            run_command("check", self.file, "--bootstrap", self.bootstrap, "--json", *options)
        )

    def create(self) -> None:
        asyncio.run(create_topics(Connection(bootstrap=self.bootstrap), self.pipeline))

    def send(self, value: bytes, partition: int) -> None:
        produce(self.bootstrap, self.pipeline.events.topic, [(None, value, partition, ())])


@pytest.fixture
def subject(kafka: str, tmp_path: Path) -> Subject:
    return Subject(kafka, own_pipeline(), tmp_path)


def test_all_is_well_with_topics_a_model_and_rightly_placed_records(subject: Subject) -> None:
    subject.create()
    subject.send(GOOD, PLACE_OF_C)
    checked = subject.check()
    assert (checked.code, checked.ok) == (0, True)
    assert checked.status == dict.fromkeys(
        ["configuration", "pipeline", "fields", "model", "kafka", "topics", "partitioning"], "ok"
    )
    assert not any(checked.fix.values())


def test_nothing_to_look_at_is_skipped_and_not_passed(subject: Subject) -> None:
    subject.create()
    assert subject.check().status["partitioning"] == "skipped"


def test_missing_topics_fail_with_the_command_that_makes_them(subject: Subject) -> None:
    checked = subject.check()
    assert (checked.code, checked.status["topics"]) == (1, "failed")
    assert "stream-infer topics create" in checked.fix["topics"]
    assert checked.status["partitioning"] == "skipped"


def test_local_checks_are_made_with_kafka_down(subject: Subject) -> None:
    checked = subject.check("--bootstrap", "127.0.0.1:1")
    assert (checked.code, checked.ok) == (1, False)
    assert checked.status["kafka"] == "failed"
    assert checked.status["model"] == "ok"
    assert (checked.status["topics"], checked.status["partitioning"]) == ("skipped", "skipped")


def test_records_in_another_partition_than_their_entity_s_fail(subject: Subject) -> None:
    subject.create()
    subject.send(GOOD, (PLACE_OF_C + 1) % 4)
    checked = subject.check()
    assert checked.status["partitioning"] == "failed"
    assert "rekey" in checked.fix["partitioning"]


@pytest.mark.parametrize("by", ["setting", "flag"])
def test_misplaced_records_are_no_matter_to_a_worker_that_re_keys(
    subject: Subject, tmp_path: Path, by: str
) -> None:
    rekeyed = subject.pipeline.with_partitioning("rekey")
    asyncio.run(create_topics(Connection(bootstrap=subject.bootstrap), rekeyed))
    subject.send(GOOD, (PLACE_OF_C + 1) % 4)
    config = tmp_path / "rekey.toml"
    config.write_text('[worker]\npartitioning = "rekey"\n')
    options = {"setting": ("--config", str(config)), "flag": ("--partitioning", "rekey")}
    assert subject.check(*options[by]).status["partitioning"] == "ok"


def test_records_that_none_can_be_decoded_fail_and_point_at_the_mapping(subject: Subject) -> None:
    subject.create()
    subject.send(b'{"txn":1}', 0)
    checked = subject.check()
    assert checked.status["partitioning"] == "failed"
    assert "--fields" in checked.fix["partitioning"]


def test_a_mapping_of_the_labels_that_fits_nothing_fails(subject: Subject, tmp_path: Path) -> None:
    kafka_down = ("--bootstrap", "127.0.0.1:1")
    assert subject.check("--label-fields", "is_fraud=verdict", *kafka_down).status["fields"] == "ok"
    for by in (("--label-fields", "is_frod=verdict"), ("--config", tmp_path / "labels.toml")):
        (tmp_path / "labels.toml").write_text('[label_fields]\nis_frod = "verdict"\n')
        checked = subject.check(*map(str, by), *kafka_down)
        assert checked.status["fields"] == "failed"
        assert "is_fraud" in checked.fix["fields"]


def test_a_few_bad_records_are_a_warning(subject: Subject) -> None:
    subject.create()
    subject.send(GOOD, PLACE_OF_C)
    subject.send(b"broken", 0)
    checked = subject.check()
    assert (checked.code, checked.status["partitioning"]) == (0, "warning")


def test_a_short_retention_of_the_input_is_a_warning(subject: Subject) -> None:
    topic = subject.pipeline.events.topic
    asyncio.run(acreate_topics(subject.bootstrap, {topic: 4}, {"retention.ms": "1000"}))
    subject.create()
    checked = subject.check()
    assert checked.status[f"topic {topic}"] == "warning"
    assert checked.status["topics"] == "ok"


def test_a_model_of_other_features_fails(subject: Subject, tmp_path: Path) -> None:
    text = (
        Path(subject.file).read_text().replace("    fraud,\n", "    fraud,\n    lateness='2d',\n")
    )
    Path(subject.file).write_text(text)
    checked = subject.check()
    assert checked.status["model"] == "failed"
    assert checked.fix["model"]


def test_a_configuration_that_cannot_be_read_fails_alone(subject: Subject, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[wrker]\n")
    checked = subject.check("--config", str(config))
    assert checked.status["configuration"] == "failed"
    assert checked.status["pipeline"] == "ok"
    assert checked.status["kafka"] == "skipped"


def test_people_see_every_check_and_a_count(subject: Subject) -> None:
    ran = run_command("check", subject.file, "--bootstrap", "127.0.0.1:1")
    assert ran.code == 1
    assert "failed   kafka: Nothing listens at 127.0.0.1:1." in ran.out
    assert "1 failed, 2 skipped" in ran.out


def test_a_misspelt_sensitive_field_fails_and_names_those_that_there_are(
    subject: Subject, tmp_path: Path
) -> None:
    """It would be shown in clear for ever, and nobody would notice."""
    file = tmp_path / "misspelt.py"
    file.write_text(
        "import dataclasses\n"
        "from stream_infer.pipelines.fraud import pipeline as fraud\n"
        'events = dataclasses.replace(fraud.events, sensitive=("custmer_id",))\n'
        "pipeline = dataclasses.replace(fraud, events=events)\n"
    )
    subject.file = str(file)
    checked = subject.check()
    assert not checked.ok
    assert checked.status["pipeline"] == "failed"
    assert "customer_id" in checked.fix["pipeline"]
