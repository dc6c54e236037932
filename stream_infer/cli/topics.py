"""``stream-infer topics``: create a pipeline's topics, describe them, print their schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import (
    config_option,
    json_option,
    partitioning_option,
    pipeline_argument,
    settings_options,
)
from stream_infer.cli.output import (
    print_json,
    print_table,
    remark,
    report_problem,
    run_client,
)
from stream_infer.errors import NotFoundError

if TYPE_CHECKING:
    from stream_infer.kafka.topic_findings import TopicFacts, TopicFinding
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings


@click.group(name="topics")
def command() -> None:
    """Create and describe topics, print their schemas."""


@command.command()
@pipeline_argument
@click.option(
    "--partitions", type=click.IntRange(1, 10_000), default=4, show_default=True, help="Of each."
)
@click.option("--replication-factor", type=click.IntRange(1, 32_767), default=1, show_default=True)
@partitioning_option
@settings_options
@json_option
def create(
    *,
    pipeline: Pipeline,
    partitions: int,
    replication_factor: int,
    settings: Settings,
    as_json: bool,
) -> None:
    """Create what is missing of PIPELINE's topics. Safe to repeat."""
    from stream_infer.kafka.topics import create_topics

    done = run_client(
        create_topics(
            settings.connection(),
            pipeline,
            partitions=partitions,
            replication_factor=replication_factor,
        )
    )
    if as_json:
        print_json({"topics": [{"name": name, "result": done[name]} for name in done]})
    else:
        print_table(("topic", "result"), done.items())


@command.command()
@pipeline_argument
@partitioning_option
@settings_options
@json_option
@click.pass_context
def describe(context: click.Context, pipeline: Pipeline, settings: Settings, as_json: bool) -> None:
    """Show PIPELINE's topics and what does not fit about them."""
    from stream_infer.kafka.topic_findings import judge_topics
    from stream_infer.kafka.topic_specs import pipeline_topics
    from stream_infer.kafka.topics import read_topics

    specs = pipeline_topics(pipeline)
    facts = run_client(read_topics(settings.connection(), [spec.name for spec in specs]))
    findings = judge_topics(pipeline, facts)
    rows = [_facts_row(spec.name, spec.role, facts.get(spec.name)) for spec in specs]
    if as_json:
        print_json({"topics": rows, "findings": [_finding_row(finding) for finding in findings]})
    else:
        print_table(tuple(rows[0]), (tuple(row.values()) for row in rows))
        for finding in findings:
            remark(f"{finding.severity}: ")
            report_problem(finding.error())
    errors = [finding for finding in findings if finding.severity == "error"]
    context.exit(errors[0].error().exit_code if errors else 0)


def _facts_row(name: str, role: str, facts: TopicFacts | None) -> dict[str, Any]:
    return {
        "topic": name,
        "role": role,
        "partitions": facts.partitions if facts else None,
        "replicas": facts.replicas if facts else None,
        "retention_ms": _number(facts, "retention.ms"),
        "message_bytes_max": _number(facts, "max.message.bytes"),
    }


def _number(facts: TopicFacts | None, key: str) -> int | None:
    text = facts.config.get(key) if facts else None
    return int(text) if text is not None else None


def _finding_row(finding: TopicFinding) -> dict[str, Any]:
    return {
        "topic": finding.topic,
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "fix": finding.fix,
    }


@command.command()
@pipeline_argument
@click.option("--topic", help="Only this topic.")
@click.option("--publish-features", is_flag=True, help="As of a worker with this flag.")
@partitioning_option
@config_option
def schema(
    *, pipeline: Pipeline, topic: str | None, publish_features: bool, settings: Settings
) -> None:
    """Print the JSON Schema of each of PIPELINE's topics, as one JSON object by topic."""
    from stream_infer.alerts.schemas import alert_topic_schemas, operations_schemas
    from stream_infer.events.schema import topic_schemas
    from stream_infer.features.plan import compile_plan

    schemas = topic_schemas(
        pipeline,
        settings.field_mapping(),
        label_mapping=settings.label_field_mapping(),
        publish_features=publish_features or settings.worker.publish_features,
        feature_names=compile_plan(pipeline).feature_names,
        further=alert_topic_schemas(pipeline),
    )
    schemas |= operations_schemas(pipeline)
    if topic is not None and topic not in schemas:
        raise NotFoundError(
            "topic_unknown",
            f"Pipeline {pipeline.name!r} has no topic {topic!r}.",
            f"It has: {', '.join(schemas)}.",
            topic=topic,
        )
    print_json(schemas[topic] if topic is not None else schemas)
