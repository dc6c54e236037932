"""``stream-infer lists``: who is decided by being on an allow or block list."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import json_option, pipeline_argument, settings_options
from stream_infer.cli.output import print_json, print_table, remark, run_client
from stream_infer.errors import InvalidDataError, NotFoundError, UsageError

if TYPE_CHECKING:
    from stream_infer.alerts.lists import ListRecord
    from stream_infer.kafka.connection import Connection
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings


@click.group(name="lists")
def command() -> None:
    """Show and change allow and block lists: they decide beside the model."""


def _change_options(change: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments and options of one that changes a list."""
    for option in (
        json_option,
        settings_options,
        click.option("--reason", default="", help="Why, for people; never a card number."),
        click.argument("entity"),
        click.argument("name", metavar="LIST"),
        pipeline_argument,
    ):
        change = option(change)
    return change


@command.command()
@_change_options
def add(**given: Any) -> None:
    """Put ENTITY on a LIST of PIPELINE. It decides about what is paid from then on."""
    _change(**given, listed=True)


@command.command()
@_change_options
def remove(**given: Any) -> None:
    """Take ENTITY off a LIST of PIPELINE; safe to repeat."""
    _change(**given, listed=False)


@command.command()
@pipeline_argument
@click.argument("name", metavar="[LIST]", required=False)
@click.option("--reveal", is_flag=True, help="Show entities of fields that are declared sensitive.")
@settings_options
@json_option
def show(
    *, pipeline: Pipeline, name: str | None, reveal: bool, settings: Settings, as_json: bool
) -> None:
    """Show who is on PIPELINE's lists, or on one LIST."""
    from stream_infer.cli.records import bytes_text, time_text
    from stream_infer.events.sensitive import mask

    if name is not None:
        _check(pipeline, name)
    sensitive = () if reveal else pipeline.events.sensitive
    fields = {each.name: each.entity for each in pipeline.alerts.lists} if pipeline.alerts else {}
    records, bad = run_client(_read(settings.connection(), pipeline))
    hidden = {name for name, field in fields.items() if field in sensitive}
    rows: list[dict[str, Any]] = [
        {
            "list": record.list,
            "entity": mask(record.entity) if record.list in hidden else record.entity,
            "reason": record.reason,
            "event_time": record.event_time,
        }
        for record in records
        if name in (None, record.list)
    ]
    if as_json:
        print_json({"listed": rows, "unreadable": bad})
        return
    print_table(
        ("list", "entity", "since", "reason"),
        (
            (
                row["list"],
                bytes_text(row["entity"].encode()),
                time_text(row["event_time"] or None),
                bytes_text(row["reason"].encode()),
            )
            for row in rows
        ),
    )
    if bad:
        remark(f"{bad} records cannot be read as changes of a list; a worker sets them aside.")


def _check(pipeline: Pipeline, name: str) -> str:
    """Return the pipeline's lists topic; raise unless it declares a list of that name."""
    import difflib

    from stream_infer.events.topic_names import lists_topic

    topic = lists_topic(pipeline)
    known = [] if pipeline.alerts is None else [each.name for each in pipeline.alerts.lists]
    if topic is None or name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise NotFoundError(
            "list_unknown",
            f"Pipeline {pipeline.name!r} declares no list {name!r}.",
            (f"Did you mean {near[0]!r}? " if near else "")
            + f"It declares: {', '.join(known) or 'none'}.",
            list=name,
        )
    return topic


def _change(
    *,
    pipeline: Pipeline,
    name: str,
    entity: str,
    reason: str,
    settings: Settings,
    as_json: bool,
    listed: bool,
) -> None:
    import msgspec

    from stream_infer.alerts.lists import ListRecord, list_key, read_list_change

    topic = _check(pipeline, name)
    value = msgspec.json.encode(
        ListRecord(
            list=name,
            entity=entity,
            listed=listed,
            reason=reason,
            event_time=time.time_ns() // 1_000_000,
        )
    )
    key = list_key(name, entity)
    try:
        read_list_change(key, value, topic, 0, 0)
    except InvalidDataError as error:
        raise UsageError(
            error.code,
            error.message,
            "Give an entity of 1 to 256 characters and a reason of at most 500.",
        ) from error
    run_client(_send(settings.connection(), topic, key.decode(), value))
    if as_json:
        print_json({"list": name, "entity": entity, "listed": listed})


async def _send(connection: Connection, topic: str, key: str, value: bytes) -> None:
    from stream_infer.kafka.sending import topic_sender

    async with topic_sender(connection, topic) as sender:
        await sender.send([key], [value])


async def _read(connection: Connection, pipeline: Pipeline) -> tuple[list[ListRecord], int]:
    """Return who is listed now, by list and entity, and how many records are no changes."""
    from stream_infer.alerts.lists import ListRecord, read_list_change
    from stream_infer.events.topic_names import lists_topic
    from stream_infer.kafka.reading import log_reader

    topic = lists_topic(pipeline)
    listed: dict[tuple[str, str], ListRecord] = {}
    bad = 0
    if topic is None:
        return [], 0
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for place, records in reader.read(bounds):
            for record in records:
                try:
                    change = read_list_change(
                        record.key, record.value, place.topic, place.partition, record.offset
                    )
                except InvalidDataError:
                    bad += 1
                    continue
                listed.pop((change.list, change.entity), None)
                if change.listed:
                    listed[change.list, change.entity] = ListRecord(
                        list=change.list,
                        entity=change.entity,
                        reason=change.reason,
                        event_time=change.event_time,
                    )
    return [listed[key] for key in sorted(listed)], bad
