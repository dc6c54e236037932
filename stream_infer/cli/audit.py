"""``stream-infer audit``: reconcile inputs and outputs by event id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import (
    json_option,
    partitioning_option,
    pipeline_argument,
    settings_options,
)
from stream_infer.cli.output import Progress, print_json, print_table, remark, run_client

if TYPE_CHECKING:
    from stream_infer.audit.report import AuditReport
    from stream_infer.kafka.connection import Connection
    from stream_infer.kafka.stretch import Stretch
    from stream_infer.pipeline import Pipeline
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
@partitioning_option
@settings_options
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    pipeline: Pipeline,
    ranges: tuple[str, ...],
    settings: Settings,
    as_json: bool,
) -> None:
    """Reconcile PIPELINE's input with its scored events and dead letters, by event id.

    Every input record up to the committed offset must have come out exactly once. Exit code 6
    when one is lost or doubled, and when retention cut a log so that nothing is proven.
    """
    from stream_infer.audit.scope import parse_ranges

    report = run_client(_audit(settings.connection(), pipeline, parse_ranges(ranges)))
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)
    context.exit(0 if report.verdict == "proven" else EXIT_GATE_FAILED)


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
