"""``stream-infer check``: everything that must hold before a worker starts, one line each.

A check that cannot be made because another one failed is *skipped*, which is not
passed: local checks are made even when Kafka is down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stream_infer.cli.options import (
    fields_option,
    json_option,
    label_fields_option,
    partitioning_option,
    password_file_option,
)
from stream_infer.cli.output import print_json, run_client
from stream_infer.cli.serving import judge_model
from stream_infer.errors import StreamInferError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.features.plan import Plan
    from stream_infer.kafka.connection import Connection
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings

Status = Literal["ok", "warning", "failed", "skipped"]

SAMPLE_RECORDS_MAX = 200
"""Newest records of each input partition that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found; `fix` is empty where nothing needs mending."""

    name: str
    status: Status
    detail: str
    fix: str = ""


class Checklist:
    """Runs checks in order and keeps what they found; a check that raises has failed."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def make(self, name: str, check: Callable[[], tuple[str, Any]]) -> Any:
        """Run one check that returns (detail, result); return the result, None if it failed."""
        try:
            detail, result = check()
        except StreamInferError as error:
            self.add(name, "failed", error.message, error.fix)
            return None
        self.add(name, "ok", detail)
        return result

    def add(self, name: str, status: Status, detail: str, fix: str = "") -> None:
        """Note what a check found."""
        self.checks.append(Check(name=name, status=status, detail=detail, fix=fix))

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.status != "failed" for check in self.checks)


@click.command(name="check")
@click.argument("pipeline", default="fraud")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Folder of a model, or an ONNX file."
)
@fields_option
@label_fields_option
@partitioning_option
@click.option("--bootstrap", metavar="HOST:PORT", help="Where Kafka is.")
@password_file_option
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    pipeline: str,
    model: Path | None,
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    partitioning: str | None,
    bootstrap: str | None,
    password_file: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Check configuration, pipeline, model, Kafka, topics and input of PIPELINE.

    Exit code 0 when nothing failed, 1 otherwise.
    """
    checklist = Checklist()
    flags: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap": bootstrap},
        "security": {"password_file": password_file},
        "worker": {"partitioning": partitioning},
        "model": {"path": model},
    }
    settings = checklist.make("configuration", lambda: _configuration(config, flags))
    declared = checklist.make("pipeline", lambda: _pipeline(pipeline))
    loaded, plan = declared if declared is not None else (None, None)
    if loaded is not None and settings is not None:
        loaded = settings.applied_to(loaded)
    mapping = None
    if loaded is not None and settings is not None:
        mapping = checklist.make("fields", lambda: _fields(loaded, settings, fields, label_fields))
    if loaded is None or plan is None:
        checklist.add("model", "skipped", "The pipeline could not be loaded.")
    elif settings is None:
        checklist.add("model", "skipped", "The configuration could not be read.")
    else:
        checklist.make("model", lambda: judge_model(loaded, plan, settings))
    _check_kafka(checklist, settings, loaded, mapping)
    if as_json:
        print_json({"ok": checklist.ok, "checks": [asdict(check) for check in checklist.checks]})
    else:
        _show(checklist)
    context.exit(0 if checklist.ok else 1)


def _show(checklist: Checklist) -> None:
    for check in checklist.checks:
        click.echo(f"{check.status:8} {check.name}: {check.detail}")
        if check.fix:
            click.echo(f"{'':8} fix: {check.fix}")
    counts = [check.status for check in checklist.checks]
    told = ", ".join(
        f"{counts.count(word)} {word}"
        for word in ("ok", "warning", "failed", "skipped")
        if word in counts
    )
    click.echo(told)


def _configuration(config: Path | None, flags: dict[str, dict[str, Any]]) -> tuple[str, Settings]:
    from stream_infer.settings.loading import load_settings

    settings = load_settings(config, flags)
    settings.connection()
    source = f"{config}, environment and flags" if config else "environment and flags"
    return f"Read from {source}.", settings


def _pipeline(reference: str) -> tuple[str, tuple[Pipeline, Plan]]:
    from stream_infer.alerts.declared import compile_alerts
    from stream_infer.events.sensitive import check_sensitive
    from stream_infer.features.plan import compile_plan
    from stream_infer.pipelines.loading import load_pipeline

    pipeline = load_pipeline(reference)
    plan = compile_plan(pipeline)
    check_sensitive(pipeline.events)
    if pipeline.alerts is not None:
        compile_alerts(pipeline.alerts, pipeline.name)
    stages = ", ".join(stage.entity for stage in plan.stages)
    features = f"{len(plan.feature_names)} features in stages {stages}"
    detail = f"{pipeline.name}: {features}; fingerprint {plan.fingerprint[:12]}."
    return detail, (pipeline, plan)


def _fields(
    pipeline: Pipeline,
    settings: Settings,
    given: FieldMapping | None,
    given_labels: FieldMapping | None,
) -> tuple[str, FieldMapping | None]:
    """Judge both mappings; return that of the events."""
    from stream_infer.events.decode import EventDecoder, LabelDecoder

    mapping = given or settings.field_mapping()
    label_mapping = given_labels or settings.label_field_mapping()
    EventDecoder(pipeline.events, mapping)
    named = f"{len(mapping.sources)} fields mapped" if mapping else "the contract's own names"
    if pipeline.labels is not None:
        LabelDecoder(pipeline.labels, pipeline.events, label_mapping)
        if label_mapping:
            named += f"; of labels, {len(label_mapping.sources)} fields mapped"
    return f"{named}.", mapping


def _check_kafka(
    checklist: Checklist,
    settings: Settings | None,
    pipeline: Pipeline | None,
    mapping: FieldMapping | None,
) -> None:
    if settings is None:
        for name in ("kafka", "topics", "partitioning"):
            checklist.add(name, "skipped", "The configuration could not be read.")
        return
    connection = settings.connection()
    for weakness in connection.weaknesses():
        checklist.add("security", "warning", weakness.message, weakness.fix)
    if checklist.make("kafka", lambda: _reach(connection)) is None:
        for name in ("topics", "partitioning"):
            checklist.add(name, "skipped", "Kafka could not be reached.")
        return
    if pipeline is None:
        for name in ("topics", "partitioning"):
            checklist.add(name, "skipped", "The pipeline could not be loaded.")
        return
    present = checklist.make("topics", lambda: _topics(checklist, connection, pipeline))
    if not present:
        checklist.add("partitioning", "skipped", "The input topic could not be read.")
        return
    _check_partitioning(checklist, settings, pipeline, mapping)


def _reach(connection: Connection) -> tuple[str, list[str]]:
    from stream_infer.kafka.connection import reach

    brokers = run_client(reach(connection))
    return f"{connection.bootstrap} answers; brokers: {', '.join(brokers)}.", brokers


def _topics(checklist: Checklist, connection: Connection, pipeline: Pipeline) -> tuple[str, bool]:
    """Judge the pipeline's topics; every finding becomes a line, the first error is raised."""
    from stream_infer.kafka.topic_findings import judge_topics
    from stream_infer.kafka.topic_specs import pipeline_topics
    from stream_infer.kafka.topics import read_topics

    names = [spec.name for spec in pipeline_topics(pipeline)]
    findings = judge_topics(pipeline, run_client(read_topics(connection, names)))
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in findings:
        if finding is not next(iter(errors), None):
            status: Status = "failed" if finding.severity == "error" else "warning"
            checklist.add(f"topic {finding.topic}", status, finding.message, finding.fix)
    if errors:
        raise errors[0].error()
    return f"{len(names)} topics are there and fit.", True


