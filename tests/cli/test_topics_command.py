from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.pipeline import Pipeline
from support.commands import Ran, run_command
from support.kafka import create_topics
from support.pipelines import own_pipeline, written


@pytest.fixture
def pipeline() -> Pipeline:
    return own_pipeline()


@pytest.fixture
def topics(kafka: str, pipeline: Pipeline, tmp_path: Path) -> Topics:
    return Topics(kafka, str(written(pipeline, tmp_path)))


class Topics:
    def __init__(self, bootstrap: str, file: str) -> None:
        self._bootstrap, self._file = bootstrap, file

    def __call__(self, word: str, *options: str) -> Ran:
        return run_command("topics", word, self._file, "--bootstrap", self._bootstrap, *options)


def test_create_makes_topics_once(topics: Topics, pipeline: Pipeline) -> None:
    first = topics("create", "--json")
    assert first.code == 0
    results = {item["name"]: item["result"] for item in first.json["topics"]}
    assert results[pipeline.events.topic] == "created"
    again = topics("create", "--json")
    assert {item["result"] for item in again.json["topics"]} == {"exists"}


def test_create_with_another_partition_count_exits_4_and_changes_nothing(topics: Topics) -> None:
    topics("create", "--partitions", "2")
    ran = topics("create", "--partitions", "3", "--json")
    assert ran.code == 4
    assert ran.json["error"]["code"] == "wrong_partition_count"
    assert "--partitions 2" in ran.json["error"]["fix"]


def test_describe_shows_topics_without_findings(topics: Topics, pipeline: Pipeline) -> None:
    topics("create")
    ran = topics("describe", "--json")
    assert ran.code == 0
    assert ran.json["findings"] == []
    described = {item["topic"]: item for item in ran.json["topics"]}
    assert described[pipeline.events.topic]["partitions"] == 4
    assert pipeline.events.topic in topics("describe").out


def test_describe_of_missing_topics_exits_3_and_names_the_fix(topics: Topics) -> None:
    ran = topics("describe")
    assert ran.code == 3
    assert "stream-infer topics create" in ran.err


def test_describe_of_a_short_retention_inside_exits_4(
    topics: Topics, pipeline: Pipeline, kafka: str
) -> None:
    create_topics(kafka, {f"{pipeline.name}.by-terminal": 4}, {"retention.ms": "1000"})
    topics("create")
    ran = topics("describe", "--json")
    assert ran.code == 4
    assert "retention_too_short" in {finding["code"] for finding in ran.json["findings"]}


def test_schema_needs_no_kafka_and_covers_every_topic() -> None:
    ran = run_command("topics", "schema", "fraud")
    assert ran.code == 0
    assert set(ran.json) == {
        "transactions",
        "fraud-labels",
        "fraud.by-terminal",
        "scored-transactions",
        "fraud-lists",
        "fraud.candidates",
        "alerts-fraud",
        "alerts-fraud-current",
        "dead-letters",
        "late-events",
        "fraud-skips",
        "fraud-progress",
        "fraud-models",
        "shadow-scores",
        "model-evidence",
        "fraud-guard",
        "operations-alerts",
    }
    one = run_command("topics", "schema", "fraud", "--topic", "transactions")
    assert one.json == ran.json["transactions"]
    assert run_command("topics", "schema", "fraud", "--topic", "nope").code == 3


def test_the_topics_of_a_re_keyed_input_are_described_with_the_flag_that_made_them(
    topics: Topics, pipeline: Pipeline
) -> None:
    topics("create", "--partitioning", "rekey")
    ran = topics("describe", "--partitioning", "rekey", "--json")
    assert ran.code == 0
    assert f"{pipeline.name}.by-customer" in {item["topic"] for item in ran.json["topics"]}


def test_schemas_are_of_what_a_worker_told_the_same_reads_and_writes(tmp_path: Path) -> None:
    def scored(*options: object) -> dict[str, object]:
        schema = run_command("topics", "schema", *options).json
        return dict(schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]["properties"])

    of_fraud = ("fraud", "--topic", "scored-transactions")
    assert "features" not in scored(*of_fraud)
    assert "features" in scored(*of_fraud, "--publish-features")
    config = tmp_path / "worker.toml"
    config.write_text("[worker]\npublish_features = true\n[fields]\namount = 'payment.amount'\n")
    assert "features" in scored(*of_fraud, "--config", config)
    assert "payment" in scored("fraud", "--topic", "transactions", "--config", config)
    rekeyed = run_command("topics", "schema", "fraud", "--partitioning", "rekey").json
    assert "fraud.by-customer" in rekeyed


def test_the_scored_events_of_a_pipeline_without_a_model_name_its_features() -> None:
    machines = Path(__file__).parents[2] / "examples" / "machines.py"
    schema = run_command("topics", "schema", machines, "--topic", "machine-features").json
    assert "seconds_since_last" in schema["$defs"]["Features"]["properties"]


def test_an_unreachable_kafka_exits_1_without_a_traceback() -> None:
    for command in (["topics", "create", "fraud"], ["topics", "describe", "fraud"]):
        ran = run_command(*command, "--bootstrap", "127.0.0.1:1")
        assert ran.code == 1
        assert "Nothing listens at 127.0.0.1:1" in ran.err
        assert "Traceback" not in ran.err + ran.out
