"""``stream-infer doctor``: what is right and wrong here, each with its cure."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.folder import config_to_read, pipeline_to_load
from stream_infer.cli.options import json_option, password_file_option
from stream_infer.cli.output import print_json, run_client, said_if_slow
from stream_infer.errors import NotFoundError, StreamInferError

if TYPE_CHECKING:
    from stream_infer.doctor.findings import Finding
    from stream_infer.kafka.connection import Connection
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings
    from stream_infer.settings.origin import Told

IN_KAFKA = ("clock", "topics", "group")


@click.command(name="doctor")
@click.argument("pipeline", required=False)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with settings. [default: stream-infer.toml of this folder, if there]",
)
@click.option("--bootstrap", metavar="HOST:PORT", help="Where Kafka is.")
@password_file_option
@click.option(
    "--write",
    is_flag=True,
    help="Compare clocks too: makes a topic of its own, writes two records, removes it.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    pipeline: str | None,
    config: Path | None,
    bootstrap: str | None,
    password_file: Path | None,
    write: bool,
    as_json: bool,
) -> None:
    """Examine this machine, the installation, the model and Kafka for PIPELINE.

    PIPELINE is that of this folder, else fraud. Each check is passed, warning, failed or
    skipped; skipped is not passed. Exit code 1 when one failed.
    """
    found = _on_this_machine()
    settings, told = _settings(found, config, bootstrap, password_file)
    declared = _pipeline(found, settings, pipeline)
    _model(found, settings, declared)
    _kafka(found, settings, told, declared, write=write)
    counts = {
        word: sum(each.status == word for each in found)
        for word in ("passed", "warning", "failed", "skipped")
    }
    if as_json:
        print_json({"ok": not counts["failed"], **counts, "checks": [asdict(one) for one in found]})
    else:
        for each in found:
            click.echo(f"{each.status:8} {each.name}: {each.detail}")
            if each.fix:
                click.echo(f"{'':8} fix: {each.fix}")
        click.echo(", ".join(f"{count} {word}" for word, count in counts.items() if count))
    context.exit(1 if counts["failed"] else 0)


def _on_this_machine() -> list[Finding]:
    from stream_infer.doctor.findings import failed
    from stream_infer.doctor.machine import examine_all

    found = examine_all()
    try:
        from stream_infer.doctor.kernels import examine_kernels
    except ImportError as error:
        fix = "Install stream-infer again, with its constraints."
        return [*found, failed("kernels", f"They cannot be imported: {error}.", fix)]
    with said_if_slow("compiling kernels (half a minute)"):
        return [*found, examine_kernels()]


def _settings(
    found: list[Finding], config: Path | None, bootstrap: str | None, password_file: Path | None
) -> tuple[Settings | None, list[Told]]:
    from stream_infer.doctor.findings import failed, passed, warning
    from stream_infer.settings.origin import explain_settings

    path = config_to_read(config)
    try:
        settings, told = explain_settings(
            path,
            {"kafka": {"bootstrap": bootstrap}, "security": {"password_file": password_file}},
        )
        connection = settings.connection()
    except StreamInferError as error:
        found.append(failed("configuration", error.message, error.fix))
        return None, []
    changed = sum(item.origin != "default" for item in told)
    found.append(passed("configuration", f"{path or 'No file'}; {changed} settings are set."))
    found += [warning("security", each.message, each.fix) for each in connection.weaknesses()]
    return settings, told


def _pipeline(
    found: list[Finding], settings: Settings | None, reference: str | None
) -> Pipeline | None:
    from stream_infer.doctor.findings import failed, passed, skipped
    from stream_infer.features.plan import compile_plan
    from stream_infer.pipelines.loading import load_pipeline

    if settings is None:
        found.append(skipped("pipeline", "The configuration could not be read."))
        return None
    try:
        try:
            reference, how = pipeline_to_load(reference, settings)
        except NotFoundError:
            reference, how = "fraud", "none was named and none is here"
        pipeline = settings.applied_to(load_pipeline(reference))
        plan = compile_plan(pipeline)
    except StreamInferError as error:
        found.append(failed("pipeline", error.message, error.fix))
        return None
    count = len(plan.feature_names)
    found.append(passed("pipeline", f"{pipeline.name} of {reference} ({how}): {count} features."))
    return pipeline


def _model(found: list[Finding], settings: Settings | None, pipeline: Pipeline | None) -> None:
    from stream_infer.cli.serving import judge_model
    from stream_infer.doctor.findings import failed, passed, skipped
    from stream_infer.features.plan import compile_plan

    if settings is None or pipeline is None:
        found.append(skipped("model", "The pipeline could not be loaded."))
    elif pipeline.model is None:
        found.append(skipped("model", "The pipeline has none: its features are published."))
    else:
        try:
            detail, _ = judge_model(pipeline, compile_plan(pipeline), settings)
            found.append(passed("model", detail))
        except StreamInferError as error:
            found.append(failed("model", error.message, error.fix))


def _kafka(
    found: list[Finding],
    settings: Settings | None,
    told: list[Told],
    pipeline: Pipeline | None,
    *,
    write: bool,
) -> None:
    from stream_infer.doctor.findings import failed, passed, skipped
    from stream_infer.kafka.connection import reach

    if settings is None:
        found += [
            skipped(name, "The configuration could not be read.") for name in ("kafka", *IN_KAFKA)
        ]
        return
    connection = settings.connection()
    try:
        brokers = run_client(reach(connection))
    except StreamInferError as error:
        named = any(item.name == "kafka.bootstrap" and item.origin != "default" for item in told)
        if named:
            found.append(failed("kafka", error.message, error.fix))
        else:
            found.append(
                skipped("kafka", f"None was named, and at the usual place: {error.message}")
            )
        found += [skipped(name, "Kafka could not be reached.") for name in IN_KAFKA]
        return
    found.append(passed("kafka", f"{connection.bootstrap} answers: {', '.join(brokers)}."))
    found += run_client(_in_kafka(connection, pipeline, write=write))


async def _in_kafka(
    connection: Connection, pipeline: Pipeline | None, *, write: bool
) -> list[Finding]:
    from stream_infer.doctor.cluster import examine_clock, examine_group, examine_topics
    from stream_infer.doctor.findings import failed, skipped

    async def clock(connection: Connection, _pipeline: Pipeline | None) -> list[Finding]:
        if write:
            return [await examine_clock(connection)]
        reason = "Kafka tells its time only to those who write: look with --write."
        return [skipped("clock", reason)]

    found: list[Finding] = []
    looks: dict[str, Any] = {"clock": clock, "topics": examine_topics, "group": examine_group}
    for name, look in looks.items():
        if pipeline is None and name != "clock":
            found.append(skipped(name, "The pipeline could not be loaded."))
            continue
        try:
            found += await look(connection, pipeline)
        except StreamInferError as error:
            found.append(failed(name, error.message, error.fix))
    return found
