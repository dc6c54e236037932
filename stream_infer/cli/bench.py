"""``stream-infer bench``: figures of this machine, each beside a baseline's of the same run."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, print_table, remark

if TYPE_CHECKING:
    from stream_infer.benchmark.cores import Cores
    from stream_infer.benchmark.delivery import DeliverySession
    from stream_infer.benchmark.models_session import ModelsSession
    from stream_infer.benchmark.scale import ScaleSession
    from stream_infer.benchmark.session import Session
    from stream_infer.benchmark.spread import Figure
    from stream_infer.broker import EmbeddedBroker
    from stream_infer.kafka.connection import Connection

WHAT = (
    "single",
    "two-stage",
    "alerts",
    "traffic",
    "city",
    "latency",
    "memory",
    "help",
    "scale",
    "delivery",
    "markers",
    "models",
    "failover",
    "restart",
    "restore",
    "soak",
    "all",
)
OUTAGES = ("failover", "restart", "restore", "soak")
EVENTS_DEFAULT = 1_200_000


@click.command(name="bench")
@click.argument("what", type=click.Choice(WHAT), default="all")
@click.option(
    "--model",
    "kinds",
    type=click.Choice(["trees", "mlp"]),
    multiple=True,
    help="Model of the single stage; give it twice for both.  [default: both]",
)
@click.option(
    "--events",
    type=click.IntRange(min=1_000),
    default=EVENTS_DEFAULT,
    show_default=True,
    help="Events of a throughput run.",
)
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs of each."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=20.0,
    show_default=True,
    help="Length of a latency run.",
)
@click.option(
    "--keys",
    type=click.IntRange(min=1_000),
    default=50_000,
    show_default=True,
    help="Keys that a state holds: failover and restart.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.2),
    default=10.0,
    show_default=True,
    help="Length of a soak, without its warm-up.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=100),
    help="Events a second of a soak, and while models are exchanged.  [default: half of what the"
    " worker can do; models: 20000]",
)
@click.option(
    "--reloads",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Exchanges of models.",
)
@click.option(
    "--baseline",
    "baselines",
    type=click.Choice(["aiokafka_loop", "plain_faust", "none"]),
    multiple=True,
    default=("aiokafka_loop",),
    show_default=True,
    help="What runs beside the worker; may be given several times.",
)
@click.option(
    "--bootstrap", metavar="HOST:PORT", help="Measure on this Kafka instead of an embedded one."
)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep the logs of the processes here."
)
@json_option
def command(
    *,
    what: str,
    kinds: tuple[str, ...],
    events: int,
    repeat: int,
    seconds: float,
    keys: int,
    minutes: float,
    rate: int | None,
    reloads: int,
    baselines: tuple[str, ...],
    bootstrap: str | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Measure throughput, latency and memory on this machine.

    The process under measurement has a core of its own; Kafka and the load have the others.
    Throughput counts outputs that Kafka holds, after a warm-up; latency is from the append of
    an event to the append of its output. Close other programs first.

    Not part of `all` are `scale`, which compares two processes on two cores with one on one;
    `delivery`, exactly once beside at least once, with the time until a reader of committed
    records has an output; `markers`, the commit markers of 4, 12 and 48 partitions; `models`, what
    exchanging, shadowing and guarding models costs beside the same without; `failover`,
    from a kill of one of two workers to the first outputs of all its partitions; `restart`, the
    pauses of restarts on purpose; `restore`, the silent replay of a log; and `soak`, whether
    memory stays flat at half load.
    """
    from stream_infer.benchmark.cores import choose_cores, describe_machine, pinned
    from stream_infer.benchmark.delivery import DeliverySession
    from stream_infer.benchmark.models_session import RATE as MODELS_RATE
    from stream_infer.benchmark.models_session import ModelsSession
    from stream_infer.benchmark.scale import ScaleSession
    from stream_infer.benchmark.session import Session
    from stream_infer.cli.output import run_client
    from stream_infer.kafka.connection import Connection

    cores = choose_cores(2 if what in ("scale", "models") else 1)
    machine = describe_machine(cores)
    line = _Line()
    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned(cores.others))
        broker = None if bootstrap else stack.enter_context(_embedded())
        address = bootstrap if broker is None else broker.bootstrap
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        connection = Connection(bootstrap=address or "")
        chosen = kinds or ("trees", "mlp")
        if what == "scale":
            scale = ScaleSession(
                connection,
                cores,
                folder,
                repeat=repeat,
                broker_pid=None if broker is None else broker.pid,
                show=line.show,
            )
            figures = run_client(_measure_scale(scale, chosen, events))
        elif what == "models":
            models = ModelsSession(
                connection,
                cores,
                folder,
                repeat=repeat,
                reloads=reloads,
                rate=rate or MODELS_RATE,
                show=line.show,
            )
            figures = run_client(_measure_models(models, events))
        elif what in OUTAGES:
            asked = _Asked(what, chosen, events, repeat, keys, minutes, rate)
            figures = run_client(_measure_outages(connection, cores, folder, line.show, asked))
        elif what in ("delivery", "markers"):
            delivery = DeliverySession(connection, cores, folder, repeat=repeat, show=line.show)
            figures = run_client(_measure_delivery(delivery, what, chosen, events, seconds))
        else:
            session = Session(
                connection,
                cores,
                folder,
                repeat=repeat,
                baselines=[name for name in baselines if name != "none"],
                show=line.show,
            )
            figures = run_client(_measure(session, what, chosen, events, seconds))
        line.finish()
    _report(machine, figures, as_json=as_json)


