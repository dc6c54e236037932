"""``stream-infer demo``: everything at work on this machine, from Kafka to an audit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, print_table, remark, said_if_slow
from stream_infer.errors import GateFailedError

if TYPE_CHECKING:
    from stream_infer.demo.members import Members
    from stream_infer.demo.summary import Summary
    from stream_infer.demo.view import View
    from stream_infer.kafka.connection import Connection

PIPELINES = ("fraud", "traffic")
CORES_MIN = 4
PLAIN_EVERY_S = 5.0


@click.command(name="demo")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="How long one watches.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 20_000),
    default=500,
    show_default=True,
    help="Payments a second, on average; their time passes as fast as that makes it.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--bootstrap", metavar="HOST:PORT", help="Use this Kafka instead of starting one.")
@json_option
def command(*, seconds: float, rate: int, seed: int, bootstrap: str | None, as_json: bool) -> None:
    """Start a real Kafka here, simulate payments and roads, score them, and audit the result.

    Shows what happens on a terminal, one line every few seconds elsewhere. Without --bootstrap
    nothing remains when it ends.
    """
    from stream_infer.demo.members import worker_processes
    from stream_infer.kafka.connection import Connection
    from stream_infer.logs import configure_logs

    configure_logs(quiet=True)
    cores = _cores()
    if cores < CORES_MIN:
        remark(f"This machine has {cores} cores for Kafka, two workers and two simulators:")
        remark("latencies will be longer than the pipelines need.")
    with worker_processes(PIPELINES) as members:
        _compile()
        if bootstrap is not None:
            connection = Connection(bootstrap=bootstrap)
            summary = _run(connection, members, seconds, rate, seed, lambda: None, quiet=as_json)
        else:
            from stream_infer.broker import EmbeddedBroker

            with EmbeddedBroker(progress=remark) as broker:
                connection = Connection(bootstrap=broker.bootstrap)
                summary = _run(
                    connection, members, seconds, rate, seed, broker.check, quiet=as_json
                )
    if as_json:
        print_json(summary.as_json())
    else:
        print_table(("what", "count"), summary.rows())
        click.echo(f"audit: {summary.verdict}")
    if summary.verdict != "proven":
        raise GateFailedError(
            "audit_failed",
            f"The audit says {summary.verdict}.",
            "Look at lost and scored twice above; the worker's log says what happened.",
        )


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _compile() -> None:
    """Compile kernels before the workers need them, so that no two processes compile the same."""
    from stream_infer.pipelines.loading import load_pipeline
    from stream_infer.precompile import precompile_pipeline

    names = ("fraud", "traffic")
    for number, name in enumerate(names, start=1):
        text = (
            "compiling kernels, once for this machine (up to a minute): "
            f"{number} of {len(names)}, {name}"
        )
        with said_if_slow(text, after_s=3.0):
            precompile_pipeline(load_pipeline(name))


def _run(
    connection: Connection,
    members: Members,
    seconds: float,
    rate: int,
    seed: int,
    check: Callable[[], None],
    *,
    quiet: bool,
) -> Summary:
    from stream_infer.demo.session import run_demo

    async def run(show: Callable[[View], None]) -> Summary:
        stop = asyncio.Event()
        with _stopping(stop):
            return await run_demo(
                connection,
                members,
                seconds=seconds,
                rate=rate,
                seed=seed,
                show=show,
                stop=stop,
                check=check,
            )

    with _shown(quiet=quiet) as showing:
        return asyncio.run(run(showing.show))


@contextlib.contextmanager
def _stopping(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on the first Ctrl-C or SIGTERM; a second Ctrl-C breaks off at once."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in numbers:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class Showing(Protocol):
    """Something that shows views to a person, or to nobody."""

    def show(self, view: View) -> None:
        """Show where things stand."""


class Lines:
    """A line on stderr every few seconds: for files, pipes and terminals that cannot draw."""

    def __init__(self) -> None:
        self._next = time.monotonic()

    def show(self, view: View) -> None:
        """Show the view if the last one is old enough."""
        from stream_infer.demo.lines import plain

        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY_S
            remark(plain(view))


class Silence:
    """Shows nothing."""

    def show(self, view: View) -> None:
        """Leave it."""


@contextlib.contextmanager
def _shown(*, quiet: bool) -> Iterator[Showing]:
    """Give what shows views: a drawn screen on a terminal that can, lines elsewhere."""
    if quiet:
        yield Silence()
        return
    encoding = (sys.stderr.encoding or "").lower().replace("-", "")
    dumb = os.environ.get("TERM") in (None, "", "dumb")
    if not sys.stderr.isatty() or dumb or encoding != "utf8":
        yield Lines()
        return
    try:
        from stream_infer.demo.terminal import screen_on_terminal
    except ImportError:
        remark("rich is not installed: lines instead of a screen.")
        remark("  fix: pip install 'stream-infer[demo]'")
        yield Lines()
        return
    with screen_on_terminal() as screen:
        yield screen
