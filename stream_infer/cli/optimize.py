"""``stream-infer optimize``: smaller and quicker models of the same features, with verdicts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import Duration, Mapping, PipelineReference, json_option
from stream_infer.cli.output import print_json, print_table, remark
from stream_infer.cli.train import require_training_libraries
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline
    from stream_infer.scoring.manifest import Manifest
    from stream_infer.scoring.model import Model
    from stream_infer.training.days import Protocol

EXIT_GATE_FAILED = 6


class Names(click.ParamType):
    """Names of candidates, separated by commas."""

    name = "name,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())


@click.command(name="optimize")
@click.argument("model", metavar="MODEL")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="File of events.")
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--labels", metavar="COLUMN|FILE", help="Column of the truth, or a file of labels.")
@click.option("--label-fields", type=Mapping(), help="As --fields, for the file of labels.")
@click.option(
    "--train", "train_days", metavar="FROM..TO", help="Days the model was fitted on. [default: as"
    " its manifest says]",
)  # fmt: skip
@click.option(
    "--test", "test_days", metavar="FROM..TO", help="Days to report on. [default: as its manifest"
    " says]",
)  # fmt: skip
@click.option(
    "--delay", type=Duration(), default="7d", show_default=True, help="How long a label takes."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every learner.")
@click.option("--only", type=Names(), help="Which candidates are tried. [default: all]")
@click.option(
    "--drop-max", type=click.FloatRange(0, 1), default=0.01, show_default=True,
    help="Average precision that may be lost.",
)  # fmt: skip
@click.option(
    "--flips-max", type=click.FloatRange(0, 1), default=0.01, show_default=True,
    help="Share of the right alerts that may be let pass.",
)  # fmt: skip
@click.option(
    "--every-flip", is_flag=True,
    help="Count each other decision on an alert among the flips, right or wrong.",
)  # fmt: skip
@click.option("--keep-known", is_flag=True, help="Measure also on customers of known frauds.")
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be used.")
@click.option("--threads", type=click.IntRange(1, 256), help="For forests. [default: one a core]")
@click.option(
    "--pipeline", type=PipelineReference(), help="Whose features. [default: the model's own]"
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("models"),
    show_default=True, help="Folder in which <name>/<version> of the recommended one is made.",
)  # fmt: skip
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page with the picture here, too.",
)  # fmt: skip
@click.option(
    "--registry", metavar="FOLDER|URL", help="Where MODEL, as name or name@alias, is kept."
)
@click.option(
    "--publish", is_flag=True, help="Publish the recommended one there, as the challenger."
)
@json_option
def command(
    *,
    model: str,
    data: Path,
    fields: FieldMapping | None,
    labels: str | None,
    label_fields: FieldMapping | None,
    train_days: str | None,
    test_days: str | None,
    delay: int,
    seed: int,
    only: tuple[str, ...] | None,
    drop_max: float,
    flips_max: float,
    every_flip: bool,
    keep_known: bool,
    skip_bad: bool,
    threads: int | None,
    pipeline: Pipeline | None,
    out: Path,
    report: Path | None,
    registry: str | None,
    publish: bool,
    as_json: bool,
) -> None:
    """Make smaller and quicker models of MODEL and say which to adopt.

    MODEL is a model's folder or, with --registry, name or name@alias. Each candidate is measured
    beside the model on labelled events; verdicts are made on days before the training days, the
    test days are reported. Exit code 6 where no candidate qualifies.
    """
    require_training_libraries()
    from stream_infer.features.plan import compile_plan
    from stream_infer.optimizing.optimising import Request, optimise
    from stream_infer.optimizing.publishing import write_chosen
    from stream_infer.optimizing.recipes import chosen_recipes
    from stream_infer.optimizing.report import optimising_report, report_page
    from stream_infer.optimizing.verdicts import Tolerance
    from stream_infer.registry.registry import Registry
    from stream_infer.scoring.session import check_fit
    from stream_infer.training.evaluating import pipeline_of
    from stream_infer.training.gathering import Source, gather

    if publish and registry is None:
        raise UsageError(
            "registry_missing",
            "--publish makes a version in a registry, and nobody said where that is.",
            "Give --registry with a folder or a URL such as s3://bucket/models.",
        )
    chosen_recipes(only)
    content, loaded = _load(model, registry)
    manifest = loaded.manifest
    request = Request(
        protocol=_protocol(manifest, train_days, test_days, delay),
        tolerance=Tolerance(drop_max=drop_max, flips_max=flips_max, every_flip=every_flip),
        only=only,
        seed=seed,
        threads=threads or os.cpu_count() or 1,
        keep_known=keep_known,
    )
    request.protocol.check()
    chosen = pipeline or pipeline_of(manifest)
    plan = compile_plan(chosen)
    check_fit(manifest, plan.feature_names, plan.fingerprint)
    place = Registry.open(registry, create=True) if publish and registry else None
    if place is not None:
        place.standing(manifest.name)  # a registry that cannot be read is told before the work
    remark(f"features of {data.name} by pipeline {chosen.name}")
    source = Source(
        data=data,
        fields=fields,
        labels=labels,
        label_fields=label_fields,
        delay_ms=delay,
        skip_bad=skip_bad,
    )
    gathered = gather(chosen, source)
    made = optimise(content, loaded, gathered.samples, request, remark)
    said = optimising_report(made) | {
        "version": manifest.version,
        "data": gathered.facts() | {"file": data.name, "pipeline": chosen.name},
    }
    page = report_page(said)
    said |= write_chosen(made, manifest, said, page, out, place)
    if report is not None:
        report.write_text(page)
    if as_json:
        print_json(said)
    else:
        _show(said)
    if made.recommended is None:
        click.get_current_context().exit(EXIT_GATE_FAILED)


def _load(model: str, where: str | None) -> tuple[bytes, Model]:
    """Return file and model of a folder, or of a registry."""
    from stream_infer.scoring.manifest import MODEL_FILE
    from stream_infer.scoring.model import load_model

    if where is None or Path(model).is_dir():
        if "@" in model and not Path(model).is_dir():
            raise UsageError(
                "registry_missing",
                f"{model!r} names a model of a registry, and nobody said where that is.",
                "Give --registry with a folder or a URL, or name a model's folder.",
            )
        loaded = load_model(model)
        return (Path(model) / MODEL_FILE).read_bytes(), loaded
    from stream_infer.registry.registry import Registry

    name, _, reference = model.partition("@")
    registry = Registry.open(where, create=False)
    with tempfile.TemporaryDirectory(prefix="stream-infer-model-") as folder:
        registry.copy_to(name, registry.resolve(name, reference or "champion"), Path(folder))
        return (Path(folder) / MODEL_FILE).read_bytes(), load_model(folder)


def _protocol(
    manifest: Manifest, train_days: str | None, test_days: str | None, delay: int
) -> Protocol:
    """Return the days; those that are not given are the ones that the model was made with."""
    from stream_infer.training.days import Protocol, parse_days

    train = train_days or manifest.protocol.get("train")
    test = test_days or manifest.protocol.get("test")
    for option, days in (("--train", train), ("--test", test)):
        if days is None:
            raise UsageError(
                "days_unknown",
                f"The manifest of {manifest.name} {manifest.version} does not say which days it "
                f"was made with, and {option} is not given.",
                "Give --train and --test, as FROM..TO.",
            )
    return Protocol(parse_days(str(train), "--train"), parse_days(str(test), "--test"), delay)


def _show(said: dict[str, Any]) -> None:
    """Print a table of the candidates, and what is recommended."""
    rows = []
    for each in said["candidates"]:
        if not each["applies"]:
            continue
        figures = each["validation"]
        rows.append(
            (
                each["name"],
                f"{figures['average_precision']:.4f}",
                f"{figures['average_precision_drop']['value']:+.4f}",
                f"{figures['flips']['right_lost']} of {figures['flips']['right']}",
                f"{figures['flips']['share']:.1%}",
                f"{each['speedup']:.2f}",
                each["bytes"],
                each["verdict"],
            )
        )
    print_table(
        (
            "candidate",
            "AP",
            "lost",
            "right alerts lost",
            "flips",
            "times as quick",
            "bytes",
            "verdict",
        ),
        rows,
    )
    for each in said["candidates"]:
        if each["verdict"] != "adopt":
            remark(f"{each['name']}: {'; '.join(each['reasons'])}")
    if said["recommended"] is None:
        remark("nothing qualifies")
        return
    remark(f"recommended: {said['recommended']}, in {said['folder']}")
    if "published" in said:
        published = said["published"]
        remark(
            f"version {published['version']} of {said['model']} in {published['registry']} is the "
            f"challenger; tell the workers: stream-infer models tell {said['model']} PIPELINE"
        )
