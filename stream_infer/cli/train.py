"""``stream-infer train``: make a model from a file of labelled events."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import Duration, Kinds, Mapping, PipelineReference, json_option
from stream_infer.cli.output import print_json, remark
from stream_infer.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline
    from stream_infer.training.thresholds import Aim

KINDS = ("logistic", "trees", "forest", "mlp", "blend")
RISING_KINDS = ("trees", "forest", "blend")
FORECAST_KINDS = ("trees", "network")
DAY_MS = 86_400_000


@click.group(name="train")
def command() -> None:
    """Make a model from your own history, by the features that the stream computes."""


@command.command("fraud")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="File of events.")
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--labels", metavar="COLUMN|FILE", help="Column of the truth, or a file of labels.")
@click.option("--label-fields", type=Mapping(), help="As --fields, for the file of labels.")
@click.option("--train", "train_days", required=True, metavar="FROM..TO", help="Days to fit on.")
@click.option("--test", "test_days", required=True, metavar="FROM..TO", help="Days to measure on.")
@click.option(
    "--delay", type=Duration(), default="7d", show_default=True, help="How long a label takes."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every learner.")
@click.option("--kinds", type=Kinds(KINDS), help=f"What is tried. [default: {','.join(KINDS)}]")
@click.option(
    "--rising",
    metavar="FEATURE,…",
    default="",
    help=f"Features of which more never lowers the score; of kinds {', '.join(RISING_KINDS)}.",
)
@click.option(
    "--distil", is_flag=True, help="Write a small network that imitates the model found best."
)
@click.option(
    "--networks",
    type=click.IntRange(1, 5),
    help="With --distil: write the mean of so many networks. [default: 1, a larger one]",
)
@click.option("--budget", type=float, help="Share of the events that may be stopped, 0 to 1.")
@click.option("--precision", type=float, help="How often a stop must be right, 0 to 1.")
@click.option(
    "--keep-known", is_flag=True, help="Measure also on customers of whom a fraud was known."
)
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be used.")
@click.option(
    "--threads", type=click.IntRange(1, 256), help="For the forest. [default: one a core]"
)
@click.option(
    "--pipeline",
    type=PipelineReference(),
    default="fraud_history",
    show_default=True,
    help="Whose features; a built-in word or your own file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models"),
    show_default=True,
    help="Folder in which the model's own <name>/<version> is made.",
)
@click.option("--registry", metavar="FOLDER|URL", help="Publish the version there, too.")
@json_option
def fraud_command(
    *,
    data: Path,
    fields: FieldMapping | None,
    labels: str | None,
    label_fields: FieldMapping | None,
    train_days: str,
    test_days: str,
    delay: int,
    seed: int,
    kinds: tuple[str, ...] | None,
    rising: str,
    distil: bool,
    networks: int | None,
    budget: float | None,
    precision: float | None,
    keep_known: bool,
    skip_bad: bool,
    threads: int | None,
    pipeline: Pipeline,
    out: Path,
    registry: str | None,
    as_json: bool,
) -> None:
    """Make a model that tells fraudulent events from genuine ones.

    Days are days of the event time in UTC, both ends included. Kind, settings, calibration and
    thresholds are chosen on folds that end with the last training day; the test days are scored
    once. OUT gets model.onnx, manifest.json, report.html and report.json.
    """
    require_training_libraries()
    from stream_infer.training.days import Protocol, parse_days
    from stream_infer.training.fraud import train_fraud
    from stream_infer.training.gathering import Source
    from stream_infer.training.making import Order

    protocol = Protocol(parse_days(train_days, "--train"), parse_days(test_days, "--test"), delay)
    names = tuple(name.strip() for name in rising.split(",") if name.strip())
    order = Order(
        protocol=protocol,
        kinds=kinds or (RISING_KINDS if names else KINDS),
        rising=names,
        aim=_aim(budget, precision),
        seed=seed,
        threads=threads or os.cpu_count() or 1,
        distil=distil,
        networks=_networks(networks, distil=distil),
        keep_known=keep_known,
        source=f"{data.name}, {protocol.train}",
    )
    source = Source(
        data=data,
        fields=fields,
        labels=labels,
        label_fields=label_fields,
        delay_ms=delay,
        skip_bad=skip_bad,
    )
    told = train_fraud(pipeline, source, order, out, registry, remark)
    if as_json:
        print_json(told)
        return
    remark(f"{told['kind']} of {told['training']['rows']:,} rows in {told['folder']}")
    for name in ("auc", "average_precision", "card_precision_100"):
        click.echo(f"{name:20} {told[name]:g}")


@command.command("traffic")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="File of readings.")
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option(
    "--sensors",
    type=click.Path(path_type=Path),
    help="Table of the sensors. [default: that of the simulated roads]",
)
@click.option(
    "--split",
    type=click.FloatRange(0.1, 0.95),
    default=0.8,
    show_default=True,
    help="Share of the time that is trained on; the rest is measured on.",
)
@click.option(
    "--kinds",
    type=Kinds(FORECAST_KINDS),
    default=FORECAST_KINDS,
    help=f"What is tried. [default: {','.join(FORECAST_KINDS)}]",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.0005,
    show_default=True,
    help="Share of the readings that may be anomalies.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every learner.")
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be used.")
@click.option("--pipeline", type=PipelineReference(), help="A pipeline of your own with forecasts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models"),
    show_default=True,
    help="Folder in which the model's own <name>/<version> is made.",
)
@click.option("--registry", metavar="FOLDER|URL", help="Publish the version there, too.")
@json_option
def traffic_command(
    *,
    data: Path,
    fields: FieldMapping | None,
    sensors: Path | None,
    split: float,
    kinds: tuple[str, ...],
    budget: float,
    seed: int,
    skip_bad: bool,
    pipeline: Pipeline | None,
    out: Path,
    registry: str | None,
    as_json: bool,
) -> None:
    """Make a model that forecasts what sensors will measure.

    Settings and bands are chosen on the last part of the training; the test is looked at once. OUT
    gets model.onnx, manifest.json, report.html and report.json.
    """
    require_training_libraries()
    from stream_infer.pipelines.traffic import built_in_table, traffic_pipeline
    from stream_infer.training.roads.training import train_traffic

    if pipeline is not None and sensors is not None:
        raise UsageError(
            "two_tables",
            "--pipeline has a table of sensors, and --sensors names another one.",
            "Give one of them.",
        )
    told = train_traffic(
        pipeline or traffic_pipeline(sensors or built_in_table()),
        data,
        fields,
        kinds=kinds,
        budget=budget,
        split=split,
        seed=seed,
        out=out,
        registry=registry,
        skip_bad=skip_bad,
        tell=remark,
    )
    if as_json:
        print_json(told)
        return
    remark(f"{told['kind']} of {told['training']['rows']:,} rows in {told['folder']}")
    for name in told["rmse"]:
        click.echo(f"{name:6} RMSE {told['rmse'][name]:g}  MAE {told['mae'][name]:g}")


def _networks(given: int | None, *, distil: bool) -> int:
    """Return of how many networks a mean is wanted."""
    if given is not None and not distil:
        raise UsageError(
            "networks_without_distil",
            "--networks says how many networks imitate the model, and none is asked for.",
            "Give --distil, too, or leave --networks out.",
        )
    return given or 1


def _aim(budget: float | None, precision: float | None) -> Aim:
    """Return what the thresholds keep."""
    from stream_infer.training.thresholds import Aim, AlertBudget, AlertGoals

    if budget is not None and precision is not None:
        raise UsageError(
            "two_aims",
            "--budget and --precision both say where the thresholds lie.",
            "Give one of them.",
        )
    for name, value in (("--budget", budget), ("--precision", precision)):
        if value is not None and not 0 < value < 1:
            raise UsageError(
                "no_share", f"{name} is {value:g}, no share.", "Give a number between 0 and 1."
            )
    if budget is not None:
        return Aim(budget=AlertBudget(review=budget, decline=budget / 5))
    if precision is not None:
        return Aim(goals=AlertGoals(review=precision, decline=max(precision, 0.92)))
    return Aim()


def require_training_libraries() -> None:
    """Raise `ConfigError` where the extra `train` is not installed."""
    import importlib.util

    missing = [
        name
        for name in ("lightgbm", "sklearn", "onnx", "polars", "threadpoolctl")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ConfigError(
            "train_extra_missing",
            f"Training needs {', '.join(missing)}, which is not installed.",
            "Install it with: pip install 'stream-infer[train]'.",
            missing=missing,
        )
