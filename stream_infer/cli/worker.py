"""``stream-infer worker``: run a pipeline's stages until told to stop.

With ``--processes`` this process only supervises: it starts itself again, with the same words
and a hidden one that makes it a child (`stream_infer.supervisor.member`). So the pipeline is
loaded by whoever runs it, and the supervisor stays small.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import (
    fields_option,
    label_fields_option,
    model_option,
    partitioning_option,
    settings_options,
)
from stream_infer.cli.output import remark
from stream_infer.cli.serving import model_to_serve, models_cache, registry_to_serve
from stream_infer.errors import StreamInferError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.settings.loading import Settings
    from stream_infer.supervisor.gate import Gate
    from stream_infer.supervisor.member import Member as SupervisedMember
    from stream_infer.supervisor.trial import Step
    from stream_infer.worker import Worker

SERVING_POLL_S = 0.1
WORDS = "stream_infer.worker.words"
"""Where a context keeps the command line as it was given, for the children."""


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


class MemberWord(click.ParamType):
    """What a supervisor tells its child; nobody else writes it."""

    name = "member"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> SupervisedMember:
        from stream_infer.supervisor.member import Member

        try:
            return value if isinstance(value, Member) else Member.from_word(value)
        except (ValueError, KeyError, TypeError):
            self.fail("only a supervisor gives this option", param, ctx)


class WorkerCommand(click.Command):
    """Keeps the words that it was given, so that children can be given the same."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)


@click.command(name="worker", cls=WorkerCommand)
@click.argument("reference", metavar="PIPELINE")
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
@click.option(
    "--processes",
    type=click.IntRange(1, 1_024),
    help="Run so many workers as processes of their own, and start again what ends.",
)
@click.option("--member", type=MemberWord(), hidden=True)
@settings_options
@click.pass_context
def command(
    context: click.Context,
    *,
    reference: str,
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    publish_features: bool,
    start: str | None,
    when_offset_lost: str | None,
    web_host: str | None,
    web_port: int | str | None,
    log_format: str | None,
    log_level: str | None,
    processes: int | None,
    member: SupervisedMember | None,
    settings: Settings,
) -> None:
    """Run the stages of PIPELINE: a built-in name, or a Python file of yours."""
    web = _with_flags(settings.web_settings(), host=web_host, port=web_port)
    log_settings = _with_flags(settings.log_settings(), format=log_format, level=log_level)
    if processes is not None and member is None:
        from stream_infer.logs import configure_logs
        from stream_infer.supervisor.ports import web_ports
        from stream_infer.supervisor.processes import Processes

        configure_logs(log_settings, facts={"pipeline": reference})
        ports = web_ports(web, processes)
        remark(f"{reference}: {processes} processes read from {settings.connection().bootstrap}")
        words = context.meta[WORDS]
        context.exit(Processes(words, ports, web_host=web.host).run())

    def make() -> Worker:
        # What imports make is kept anyway; `Worker` switches it on when all is loaded.
        gc.disable()
        try:
            return load()
        except BaseException:
            gc.enable()
            raise

    def load() -> Worker:
        from stream_infer.logs import configure_logs
        from stream_infer.pipelines.loading import load_pipeline
        from stream_infer.worker import Worker

        pipeline = settings.applied_to(load_pipeline(reference))
        process = {} if member is None else {"process": str(member.number)}
        configure_logs(log_settings, facts={"pipeline": pipeline.name, **process})
        return Worker(
            pipeline,
            settings.connection(),
            _with_flags(
                settings.worker_settings(),
                publish_features=publish_features or None,
                start=start,
                when_offset_lost=when_offset_lost,
                # Members of a group of one name would fence each other.
                instance_id=None if member is None else _instance(settings, member.number),
            ),
            web=web if member is None else dataclasses.replace(web, port=member.web_port),
            model=model_to_serve(pipeline, settings),
            registry=registry_to_serve(settings),
            cache=models_cache(),
            execution=settings.execution(),
            versions=settings.model_settings(),
            fields=fields or settings.field_mapping(),
            label_fields=label_fields or settings.label_field_mapping(),
        )

    if member is not None:
        context.exit(_supervised(member, make))
    worker = make()
    bootstrap = settings.connection().bootstrap
    remark(f"{worker.pipeline.name}: reading from {bootstrap}; Ctrl-C stops cleanly")
    asyncio.run(_until_signal(worker))


def _instance(settings: Settings, number: int) -> str | None:
    name = settings.worker.instance_id
    return None if name is None else f"{name}-{number}"


def _supervised(member: SupervisedMember, make: Callable[[], Worker]) -> int:
    """Run as a supervisor's child; its error is left to the supervisor. Return the exit code."""
    from stream_infer.supervisor.gate import GO, PREPARED, Gate

    member.begin()
    try:
        worker = make()
        if member.step is None:
            gate = None if member.gate is None else Gate.inherited(member.gate)
            if gate is not None:
                worker.prepare()
                gate.say(PREPARED)
                if not gate.wait_for(GO):
                    return 0
            asyncio.run(_until_signal(worker, gate))
        else:
            _do_step(worker, member.step)
    except StreamInferError as error:
        member.leave_error(error)
        return error.exit_code
    return 0


def _do_step(worker: Worker, step: Step) -> None:
    from stream_infer.supervisor.probe import probe
    from stream_infer.supervisor.verdict import condemn

    if step.task == "probe":
        asyncio.run(probe(worker, step.span))
    else:
        asyncio.run(condemn(worker.connection, worker.pipeline, step.span, step.signal))


def _with_flags(settings: Any, **flags: Any) -> Any:
    """Return the settings with what flags say in place of theirs; None says nothing."""
    given = {name: value for name, value in flags.items() if value is not None}
    return dataclasses.replace(settings, **given)


async def _until_signal(worker: Worker, gate: Gate | None = None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    telling = None if gate is None else asyncio.create_task(_tell_when_serving(worker, gate))
    try:
        await worker.run(stop)
    finally:
        if telling is not None:
            telling.cancel()


async def _tell_when_serving(worker: Worker, gate: Gate) -> None:
    from stream_infer.supervisor.gate import SERVING

    while not worker.is_serving:  # noqa: ASYNC110 - phases move in many places
        await asyncio.sleep(SERVING_POLL_S)
    gate.say(SERVING)