async def _measure(
    session: Session, what: str, kinds: tuple[str, ...], events: int, seconds: float
) -> list[Figure]:
    from stream_infer.benchmark.models import MODEL_KINDS
    from stream_infer.benchmark.scenarios import single_scenario, two_stage_scenario
    from stream_infer.benchmark.session import MEMORY_EVENTS_MIN

    models = [kind for kind in MODEL_KINDS if kind in kinds]
    figures: list[Figure] = []
    if what in ("single", "memory", "all"):
        rows = max(events, MEMORY_EVENTS_MIN) if what == "memory" else events
        for kind in models:
            figures += await session.single(kind, rows)
    if what in ("two-stage", "all"):
        figures += await session.two_stage(events)
    if what in ("alerts", "all"):
        figures += await session.alerts(events)
    if what in ("traffic", "all"):
        figures += await session.traffic(events)
    if what in ("city", "all"):
        figures += await session.city(seconds)
    if what in ("latency", "all"):
        figures += await session.latency(single_scenario(models[0]), seconds)
        figures += await session.latency(two_stage_scenario(), seconds)
    if what in ("help", "all"):
        figures += await asyncio.to_thread(session.help_time)
    if what == "memory":
        figures = [figure for figure in figures if figure.unit == "MiB"]
    return figures


async def _measure_scale(
    session: ScaleSession, kinds: tuple[str, ...], events: int
) -> list[Figure]:
    from stream_infer.benchmark.load import single_load, two_stage_load
    from stream_infer.benchmark.models import MODEL_KINDS
    from stream_infer.benchmark.scenarios import single_scenario, two_stage_scenario

    kind = next(kind for kind in MODEL_KINDS if kind in kinds)
    figures = await session.measure(single_scenario(kind), single_load(events))
    return figures + await session.measure(two_stage_scenario(), two_stage_load(events))


async def _measure_models(session: ModelsSession, events: int) -> list[Figure]:
    figures = await session.reloads()
    figures += await session.promotions()
    figures += await session.shadow(events)
    return figures + await session.guard(events)


async def _measure_delivery(
    session: DeliverySession, what: str, kinds: tuple[str, ...], events: int, seconds: float
) -> list[Figure]:
    from stream_infer.benchmark.load import single_load, two_stage_load
    from stream_infer.benchmark.models import MODEL_KINDS
    from stream_infer.benchmark.scenarios import single_scenario, two_stage_scenario

    single = single_scenario(next(kind for kind in MODEL_KINDS if kind in kinds))
    two = two_stage_scenario()
    if what == "markers":
        return await session.markers(two, seconds)
    figures = await session.throughput(single, single_load(events))
    figures += await session.throughput(two, two_stage_load(events))
    figures += await session.latency(single, seconds)
    return figures + await session.latency(two, seconds)


