"""``stream-infer dev``: a pipeline of this folder at work, with whatever it needs beside it."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.folder import config_to_read, pipeline_to_load
from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, remark, run_client, said_if_slow
from stream_infer.cli.rerunning import RerunWorker
from stream_infer.cli.serving import model_or_ready
from stream_infer.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from stream_infer.kafka.connection import Connection
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was found and how; the lines that a person reads, the object that ``--json`` prints."""

    pipeline: str
    file: str
    found: str
    config: str | None
    settings_changed: list[str]
    input: str
    output: str
    stages: list[str]
    features: list[str]
    fingerprint: str
    model: str | None
    thresholds: list[float] | None
    kafka: str
    kafka_started: bool
    topics_created: list[str]
    web: str | None
    production: list[str]


@click.command(name="dev")
@click.argument("pipeline", required=False)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with settings. [default: stream-infer.toml of this folder, if there]",
)
@click.option("--bootstrap", metavar="HOST:PORT", help="Where Kafka is.")
@click.option("--broker", is_flag=True, help="Start a Kafka here even if one runs already.")
@click.option("--partitions", type=click.IntRange(1, 1_000), default=4, show_default=True)
@click.option("--dry-run", is_flag=True, help="Say what was found; start and create nothing.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    pipeline: str | None,
    config: Path | None,
    bootstrap: str | None,
    broker: bool,
    partitions: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a pipeline while working on it: PIPELINE, or the one of this folder.

    Says what was loaded and from where, starts a Kafka if none answers on this machine, creates
    missing topics there, and runs the worker; it starts anew when its files change.
    """
    from stream_infer.pipelines.loading import load_pipeline
    from stream_infer.settings.origin import explain_settings

    path = config_to_read(config)
    settings, told = explain_settings(path, {"kafka": {"bootstrap": bootstrap}})
    reference, found = pipeline_to_load(pipeline, settings)
    declared = settings.applied_to(load_pipeline(reference))
    changed = [item.name for item in told if item.origin != "default"]
    port = _web_port(settings)
    loaded = Loaded(
        found=found,
        settings_changed=changed,
        kafka=settings.connection().bootstrap,
        kafka_started=False,
        topics_created=[],
        web=None if port is None else f"http://{settings.web.host}:{port}",
        **_facts(declared, settings, reference, path),
    )
    if dry_run:
        _say(loaded, as_json=as_json)
        return
    from stream_infer.windows.precompile import precompile

    # The worker would do it too, and say nothing meanwhile.
    with said_if_slow("compiling kernels, once for this machine (half a minute)"):
        precompile()
    with _kafka(settings, own=broker) as (connection, started, check):
        loaded = replace(
            loaded,
            kafka=connection.bootstrap,
            kafka_started=started,
            topics_created=_create_topics(connection, declared, partitions),
        )
        _say(loaded, as_json=as_json)
        words = ["worker", reference, "--bootstrap", connection.bootstrap]
        words += ["--config", str(path)] if path else []
        worker = RerunWorker(
            words,
            _files(reference, path, settings),
            {} if port is None else {"STREAM_INFER_WEB__PORT": str(port)},
            remark,
        )
        context.exit(worker.run(check, stay=sys.stdin.isatty()))


def _facts(
    pipeline: Pipeline, settings: Settings, reference: str, path: Path | None
) -> dict[str, Any]:
    """Compile and load everything, so that what is wrong is said before anything starts."""
    from stream_infer.events.decode import EventDecoder
    from stream_infer.features.plan import compile_plan
    from stream_infer.scoring.binding import bind_model

    plan = compile_plan(pipeline)
    EventDecoder(pipeline.events, settings.field_mapping())
    place = model_or_ready(pipeline, settings)
    scorer = bind_model(place, plan, settings.execution())
    model = None if scorer is None else scorer.model
    return {
        "pipeline": pipeline.name,
        "file": reference,
        "config": str(path) if path else None,
        "input": pipeline.events.topic,
        "output": pipeline.scored,
        "stages": [stage.entity for stage in plan.stages],
        "features": list(plan.feature_names),
        "fingerprint": plan.fingerprint,
        "model": model and f"{model.name} {model.version}",
        "thresholds": model and [model.thresholds.review, model.thresholds.decline],
        "production": _production(reference, path),
    }


def _production(reference: str, path: Path | None) -> list[str]:
    config = f" --config {shlex.quote(str(path))}" if path else ""
    file = shlex.quote(reference)
    return [
        f"stream-infer topics create {file}{config} --partitions 8 --replication-factor 3",
        f"stream-infer check {file}{config}",
        f"stream-infer worker {file}{config} --log-format json",
    ]


@contextlib.contextmanager
def _kafka(
    settings: Settings, *, own: bool
) -> Iterator[tuple[Connection, bool, Callable[[], None]]]:
    """Give a Kafka that answers: the one of the settings, else one that is started here.

    Yields the connection, whether it was started here, and what raises when it has ended. One is
    started only in place of a Kafka of this machine: for another's, the cause is raised.
    """
    from stream_infer.kafka.connection import reach

    connection = settings.connection()
    port = None
    if own and connection.security.protocol != "PLAINTEXT":
        raise ConfigError(
            "own_broker_is_open",
            f"A Kafka that is started here is plaintext, and [security] asks for"
            f" {connection.security.protocol}.",
            "Leave --broker out, or unset protocol in [security].",
        )
    if not own:
        try:
            run_client(reach(connection))
        except BrokerError as error:
            host, port = connection.addresses()[0]
            unlike = host not in LOOPBACK or connection.security.protocol != "PLAINTEXT"
            if unlike or error.code != "broker_refused":
                raise
        else:
            yield connection, False, lambda: None
            return
    from stream_infer.broker import EmbeddedBroker

    with EmbeddedBroker(port=port, progress=remark) as broker:
        yield replace(connection, bootstrap=broker.bootstrap), True, broker.check


def _create_topics(connection: Connection, pipeline: Pipeline, partitions: int) -> list[str]:
    """Create what is missing on a Kafka of this machine; elsewhere that is for people to decide."""
    from stream_infer.kafka.topics import check_topics, create_topics, read_topics

    if any(host not in LOOPBACK for host, _port in connection.addresses()):
        run_client(check_topics(connection, pipeline))
        return []
    there = run_client(read_topics(connection, [pipeline.events.topic]))
    if pipeline.events.topic in there:
        partitions = there[pipeline.events.topic].partitions
    done = run_client(create_topics(connection, pipeline, partitions=partitions))
    return [name for name, result in done.items() if result == "created"]


def _web_port(settings: Settings) -> int | None:
    """Return the port on which the worker will tell about itself, None if it will not."""
    import socket

    from stream_infer.settings.web import DEFAULT_PORT

    wanted = settings.web.port
    if wanted == "off":
        return None
    if wanted not in ("auto", 0):
        return int(wanted)
    # Chosen here so that it can be said here, and stays when the worker starts anew.
    for port in (DEFAULT_PORT, 0) if wanted == "auto" else (0,):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.web.host, port))
            return int(probe.getsockname()[1])
    return None


def _files(reference: str, path: Path | None, settings: Settings) -> list[Path]:
    files = [path] if path else []
    file = Path(reference.partition(":")[0])
    files += [file] if file.suffix == ".py" else []
    model = settings.model.path
    if model is not None:
        files += [model] if model.is_file() else [model / "manifest.json", model / "model.onnx"]
    return files


def _say(loaded: Loaded, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(loaded))
        sys.stdout.flush()
        return
    changed = ", ".join(loaded.settings_changed) or "all at their defaults"
    model = "none: features are published, nothing is scored"
    if loaded.model is not None and loaded.thresholds is not None:
        review, decline = loaded.thresholds
        model = f"{loaded.model}: review from {review:g}, decline from {decline:g}"
    kafka = loaded.kafka
    if loaded.kafka_started:
        kafka += " (started here; it ends with this command, and so do its records)"
    created = f" (created: {', '.join(loaded.topics_created)})" if loaded.topics_created else ""
    lines = {
        "pipeline": f"{loaded.pipeline} of {loaded.file}, {loaded.found}",
        "settings": f"{loaded.config or 'no file'}: {changed}",
        "topics": f"{loaded.input} -> {loaded.output}{created}",
        "features": f"{len(loaded.features)} in stages {', '.join(loaded.stages)}:"
        f" {', '.join(loaded.features)}",
        "model": model,
        "kafka": kafka,
        "web": f"{loaded.web}/metrics, /health/live, /health/ready" if loaded.web else "off",
    }
    for name, text in lines.items():
        click.echo(f"{name:9} {text}")
    click.echo("in production:")
    for line in loaded.production:
        click.echo(f"  {line}")
