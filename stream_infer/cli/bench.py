"""``stream-infer bench``: figures of this machine, each beside a baseline's of the same run."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import Line, print_json, print_table, remark, run_client

if TYPE_CHECKING:
    from stream_infer.benchmark.spread import Figure
    from stream_infer.broker import EmbeddedBroker

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
    from stream_infer.benchmark.measuring import Asked, Site, measure
    from stream_infer.kafka.connection import Connection

    asked = Asked(
        what=what,
        kinds=kinds or ("trees", "mlp"),
        events=events,
        repeat=repeat,
        seconds=seconds,
        keys=keys,
        minutes=minutes,
        rate=rate,
        reloads=reloads,
        baselines=[name for name in baselines if name != "none"],
    )
    cores = choose_cores(asked.subjects)
    machine = describe_machine(cores)
    line = Line()
    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned(cores.others))
        broker = None if bootstrap else stack.enter_context(_embedded(asked.what))
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        address = bootstrap if broker is None else broker.bootstrap
        pid = None if broker is None else broker.pid
        site = Site(Connection(bootstrap=address or ""), cores, folder, pid, line.show)
        figures = run_client(measure(asked, site))
        line.finish()
    _report(machine, figures, as_json=as_json)


@contextlib.contextmanager
def _embedded(what: str) -> Iterator[EmbeddedBroker]:
    from stream_infer.benchmark.scale import TOGETHER
    from stream_infer.broker import EmbeddedBroker

    # Deleted logs would stay for a minute, and a few runs are gigabytes.
    config = {"log.segment.delete.delay.ms": "1000", **(TOGETHER if what == "scale" else {})}
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
