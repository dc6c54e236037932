"""``stream-infer audit``: reconcile inputs and outputs by event id."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import (
    PipelineReference,
    fields_option,
    json_option,
    label_fields_option,
    model_option,
    partitioning_option,
    pipeline_argument,
    settings_options,
)
from stream_infer.cli.output import Progress, print_json, print_table, remark, run_client
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.audit.recompute.report import RecomputeReport
    from stream_infer.audit.recompute.run import Recomputation
    from stream_infer.audit.report import AuditReport
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.kafka.connection import Connection
    from stream_infer.kafka.stretch import Stretch
    from stream_infer.pipeline import Pipeline
    from stream_infer.scoring.model import Model
    from stream_infer.settings.loading import Settings

EXIT_GATE_FAILED = 6


@click.command(name="audit")
@pipeline_argument
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="PARTITION:FIRST-LAST",
    help="Only these offsets of the input, both ends included. May be given for each partition.",
)
@click.option(
    "--recompute",
    "recomputes",
    is_flag=True,
    help="Fold the inputs again, offline, and compare every output of every stage bit for bit.",
)
@click.option(
    "--twins",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="With --recompute: share of the keys whose windows slow twins compute too, 0 to 1.",
)
@click.option(
    "--delivery",
    type=click.Choice(["exactly_once", "at_least_once"]),
    help="With --recompute: whether doubled outputs are an error. [default: as configured]",
)
@click.option(
    "--also-model",
    "earlier",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="With --recompute: folder of another version that outputs are stamped with.",
)
@click.option(
    "--registry",
    metavar="FOLDER|URL",
    help="With --recompute: where versions that outputs are stamped with are looked up. "
    "[default: [model] registry of the configuration]",
)
@click.option(
    "--also-pipeline",
    "before",
    type=PipelineReference(),
    multiple=True,
    help="With --recompute: file of the pipeline as it was declared before, where the logs hold "
    "records of both.",
)
@model_option
@fields_option
@label_fields_option
@partitioning_option
@settings_options
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    pipeline: Pipeline,
    ranges: tuple[str, ...],
    recomputes: bool,
    twins: float,
    delivery: str | None,
    earlier: tuple[Path, ...],
    registry: str | None,
    before: tuple[Pipeline, ...],
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Reconcile PIPELINE's input with its scored events and dead letters, by event id.

    Every input record up to the committed offset must have come out exactly once. Exit code 6
    when one is lost or doubled, and when retention cut a log so that nothing is proven.

    With --recompute each stage's input is folded again and every output compared bit for bit.
    """
    from stream_infer.audit.scope import parse_ranges

    if recomputes:
        if ranges:
            raise UsageError(
                "range_with_recompute",
                "A fold begins where it began: --recompute takes no --range.",
                "Leave one of them away.",
            )
        from stream_infer.logs import configure_logs

        configure_logs(quiet=True)  # the states that folds began with are read by talkative parts
        what = _recomputation(pipeline, settings, earlier, registry, delivery, twins)
        what = dataclasses.replace(
            what,
            fields=fields or settings.field_mapping(),
            label_fields=label_fields or settings.label_field_mapping(),
            earlier=[settings.applied_to(each) for each in before],
        )
        recomputed = run_client(_recompute(settings.connection(), what))
        if as_json:
            print_json(recomputed.as_json())
        else:
            _show_recomputed(recomputed)
        context.exit(0 if recomputed.verdict == "proven" else EXIT_GATE_FAILED)

    report = run_client(_audit(settings.connection(), pipeline, parse_ranges(ranges)))
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)
    context.exit(0 if report.verdict == "proven" else EXIT_GATE_FAILED)


def _recomputation(
    pipeline: Pipeline,
    settings: Settings,
    earlier: tuple[Path, ...],
    where: str | None,
    delivery: str | None,
    twins: float,
) -> Recomputation:
    from stream_infer.audit.recompute.run import Recomputation
    from stream_infer.cli.serving import model_or_ready, version_finder

    worker = settings.worker_settings()
    where = where or (None if settings.model.path is not None else settings.model.registry)
    find = None if where is None else version_finder(where, settings)
    if find is not None and pipeline.model is not None and settings.model.path is None:
        serves: Model | Path | None = find(pipeline.model, "champion")
    else:
        serves = model_or_ready(pipeline, settings)
    return Recomputation(
        pipeline=pipeline,
        models=[*([] if serves is None else [serves]), *earlier],
        settings=worker,
        delivery=delivery or worker.delivery,
        twins=twins,
        find=find,
    )


async def _recompute(connection: Connection, what: Recomputation) -> RecomputeReport:
    from stream_infer.audit.recompute.run import recompute

    progress = Progress("records")
    try:
        return await recompute(connection, what, progress.update)
    finally:
        progress.finish()


def _show_recomputed(report: RecomputeReport) -> None:
    names = ("expected", "lost", "twice", "different", "unexpected", "disordered")
    print_table(
        ("stage", "records", *names),
        [
            (each.stage, each.records, *(getattr(each, name) for name in names))
            for each in report.stages
        ],
    )
    for each in report.stages:
        if each.twin_rows:
            differ = f"{each.twin_differs:,} of {each.twin_rows:,} events"
            remark(f"{each.stage}: the slow twins say something else about {differ}")
        if each.refused:
            remark(f"{each.stage}: Kafka refused {each.refused:,} outputs; dead letters say so")
        for difference in each.differences:
            remark(str(difference))
    for reason in report.unproven:
        remark(f"unproven: {reason}")
    click.echo(report.verdict.upper() if report.verdict != "proven" else "proven")


async def _audit(
    connection: Connection, pipeline: Pipeline, ranges: dict[int, Stretch]
) -> AuditReport:
    from stream_infer.audit.reconcile import audit

    progress = Progress("outputs")
    try:
        return await audit(connection, pipeline, ranges, progress.update)
    finally:
        progress.finish()


def _show(report: AuditReport) -> None:
    lost = "unknown" if report.lost is None else report.lost
    rows = [
        ("records", report.records),
        ("scored", report.scored),
        ("dead letters", report.dead_letters),
        ("lost", lost),
        ("scored twice", report.scored_twice),
        ("dead letters twice", report.dead_letters_twice),
        ("scored and dead letter", report.scored_and_dead),
        ("in flight", report.in_flight),
    ]
    if report.outputs_beyond:
        rows.append(("outputs beyond the range", report.outputs_beyond))
    if report.outputs_foreign:
        rows.append(("outputs of no input record", report.outputs_foreign))
    print_table((f"audit of {report.pipeline}", ""), rows)
    for finding, names in report.samples.items():
        remark(f"{finding.replace('_', ' ')}: {', '.join(names)}")
    for reason in report.unproven:
        remark(f"unproven: {reason}")
    click.echo(report.verdict.upper() if report.verdict != "proven" else "proven")
