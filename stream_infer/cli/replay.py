"""``stream-infer replay``: send a file's rows to a topic, keeping event time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import (
    Duration,
    Mapping,
    PipelineReference,
    json_option,
    settings_options,
)
from stream_infer.cli.output import Progress, print_json, remark, run_client
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.files.contract import Records
    from stream_infer.kafka.connection import Connection
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings


class Speed(click.ParamType):
    """``max``, or how many times faster than real time; ``max`` is None."""

    name = "max|factor"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        if value is None or value == "max":
            return None
        try:
            speed = float(str(value).removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"{value!r} is neither 'max' nor a positive number.", param, ctx)
        return speed


@click.command(name="replay")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--topic", required=True, help="The pipeline's input or label topic.")
@click.option(
    "--speed",
    type=Speed(),
    default="max",
    show_default=True,
    help="'max', or a factor: 1 is real time, 60 a minute in a second.",
)
@click.option(
    "--pipeline",
    type=PipelineReference(),
    default="fraud",
    show_default=True,
    help="Whose topic it is: gives the record's form and key.",
)
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--key", help="Field whose value is the record's key. [default: the topic's own]")
@click.option("--label-delay", type=Duration(), help="Make labels of events, known so much later.")
@click.option("--limit", type=click.IntRange(min=0), help="Only the first rows of the file.")
@click.option("--compression", type=click.Choice(["gzip", "snappy", "lz4", "zstd"]))
@settings_options
@json_option
def command(
    *,
    file: Path,
    topic: str,
    speed: float | None,
    pipeline: Pipeline,
    fields: FieldMapping | None,
    key: str | None,
    label_delay: int | None,
    limit: int | None,
    compression: str | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Send FILE's rows (CSV, Parquet, JSON lines) to a topic, keeping event time.

    Rows become the records that the pipeline's contract declares; --fields says which column a
    field has. For the label topic, --label-delay makes one label of each event in FILE.
    """
    records = _records(file, topic, pipeline, fields=fields, label_delay=label_delay, limit=limit)
    if key is not None:
        records = _keyed(records, key)
    started = time.monotonic()
    sent = run_client(_send(settings.connection(), topic, records, speed, compression))
    seconds = time.monotonic() - started
    summary = {
        "topic": topic,
        "records": len(records),
        "partitions": sent,
        "seconds": round(seconds, 3),
        "records_per_second": round(len(records) / seconds) if seconds else 0,
    }
    if as_json:
        print_json(summary)
    else:
        remark(
            f"{len(records):,} records to {topic} in {seconds:.1f} s"
            f" ({summary['records_per_second']:,}/s), by partition:"
            f" {', '.join(f'{count:,}' for count in sent)}"
        )


def _records(
    file: Path,
    topic: str,
    pipeline: Pipeline,
    *,
    fields: FieldMapping | None,
    label_delay: int | None,
    limit: int | None,
) -> Records:
    from stream_infer.files.contract import event_form, label_form, read_records
    from stream_infer.files.labels import delayed_labels
    from stream_infer.files.tables import read_table

    label_topic = pipeline.labels.topic if pipeline.labels else None
    if topic not in (pipeline.events.topic, label_topic):
        known = ", ".join(name for name in (pipeline.events.topic, label_topic) if name)
        raise UsageError(
            "topic_not_an_input",
            f"Topic {topic!r} is no input of pipeline {pipeline.name!r}.",
            f"Use --topic with one of: {known}; or name its pipeline with --pipeline.",
            topic=topic,
        )
    if label_delay is not None and topic != label_topic:
        raise UsageError(
            "label_delay_without_labels",
            f"--label-delay makes labels, and {topic!r} is not the label topic.",
            f"Use it with --topic {label_topic}." if label_topic else "Leave it away.",
        )
    frame = read_table(file, rows_max=limit)
    # One --fields for a file serves both topics, so names of the other one are no error.
    forms = [event_form(pipeline)] + ([label_form(pipeline)] if label_topic else [])
    known_fields = [name for form in forms for name in form.type.__struct_fields__]
    if topic != label_topic:
        return read_records(frame, forms[0], fields, known=known_fields)
    if label_delay is not None:
        return delayed_labels(frame, pipeline, fields, label_delay)
    return read_records(frame, forms[1], fields, known=known_fields).sorted_by_time()


def _keyed(records: Records, key: str) -> Records:
    import dataclasses

    if key not in records.columns:
        raise UsageError(
            "key_unknown",
            f"The records have no field {key!r} to be keyed by.",
            f"Use --key with one of: {', '.join(records.columns)}.",
        )
    return dataclasses.replace(records, form=dataclasses.replace(records.form, key=key))


async def _send(
    connection: Connection,
    topic: str,
    records: Records,
    speed: float | None,
    compression: str | None,
) -> list[int]:
    from stream_infer.kafka.replaying import replay_at_once, replay_paced
    from stream_infer.kafka.sending import topic_sender

    progress = Progress("records", len(records))
    try:
        async with topic_sender(connection, topic, compression=compression) as sender:
            if speed is None:
                await replay_at_once(records, sender, progress.update)
            else:
                await replay_paced(records, sender, speed, progress.update)
    finally:
        progress.finish()
    return sender.sent