@dataclass(frozen=True)
class _Asked:
    """What `failover`, `restart`, `restore` and `soak` are asked for."""

    what: str
    kinds: tuple[str, ...]
    events: int
    repeat: int
    keys: int
    minutes: float
    rate: int | None


async def _measure_outages(
    connection: Connection,
    cores: Cores,
    folder: Path,
    show: Callable[[str, int, int | None], None],
    asked: _Asked,
) -> list[Figure]:
    from stream_infer.benchmark.ground import Ground
    from stream_infer.benchmark.load import single_load, two_stage_load
    from stream_infer.benchmark.models import MODEL_KINDS
    from stream_infer.benchmark.outages import OutageSession
    from stream_infer.benchmark.restore import RestoreSession
    from stream_infer.benchmark.scenarios import single_scenario, two_stage_scenario
    from stream_infer.benchmark.soak import SHORT_LOGS, SoakSession

    kind = next(kind for kind in MODEL_KINDS if kind in asked.kinds)
    single, two = (
        replace(each, delivery="exactly_once")
        for each in (single_scenario(kind), two_stage_scenario())
    )
    if asked.what == "soak":
        short = Ground(connection, cores, folder, topics=SHORT_LOGS)
        soak = SoakSession(connection, short, rate=asked.rate, show=show)
        return await soak.measure(single, asked.minutes)
    ground = Ground(connection, cores, folder)
    if asked.what == "restore":
        restore = RestoreSession(connection, cores, ground, repeat=asked.repeat, show=show)
        figures = await restore.measure(single, single_load(asked.events))
        return figures + await restore.measure(two, two_stage_load(asked.events))
    outages = OutageSession(connection, ground, repeat=asked.repeat, show=show)
    if asked.what == "restart":
        return await outages.restart(single, asked.keys)
    figures = []
    for scenario in (single, two):
        for static in (False, True):
            figures += await outages.failover(scenario, asked.keys, static=static)
    return figures


@contextlib.contextmanager
def _embedded() -> Iterator[EmbeddedBroker]:
    from stream_infer.broker import EmbeddedBroker

    # Deleted logs would stay for a minute, and a few runs are gigabytes.
    config = {"log.segment.delete.delay.ms": "1000"}
    with EmbeddedBroker(config=config) as broker:
        yield broker


def _report(machine: dict[str, Any], figures: list[Figure], *, as_json: bool) -> None:
    from stream_infer.benchmark.spread import text_of

    if as_json:
        invoked = shlex.join(["stream-infer", *sys.argv[1:]])
        described = [figure.describe() for figure in figures]
        print_json({"command": invoked, "machine": machine, "figures": described})
        return
    names = sorted({name for figure in figures for name in figure.baselines})
    remark(
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load_average'][0]}, "
        f"Python {machine['python']}, {machine['date']}"
    )
    rows = []
    for figure in figures:
        row = [figure.name, figure.unit, text_of(figure.worker)]
        for name in names:
            baseline = figure.baselines.get(name)
            ratio = figure.ratio(name) if baseline else None
            row += [
                "-" if baseline is None else text_of(baseline),
                "-" if ratio is None else f"{ratio:.2f}",
            ]
        rows.append(row)
    columns = [cell for name in names for cell in (name, "ratio")]
    print_table(["figure", "unit", "worker", *columns], rows)


class _Line:
    """One line on stderr, rewritten in place; silent unless stderr is a terminal."""

    interval_s = 0.2

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        self._what = ""

    def show(self, what: str, done: int, total: int | None) -> None:
        """Show what is under way, at most a few times a second."""
        now = time.monotonic()
        if not self._shown or (what == self._what and now < self._next):
            return
        self._what, self._next = what, now + self.interval_s
        share = f": {done:,} of {total:,}" if total is not None else ""
        click.echo(f"\r{what}{share}\x1b[K", err=True, nl=False)

    def finish(self) -> None:
        """Remove the line."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