def _check_partitioning(
    checklist: Checklist,
    settings: Settings,
    pipeline: Pipeline,
    mapping: FieldMapping | None,
) -> None:
    """Look whether the newest input records lie where their entity's hash puts them."""
    from stream_infer.kafka.placement import sample_placement

    name = "partitioning"
    try:
        found = run_client(
            sample_placement(settings.connection(), pipeline, mapping, SAMPLE_RECORDS_MAX)
        )
    except StreamInferError as error:
        checklist.add(name, "failed", error.message, error.fix)
        return
    key, topic = pipeline.events.key, pipeline.events.topic
    if found.records == 0:
        checklist.add(name, "skipped", f"{topic} holds no record to look at.")
    elif found.readable == 0:
        checklist.add(
            name,
            "failed",
            f"None of the newest {found.records} records of {topic} can be decoded"
            f" (first cause: {found.first_cause}).",
            "Map the fields of your events with --fields or [fields] of the configuration.",
        )
    elif found.misplaced:
        rekeyed = pipeline.rekeys
        checklist.add(
            name,
            # A worker that re-keys mends this by itself.
            "ok" if rekeyed else "failed",
            f"{found.misplaced} of the newest {found.readable} records of {topic} lie in another"
            f" partition than the hash (murmur2) of their {key}.",
            ""
            if rekeyed
            else f"Key the producer by {key} with Kafka's default partitioner, or run the worker"
            " with --partitioning rekey.",
        )
    else:
        unreadable = found.records - found.readable
        bad = f"; {unreadable} cannot be decoded ({found.first_cause})" if unreadable else ""
        checklist.add(
            name,
            "warning" if unreadable else "ok",
            f"The newest {found.readable} records of {topic} lie where their {key} belongs{bad}.",
            "See what these are with: stream-infer tail." if unreadable else "",
        )
