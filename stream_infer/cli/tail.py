"""``stream-infer tail``: print a topic's records as they come, without a consumer group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import PipelineReference, json_option, settings_options
from stream_infer.cli.output import print_json, remark, run_client
from stream_infer.errors import NotFoundError

if TYPE_CHECKING:
    from stream_infer.cli.masking import Masking
    from stream_infer.kafka.connection import Connection
    from stream_infer.kafka.reading import LogReader, TopicPartition
    from stream_infer.kafka.stretch import Stretch
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings


class Start(click.ParamType):
    """``beginning``, ``end`` or an offset."""

    name = "beginning|end|offset"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        text = str(value)
        if text in ("beginning", "end"):
            return text
        if not text.isdecimal():
            self.fail(f"{text!r} is neither beginning, end nor an offset.", param, ctx)
        return int(text)


@click.command(name="tail")
@click.argument("topic")
@click.option(
    "--from",
    "start",
    type=Start(),
    default="end",
    show_default=True,
    help="Where to begin: beginning, end, or an offset.",
)
@click.option("--partition", type=click.IntRange(min=0), help="Only this partition.")
@click.option("--limit", type=click.IntRange(min=0), help="Stop after so many records.")
@click.option(
    "--pipeline",
    type=PipelineReference(),
    help="Whose sensitive fields are masked. [default: the settings' one]",
)
@click.option("--reveal", is_flag=True, help="Show fields that are declared sensitive.")
@click.option("--no-follow", is_flag=True, help="Stop at the end that the topic has now.")
@settings_options
@json_option
def command(
    *,
    topic: str,
    start: str | int,
    partition: int | None,
    limit: int | None,
    pipeline: Pipeline | None,
    reveal: bool,
    no_follow: bool,
    settings: Settings,
    as_json: bool,
) -> None:
    """Print TOPIC's records as they come; with --json one object a line.

    Fields that the topic's pipeline declares sensitive are masked unless --reveal.

    Reads without a consumer group: no offset is committed, and no worker is disturbed.
    """
    from stream_infer.cli.masking import SHOWN, known_pipelines, masking_of

    masking = SHOWN
    if not reveal:
        masking = masking_of(topic, known_pipelines(settings, pipeline), settings)
    run_client(
        _tail(
            settings.connection(),
            topic,
            masking,
            start=start,
            partition=partition,
            limit=limit,
            follow=not no_follow,
            as_json=as_json,
        )
    )


async def _tail(
    connection: Connection,
    topic: str,
    masking: Masking,
    *,
    start: str | int,
    partition: int | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    from stream_infer.kafka.reading import log_reader

    async with log_reader(connection) as reader:
        partitions = await reader.partitions(topic)
        chosen = [tp for tp in partitions if partition in (None, tp.partition)]
        if not chosen:
            raise NotFoundError(
                "partition_missing",
                f"Topic {topic!r} has no partition {partition}.",
                f"Name one of 0 to {len(partitions) - 1}.",
                topic=topic,
                partition=partition,
            )
        bounds = await reader.bounds(chosen)
        begins = {tp: _begin(tp, log, start) for tp, log in bounds.items()}
        left = limit if limit is not None else float("inf")
        runs = _runs(reader, bounds, begins, follow=follow)
        while left > 0 and (records := await anext(runs, None)) is not None:
            for record in records[: int(min(left, len(records)))]:
                _print(record, masking, as_json=as_json)
            left -= len(records)


def _begin(tp: TopicPartition, log: Stretch, start: str | int) -> int:
    """Return the offset to begin at, saying so when it is not the one that was asked for."""
    if start == "end":
        return log.end
    if start == "beginning":
        return log.start
    begin = min(max(int(start), log.start), log.end)
    if begin != start:
        remark(
            f"{tp.topic}-{tp.partition} holds offsets {log.start} to {log.end - 1}:"
            f" beginning at {begin}."
        )
    return begin


async def _runs(
    reader: LogReader,
    bounds: Mapping[TopicPartition, Stretch],
    begins: Mapping[TopicPartition, int],
    *,
    follow: bool,
) -> AsyncIterator[list[Any]]:
    from stream_infer.kafka.stretch import Stretch

    if follow:
        async for _tp, records in reader.follow(begins):
            yield records
    else:
        stretches = {tp: Stretch(begins[tp], bounds[tp].end) for tp in bounds}
        async for _tp, records in reader.read(stretches):
            yield records


def _print(record: Any, masking: Masking, *, as_json: bool) -> None:
    from stream_infer.cli.records import (
        bytes_json,
        bytes_text,
        headers_json,
        time_text,
        value_json,
    )

    key, value = masking.key(record.key), masking.value(record.value)
    if as_json:
        print_json(
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": record.timestamp,
                "key": bytes_json(key),
                "headers": headers_json(record.headers),
                "value": value_json(value),
            }
        )
    else:
        click.echo(
            f"{record.partition}:{record.offset} {time_text(record.timestamp)}"
            f" {bytes_text(key)} {bytes_text(value)}"
        )
