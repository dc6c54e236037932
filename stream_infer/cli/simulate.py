"""``stream-infer simulate``: generated payments or sensor readings, to topics or files."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import Duration, Instant, json_option, settings_options
from stream_infer.cli.replay import Speed
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.cli.simulation_targets import Feeding

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: a date of its own, so that a seed gives the same run on every day."""


class SpeedOrMax(Speed):
    """``max``, which is infinite here, or how many times faster than real time."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        return math.inf if value == "max" else super().convert(value, param, ctx)


@click.group(name="simulate")
def command() -> None:
    """Generate payments or sensor readings by seed, with the truth about them."""


def feeding_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both simulations share; the command receives it as `feeding`."""

    @click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True)
    @click.option(
        "--start",
        type=Instant(),
        default=START_MS,
        help="When the simulated time begins; 0s is now. [default: 2026-01-01T00:00:00Z]",
    )
    @click.option(
        "--days", type=click.FloatRange(min=0, min_open=True), help="How long, in simulated days."
    )
    @click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True),
        help="How long, in seconds of this machine's time.",
    )
    @click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        help="Events a second. [default: 1000, unless --speed is given]",
    )
    @click.option(
        "--speed",
        type=SpeedOrMax(),
        help="'max', or a factor of simulated time: 1 is real time, 60 a minute in a second.",
    )
    @click.option("--topic", help="Topic of the events. [default: the pipeline's input]")
    @click.option("--truth-topic", help="Topic of the truth. [default: <simulation>-truth]")
    @click.option("--no-truth", is_flag=True, help="Do not write the truth.")
    @click.option("--create-topics", is_flag=True, help="Create the topics that are missing.")
    @click.option(
        "--partitions",
        type=click.IntRange(1, 10_000),
        default=4,
        show_default=True,
        help="Of each topic that is created.",
    )
    @click.option(
        "--to-file",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help="Write JSON lines there instead of to Kafka; - is stdout, events only.",
    )
    @click.option("--overwrite", is_flag=True, help="Write over files that exist.")
    @settings_options
    @json_option
    @functools.wraps(function)
    def with_feeding(**given: Any) -> None:
        from stream_infer.cli.simulation_targets import Feeding

        names = Feeding.__dataclass_fields__
        feeding = Feeding(**{name: given.pop(name) for name in names})
        function(feeding=feeding, **given)

    return with_feeding


@command.command()
@click.option("--customers", type=click.IntRange(min=1), default=5_000, show_default=True)
@click.option("--terminals", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option(
    "--label-delay",
    type=Duration(),
    default="6d",
    show_default=True,
    help="Simulated time from a transaction to its label, which takes up to 12 h more.",
)
@click.option("--label-topic", help="Topic of the labels. [default: fraud-labels]")
@click.option("--no-labels", is_flag=True, help="Do not write labels.")
@click.option(
    "--takeovers",
    type=click.FloatRange(0, 1),
    default=0.0004,
    show_default=True,
    help="Share of the customers whose account is taken over each day.",
)
@click.option(
    "--card-tests",
    type=click.FloatRange(0, 1),
    default=0.0004,
    show_default=True,
    help="Share of the customers whose card number is tested each day.",
)
@feeding_options
def fraud(
    *,
    feeding: Feeding,
    customers: int,
    terminals: int,
    label_delay: int,
    label_topic: str | None,
    no_labels: bool,
    takeovers: float,
    card_tests: float,
) -> None:
    """Simulate payments of customers with habits, and five kinds of fraud."""
    from stream_infer.cli.simulation import simulate
    from stream_infer.cli.simulation_targets import Simulation
    from stream_infer.pipelines.fraud import pipeline
    from stream_infer.simulators.fraud import World
    from stream_infer.simulators.pieces import Role, fraud_pieces, whole_days
    from stream_infer.simulators.records import FRAUD_TRUTH

    midnight, days = whole_days(feeding.start, feeding.days_max)
    world = World(
        seed=feeding.seed,
        customers=customers,
        terminals=terminals,
        days=days,
        start_ms=midnight,
        label_delay_ms=label_delay,
        accounts_lost=takeovers,
        cards_tested=card_tests,
    )
    topics: dict[Role, str] = {"events": pipeline.events.topic}
    if pipeline.labels is not None and not no_labels:
        topics["labels"] = label_topic or pipeline.labels.topic
    topics["truth"] = FRAUD_TRUTH
    pieces = fraud_pieces(world, since_ms=feeding.start)
    simulate(Simulation("fraud", pipeline, topics, pieces), feeding)


@command.command()
@click.option("--corridors", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--sensors",
    type=click.IntRange(min=1),
    default=25,
    show_default=True,
    help="Along each corridor.",
)
@click.option(
    "--interval",
    type=Duration(),
    default="60s",
    show_default=True,
    help="Time between two readings of a sensor; whole seconds.",
)
@click.option(
    "--incidents",
    type=click.FloatRange(min=0),
    default=0.6,
    show_default=True,
    help="Of each corridor and day, on average.",
)
@click.option(
    "--faults",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Factor on how often sensors become faulty; 0 keeps all of them well.",
)
@click.option(
    "--sensor-table",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table of the sensors there first (.csv or .json).",
)
@feeding_options
def traffic(
    *,
    feeding: Feeding,
    corridors: int,
    sensors: int,
    interval: int,
    incidents: float,
    faults: float,
    sensor_table: Path | None,
) -> None:
    """Simulate road sensors: rush hours, incidents that spread, faulty sensors."""
    from stream_infer.cli.simulation import simulate
    from stream_infer.cli.simulation_targets import Simulation, write_sensor_table
    from stream_infer.pipelines.traffic import pipeline
    from stream_infer.simulators.pieces import Role, traffic_pieces
    from stream_infer.simulators.records import TRAFFIC_TRUTH
    from stream_infer.simulators.traffic import Roads

    if interval < 1_000 or interval % 1_000:
        raise UsageError(
            "interval_impossible",
            f"Sensors send every few whole seconds, not every {interval} ms.",
            "Give --interval in whole seconds, such as 60s.",
        )
    plain = Roads()
    roads = Roads(
        seed=feeding.seed,
        corridors=corridors,
        sensors_per_corridor=sensors,
        minutes=int(feeding.days_max * 1_440) + 1,
        start_ms=feeding.start,
        interval_s=interval // 1_000,
        incidents_per_corridor_day=incidents,
        silent_per_sensor_day=faults * plain.silent_per_sensor_day,
        stuck_per_sensor_day=faults * plain.stuck_per_sensor_day,
        spikes_per_sensor_day=faults * plain.spikes_per_sensor_day,
        drift_per_sensor_day=faults * plain.drift_per_sensor_day,
    )
    if sensor_table is not None:
        write_sensor_table(roads, sensor_table, overwrite=feeding.overwrite)
    topics: dict[Role, str] = {"events": pipeline.events.topic, "truth": TRAFFIC_TRUTH}
    simulate(Simulation("traffic", pipeline, topics, traffic_pieces(roads)), feeding)
