"""``stream-infer checkpoint build``: states made ahead of the workers that will begin with them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import (
    Duration,
    Instant,
    Mapping,
    json_option,
    partitioning_option,
    pipeline_argument,
    settings_options,
)
from stream_infer.cli.output import Progress, print_json, print_table, remark, run_client
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings
    from stream_infer.states.history import History
    from stream_infer.states.report import BuildReport
    from stream_infer.states.workplace import Workplace


@click.command(name="build")
@pipeline_argument
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="File of events to begin with."
)
@click.option("--from-log", is_flag=True, help="Fold the logs up to what the group has committed.")
@click.option("--labels", "labels_file", type=click.Path(path_type=Path), help="File of labels.")
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--label-fields", type=Mapping(), help="As --fields, for the file of labels.")
@click.option(
    "--label-delay", type=Duration(), help="Make a label of each event, known so much later."
)
@click.option("--label-field", metavar="COLUMN", help="Column of the file that holds the truth.")
@click.option("--until", type=Instant(), help="Leave out what happened from then on.")
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be used.")
@click.option(
    "--store",
    "where",
    metavar="kafka|URL",
    help="Where checkpoints are kept. [default: as configured]",
)
@partitioning_option
@settings_options
@json_option
def command(
    *,
    pipeline: Pipeline,
    source: Path | None,
    from_log: bool,
    labels_file: Path | None,
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    label_delay: int | None,
    label_field: str | None,
    until: int | None,
    skip_bad: bool,
    where: str | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Make the states that PIPELINE's workers will begin with.

    With --from: of a history, in front of the first record that they will read; before they first
    start. With --from-log: of the logs, beside workers that run, for the declarations as they are
    in this file of the pipeline; then restart the workers with it, one after the other.
    """
    of_history = (labels_file, fields, label_fields, label_delay, label_field, until)
    if (source is None) != from_log or (
        from_log and (skip_bad or any(each is not None for each in of_history))
    ):
        raise UsageError(
            "one_source_of_states",
            "A state is made of a history (--from, with its options) or of the log (--from-log).",
            "Use one of --from FILE and --from-log.",
        )
    history = None
    if source is not None:
        history = _history(
            pipeline,
            source,
            labels_file,
            fields=fields,
            label_fields=label_fields,
            label_delay=label_delay,
            label_field=label_field,
            until=until,
            skip_bad=skip_bad,
        )
    from stream_infer.logs import configure_logs

    configure_logs(quiet=True)  # what is said about unfit checkpoints would stand on stdout
    report = run_client(_build(settings, pipeline, history, where))
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)


def _history(
    pipeline: Pipeline,
    source: Path,
    labels_file: Path | None,
    *,
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    label_delay: int | None,
    label_field: str | None,
    until: int | None,
    skip_bad: bool,
) -> History:
    from stream_infer.cli.history_files import read_files
    from stream_infer.states.history import name_of_history, read_history

    events, labels = read_files(
        pipeline,
        source,
        labels_file,
        fields=fields,
        label_fields=label_fields,
        label_delay=label_delay,
        label_field=label_field,
    )
    files = [source] if labels_file is None else [source, labels_file]
    name = name_of_history(files, [label_delay])
    now_ms = time.time_ns() // 1_000_000
    history = read_history(pipeline, name, events, labels, now_ms=now_ms, skip_bad=skip_bad)
    return history if until is None else history.until(until)


async def _build(
    settings: Settings, pipeline: Pipeline, history: History | None, where: str | None
) -> BuildReport:
    from stream_infer.checkpoints.opening import open_store
    from stream_infer.states.workplace import open_workplace

    worker, connection = settings.worker_settings(), settings.connection()
    place = where or worker.checkpoints
    if place == "off":
        raise UsageError(
            "checkpoints_off",
            "Checkpoints are off, so no worker would begin with what is built.",
            "Say with --store, and in [worker] checkpoints, where they are kept.",
        )
    store = open_store(place, connection, pipeline.name)
    try:
        work = await open_workplace(
            connection,
            store,
            pipeline,
            worker,
            fields=settings.field_mapping(),
            label_fields=settings.label_field_mapping(),
        )
        return await _made(work, history)
    finally:
        await store.close()


async def _made(work: Workplace, history: History | None) -> BuildReport:
    from stream_infer.states.from_history import build_from_history
    from stream_infer.states.from_log import build_from_log, records_to_read

    if history is not None:
        progress = Progress("rows", len(history) * len(work.plan.stages))
    else:
        progress = Progress("records", records_to_read(work))
    try:
        if history is not None:
            return await build_from_history(work, history, progress.update)
        return await build_from_log(work, progress.update)
    finally:
        progress.finish()


def _show(report: BuildReport) -> None:
    print_table(
        ("stage", "partition", "offset", "folded", "keys", "entries", "bytes", ""),
        [
            (
                each.stage,
                f"{each.topic}-{each.partition}",
                each.offset,
                each.folded,
                each.keys,
                each.entries,
                each.bytes,
                each.outcome,
            )
            for each in report.built
        ],
    )
    if report.base is not None:
        skipped = f", {report.skipped:,} bad ones left out" if report.skipped else ""
        remark(f"history {report.base}: {report.rows:,} rows{skipped}")
