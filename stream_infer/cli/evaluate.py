"""``stream-infer evaluate``: measure any version of a model on labelled data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import (
    Duration,
    Mapping,
    PipelineReference,
    json_option,
    settings_options,
)
from stream_infer.cli.output import Progress, print_json, remark, run_client
from stream_infer.cli.train import require_training_libraries
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.events.columns import EventColumns
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.features.plan import Plan
    from stream_infer.pipeline import Pipeline
    from stream_infer.scoring.model import Model
    from stream_infer.settings.loading import Settings
    from stream_infer.training.evaluating import Question
    from stream_infer.training.history import Scored

FIGURES = ("auc", "average_precision", "card_precision_100")


@click.command(name="evaluate")
@click.argument("wanted", metavar="MODEL")
@click.option("--data", type=click.Path(path_type=Path), help="File of events.")
@click.option(
    "--from-topic",
    is_flag=True,
    help="Measure on the pipeline's own history in Kafka in place of a file: its events, its "
    "labels, and what the version answered.",
)
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--labels", metavar="COLUMN|FILE", help="Column of the truth, or a file of labels.")
@click.option("--label-fields", type=Mapping(), help="As --fields, for labels of their own.")
@click.option("--test", "test_days", metavar="FROM..TO", help="Days to measure on. [default: all]")
@click.option(
    "--train",
    "train_days",
    metavar="FROM..TO",
    help="Days the model was fitted on: customers of frauds known from then on are left out.",
)
@click.option(
    "--delay", type=Duration(), default="7d", show_default=True, help="How long a label takes."
)
@click.option("--keep-known", is_flag=True, help="Leave no customer out.")
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be used.")
@click.option(
    "--pipeline", type=PipelineReference(), help="Whose features. [default: the model's own]"
)
@click.option(
    "--registry",
    metavar="FOLDER|URL",
    help="Where MODEL, as name, name@alias or name@version, is kept. [default: [model] registry of "
    "the configuration, unless MODEL is a folder]",
)
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with pictures."
)
@settings_options
@json_option
def command(
    *,
    wanted: str,
    registry: str | None,
    pipeline: Pipeline | None,
    report: Path | None,
    settings: Settings,
    as_json: bool,
    test_days: str | None,
    train_days: str | None,
    delay: int,
    keep_known: bool,
    **given: Any,
) -> None:
    """Measure MODEL (a folder; of a registry, name or name@alias) on labelled events.

    The events are those of a file (--data), or with --from-topic those that the pipeline has read
    from Kafka up to now, with the labels that have come. There, the version's own answers are
    measured where the log holds them; other events are folded anew, offline, and scored.
    """
    require_training_libraries()
    asked = _Asked(**given)
    asked.check()
    from stream_infer.features.plan import compile_plan
    from stream_infer.training.days import parse_days
    from stream_infer.training.evaluating import Question, evaluation_page, pipeline_of

    loaded, booster = _load(wanted, registry, settings)
    question = Question(
        test=parse_days(test_days, "--test") if test_days else None,
        train=parse_days(train_days, "--train") if train_days else None,
        delay_ms=delay,
        keep_known=keep_known,
    )
    plan = compile_plan(pipeline or pipeline_of(loaded.manifest))
    if loaded.manifest.outputs:
        said = _forecasts(loaded, plan, question, asked, settings)
    else:
        said = _probabilities(loaded, plan, question, asked, settings, booster)
    if report is not None:
        report.write_text(evaluation_page(said))
        remark(f"report in {report}")
    if as_json:
        print_json(said)
    else:
        _show(said)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Where events and labels stand."""

    data: Path | None
    from_topic: bool
    fields: FieldMapping | None
    labels: str | None
    label_fields: FieldMapping | None
    skip_bad: bool

    def check(self) -> None:
        """Refuse options that contradict each other."""
        if self.from_topic == (self.data is not None):
            raise UsageError(
                "no_data" if self.data is None else "two_sources",
                "Nobody said what to measure on."
                if self.data is None
                else "--data names a file, and --from-topic asks for Kafka.",
                "Give --data FILE, or --from-topic for the pipeline's own history in Kafka.",
            )
        if self.from_topic and self.labels is not None:
            raise UsageError(
                "labels_with_topic",
                "With --from-topic the labels are those of the pipeline's own topic.",
                "Leave --labels away, or measure on a file with --data.",
            )

    def mappings(self, settings: Settings) -> tuple[FieldMapping | None, FieldMapping | None]:
        """Return where fields of events and labels stand in Kafka's records."""
        return (
            self.fields or settings.field_mapping(),
            self.label_fields or settings.label_field_mapping(),
        )


