"""``stream-infer broker``: run a real Kafka on this machine, for tests and demos."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, remark
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.broker import EmbeddedBroker

# Where every other command looks for Kafka unless it is told otherwise.
USUAL_PORT = 9092
CHECK_S = 0.5

Function = Callable[..., Any]


@click.group(name="broker")
def command() -> None:
    """Run a real Apache Kafka on this machine, for tests and demos.

    One node, on loopback only, without Docker and without an installed Java.
    """


def _broker_options(function: Function) -> Function:
    options = [
        click.option(
            "--port",
            type=click.IntRange(1, 65_535),
            help=f"Client port. [default: {USUAL_PORT} if it is free, else a free one]",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            help="Folder to keep. [default: a temporary one, removed when the broker stops]",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            help="A broker setting by its Kafka name; may be repeated.",
        ),
        click.option(
            "--heap-mb", type=click.IntRange(32), default=512, show_default=True, help="Java heap."
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(1.0),
            default=60.0,
            show_default=True,
            help="Seconds to wait until it serves.",
        ),
        json_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


_name_option = click.option(
    "--name", default="default", show_default=True, help="Which one, when several run."
)


@command.command()
@_broker_options
@_name_option
def start(name: str, data_dir: Path | None, *, as_json: bool, **options: Any) -> None:
    """Start a broker in the background and print its bootstrap address."""
    from stream_infer.broker.state import start_detached

    state = start_detached(
        _broker(data_dir, **options), _checked_name(name), temporary=data_dir is None
    )
    if as_json:
        print_json(asdict(state))
        return
    click.echo(state.bootstrap)
    if state.bootstrap != f"127.0.0.1:{USUAL_PORT}":
        remark(f"Commands find it with: export STREAM_INFER_BOOTSTRAP={state.bootstrap}")


@command.command()
@_name_option
@json_option
def stop(name: str, *, as_json: bool) -> None:
    """Stop a broker that `start` has started."""
    from stream_infer.broker.state import stop_detached

    state = stop_detached(_checked_name(name))
    if as_json:
        print_json({"name": name, "stopped": True, "bootstrap": state.bootstrap})
    else:
        click.echo(f"stopped {state.bootstrap}")


@command.command()
@_name_option
@json_option
def status(name: str, *, as_json: bool) -> None:
    """Say whether a broker that `start` has started runs, and serves."""
    from stream_infer.broker.readiness import ask_broker
    from stream_infer.broker.state import find_running

    state = find_running(_checked_name(name))
    host, _, port = state.bootstrap.rpartition(":")
    serves = ask_broker(host, int(port)) is not None
    if as_json:
        print_json({**asdict(state), "serves": serves})
        return
    word = "serves" if serves else "runs, but does not answer,"
    click.echo(f"Kafka {state.kafka_version} {word} at {state.bootstrap} (pid {state.pid})")
    click.echo(f"folder {state.folder}{' (temporary)' if state.temporary else ''}")
    click.echo(f"log    {state.log_path}")


@command.command()
@_broker_options
def run(data_dir: Path | None, *, as_json: bool, **options: Any) -> None:
    """Run a broker in the foreground until Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopped.set())
    with _broker(data_dir, **options) as broker:
        if as_json:
            print_json({"bootstrap": broker.bootstrap, "pid": broker.pid, "folder": broker.folder})
        else:
            click.echo(broker.bootstrap)
        while not stopped.wait(CHECK_S):
            broker.check()


def _broker(
    data_dir: Path | None,
    *,
    port: int | None,
    settings: tuple[str, ...],
    heap_mb: int,
    timeout_s: float,
) -> EmbeddedBroker:
    from stream_infer.broker import EmbeddedBroker
    from stream_infer.broker.layout import read_identity
    from stream_infer.broker.ports import is_free

    known = data_dir is not None and read_identity(data_dir) is not None
    if port is None and not known and is_free(USUAL_PORT):
        port = USUAL_PORT  # a folder that was used before keeps its own port
    return EmbeddedBroker(
        data_dir,
        port,
        dict(_setting(text) for text in settings),
        heap_mb=heap_mb,
        start_timeout_s=timeout_s,
    )


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(
            "setting_malformed",
            f"'{text}' is not a setting.",
            "Write it as NAME=VALUE, such as --set message.max.bytes=2000000.",
        )
    return name.strip(), value.strip()


def _checked_name(name: str) -> str:
    """Return the name if it can be a file's name."""
    if not name or not all(c.isalnum() or c in "-_" for c in name):
        raise UsageError(
            "name_malformed",
            f"'{name}' cannot name a broker.",
            "Use letters, digits, '-' and '_'.",
        )
    return name
