"""``stream-infer evaluate``: measure any version of a model on labelled data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import Duration, Mapping, PipelineReference, json_option
from stream_infer.cli.output import print_json, remark
from stream_infer.cli.train import require_training_libraries

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline
    from stream_infer.scoring.model import Model


@click.command(name="evaluate")
@click.argument("model", metavar="MODEL")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="File of events.")
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--labels", metavar="COLUMN|FILE", help="Column of the truth, or a file of labels.")
@click.option("--label-fields", type=Mapping(), help="As --fields, for the file of labels.")
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
    "--registry", metavar="FOLDER|URL", help="Where MODEL, as name or name@alias, is kept."
)
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with pictures."
)
@json_option
def command(
    *,
    model: str,
    data: Path,
    fields: FieldMapping | None,
    labels: str | None,
    label_fields: FieldMapping | None,
    test_days: str | None,
    train_days: str | None,
    delay: int,
    keep_known: bool,
    skip_bad: bool,
    pipeline: Pipeline | None,
    registry: str | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (a folder; with --registry name or name@alias) on labelled events."""
    require_training_libraries()
    from stream_infer.features.plan import compile_plan
    from stream_infer.training.days import parse_days
    from stream_infer.training.evaluating import Question, evaluate, evaluation_page, pipeline_of
    from stream_infer.training.gathering import Source, gather

    loaded = _load(model, registry)
    chosen = pipeline or pipeline_of(loaded.manifest)
    question = Question(
        test=parse_days(test_days, "--test") if test_days else None,
        train=parse_days(train_days, "--train") if train_days else None,
        delay_ms=delay,
        keep_known=keep_known,
    )
    source = Source(
        data=data,
        fields=fields,
        labels=labels,
        label_fields=label_fields,
        delay_ms=delay,
        skip_bad=skip_bad,
    )
    said = evaluate(loaded, compile_plan(chosen), gather(chosen, source), question)
    if report is not None:
        report.write_text(evaluation_page(said))
        remark(f"report in {report}")
    if as_json:
        print_json(said)
        return
    remark(f"{said['model']} {said['version']} on {said['rows']:,} rows")
    for name in ("auc", "average_precision", "card_precision_100"):
        click.echo(f"{name:20} {said[name]:g}")


def _load(model: str, where: str | None) -> Model:
    """Return the model of a folder, or of a registry."""
    from stream_infer.scoring.model import load_model

    if where is None:
        return load_model(model)
    from stream_infer.registry.registry import Registry

    name, _, reference = model.partition("@")
    registry = Registry.open(where, create=False)
    with tempfile.TemporaryDirectory(prefix="stream-infer-model-") as folder:
        registry.copy_to(name, registry.resolve(name, reference or "champion"), Path(folder))
        return load_model(folder)
