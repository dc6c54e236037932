"""``stream-infer worker``: run a pipeline's stages until told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import (
    fields_option,
    label_fields_option,
    model_option,
    partitioning_option,
    pipeline_argument,
    settings_options,
)
from stream_infer.cli.output import remark
from stream_infer.cli.serving import model_to_serve

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings
    from stream_infer.worker import Worker


class WebPort(click.ParamType):
    """A port, or one of two words."""

    name = "port|auto|off"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if value in {"auto", "off"}:
            return str(value)
        try:
            port = int(value)
        except ValueError:
            port = -1
        if not 0 <= port <= 65_535:
            self.fail(f"{value!r} is no port: give 0 to 65535, auto or off", param, ctx)
        return port


@click.command(name="worker")
@pipeline_argument
@model_option
@fields_option
@label_fields_option
@click.option("--publish-features", is_flag=True, help="Add the features to every scored event.")
@partitioning_option
@click.option(
    "--start", type=click.Choice(["earliest", "latest"]), help="Where a new group begins."
)
@click.option(
    "--when-offset-lost",
    type=click.Choice(["fail", "earliest"]),
    help="What is done when retention removed unread records.",
)
@click.option(
    "--web-host", metavar="HOST", help="Where metrics and health are served. [default: 127.0.0.1]"
)
@click.option(
    "--web-port",
    type=WebPort(),
    help="0: any free one; auto: 6066, or any free one; off: none. [default: auto]",
)
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    help="Lines for people, or one JSON object a line. [default: console]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least that is logged. [default: info]",
)
@settings_options
def command(
    *,
    pipeline: Pipeline,
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    publish_features: bool,
    start: str | None,
    when_offset_lost: str | None,
    web_host: str | None,
    web_port: int | str | None,
    log_format: str | None,
    log_level: str | None,
    settings: Settings,
) -> None:
    """Run the stages of PIPELINE: a built-in name, or a Python file of yours."""
    from stream_infer.logs import configure_logs
    from stream_infer.worker import Worker

    configure_logs(
        _with_flags(settings.log_settings(), format=log_format, level=log_level),
        facts={"pipeline": pipeline.name},
    )
    worker = Worker(
        pipeline,
        settings.connection(),
        _with_flags(
            settings.worker_settings(),
            publish_features=publish_features or None,
            start=start,
            when_offset_lost=when_offset_lost,
        ),
        web=_with_flags(settings.web_settings(), host=web_host, port=web_port),
        model=model_to_serve(pipeline, settings),
        fields=fields or settings.field_mapping(),
        label_fields=label_fields or settings.label_field_mapping(),
    )
    remark(f"{pipeline.name}: reading from {settings.connection().bootstrap}; Ctrl-C stops cleanly")
    asyncio.run(_until_signal(worker))


def _with_flags(settings: Any, **flags: Any) -> Any:
    """Return the settings with what flags say in place of theirs; None says nothing."""
    given = {name: value for name, value in flags.items() if value is not None}
    return dataclasses.replace(settings, **given)


async def _until_signal(worker: Worker) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await worker.run(stop)