def _probabilities(
    model: Model,
    plan: Plan,
    question: Question,
    asked: _Asked,
    settings: Settings,
    booster: str | None,
) -> dict[str, Any]:
    from stream_infer.training.evaluating import evaluate, evaluate_history
    from stream_infer.training.gathering import Source, gather

    if asked.data is None:
        history = run_client(_history(model, plan, question, asked, settings))
        return evaluate_history(model, plan, history, question)
    source = Source(
        data=asked.data,
        fields=asked.fields,
        labels=asked.labels,
        label_fields=asked.label_fields,
        delay_ms=question.delay_ms,
        skip_bad=asked.skip_bad,
    )
    return evaluate(model, plan, gather(plan.pipeline, source), question, booster)


def _forecasts(
    model: Model, plan: Plan, question: Question, asked: _Asked, settings: Settings
) -> dict[str, Any]:
    from stream_infer.training.roads.evaluating import evaluate_forecasts
    from stream_infer.training.roads.readings import read_readings, readings_of

    if asked.data is None:
        columns = run_client(_readings(plan, asked, settings))
        readings = readings_of(plan.pipeline, columns)
    else:
        readings = read_readings(plan.pipeline, asked.data, asked.fields, skip_bad=asked.skip_bad)
    return evaluate_forecasts(model, readings, question.test)


async def _history(
    model: Model, plan: Plan, question: Question, asked: _Asked, settings: Settings
) -> Scored:
    from stream_infer.training.topics.history import read_history

    progress = Progress("records")
    try:
        return await read_history(
            settings.connection(),
            model,
            plan,
            question,
            asked.mappings(settings),
            progress.update,
        )
    finally:
        progress.finish()


async def _readings(plan: Plan, asked: _Asked, settings: Settings) -> EventColumns:
    from stream_infer.training.topics.history import read_readings_log

    progress = Progress("records")
    try:
        fields, _ = asked.mappings(settings)
        connection = settings.connection()
        return await read_readings_log(connection, plan.pipeline, fields, progress.update)
    finally:
        progress.finish()


def _show(said: dict[str, Any]) -> None:
    remark(f"{said['model']} {said['version']} on {said['rows']:,} rows")
    if "rmse" in said:
        for name in said["rmse"]:
            click.echo(f"{name:6} RMSE {said['rmse'][name]:g}  MAE {said['mae'][name]:g}")
        return
    if "scores" in said:
        scores = said["scores"]
        remark(f"{scores['served']:,} as they were served, {scores['computed']:,} computed anew")
    for name in FIGURES:
        click.echo(f"{name:20} {said[name]:g}")


def _load(model: str, where: str | None, settings: Settings) -> tuple[Model, str | None]:
    """Return the model of a folder, or of a registry, and its trees' own text where it is kept."""
    from stream_infer.scoring.model import load_model
    from stream_infer.training.contributions import BOOSTER_FILE

    if where is None and not Path(model).is_dir():
        where = settings.model.registry
    if where is None:
        kept = Path(model) / BOOSTER_FILE
        return load_model(model), kept.read_text() if kept.is_file() else None
    from stream_infer.cli.serving import version_finder
    from stream_infer.registry.registry import Registry

    name, _, reference = model.partition("@")
    loaded = version_finder(where, settings)(name, reference or "champion")
    if BOOSTER_FILE not in loaded.manifest.attachments:
        return loaded, None
    registry = Registry.open(where, create=False)
    return loaded, registry.attachment(name, loaded.version, BOOSTER_FILE).decode()
