"""``stream-infer config``: which settings hold, where they come from, and whether they fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.folder import config_to_read
from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, print_table, remark

if TYPE_CHECKING:
    from stream_infer.settings.origin import Told

_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with settings. [default: stream-infer.toml of this folder, if there]",
)
_bootstrap_option = click.option("--bootstrap", metavar="HOST:PORT", help="As of other commands.")


@click.group(name="config")
def command() -> None:
    """Show which settings hold and where they come from; check a configuration."""


@command.command()
@_config_option
@_bootstrap_option
@click.option("--origin", is_flag=True, help="Also where each comes from.")
@click.option("--changed", is_flag=True, help="Only those that are not the default.")
@json_option
def show(
    *, config: Path | None, bootstrap: str | None, origin: bool, changed: bool, as_json: bool
) -> None:
    """Show every setting with its value; secrets are masked.

    Durations are in ms. The commands' own flags, but for --bootstrap, are not looked at.
    """
    rows = [_row(item) for item in _told(config, bootstrap)]
    if changed:
        rows = [row for row in rows if row["origin"] != "default"]
    if as_json:
        print_json({"settings": rows})
        return
    names = ("setting", "value", "origin", "where") if origin else ("setting", "value")
    print_table(names, (_cells(row)[: len(names)] for row in rows))


@command.command()
@_config_option
@json_option
def check(*, config: Path | None, as_json: bool) -> None:
    """Check a configuration and what it names; exit code 2 for what is wrong, 3 if missing.

    Keys, values, field mappings, the pipeline's file and the model are looked at; nothing else
    is reached. See also: stream-infer check, for a pipeline with Kafka.
    """
    from stream_infer.settings.loading import load_settings

    path = config_to_read(config)
    settings = load_settings(path)
    settings.connection()
    settings.thresholds()
    settings.worker_settings()
    settings.model_settings()
    settings.field_mapping()
    settings.label_field_mapping()
    looked_at = ["keys and values", "field mappings"]
    if settings.pipeline.file is not None:
        _check_pipeline(settings)
        looked_at += ["pipeline", "its fields", "its model"]
    if as_json:
        print_json({"ok": True, "config": str(path) if path else None, "checked": looked_at})
    else:
        click.echo(f"{path or 'defaults and environment'}: ok ({', '.join(looked_at)})")


def _check_pipeline(settings: Any) -> None:
    from stream_infer.cli.serving import judge_model
    from stream_infer.events.decode import EventDecoder, LabelDecoder
    from stream_infer.features.plan import compile_plan
    from stream_infer.pipelines.loading import load_pipeline

    pipeline = settings.applied_to(load_pipeline(settings.pipeline.file))
    plan = compile_plan(pipeline)
    EventDecoder(pipeline.events, settings.field_mapping())
    if pipeline.labels is not None:
        LabelDecoder(pipeline.labels, pipeline.events, settings.label_field_mapping())
    judge_model(pipeline, plan, settings)


def _cells(row: dict[str, Any]) -> tuple[str | None, ...]:
    """Return a row as texts that could be copied into a file: no commas in numbers."""
    value = row["value"]
    shown = None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return row["name"], shown, row["origin"], row["where"]


def _told(config: Path | None, bootstrap: str | None) -> list[Told]:
    from stream_infer.settings.origin import explain_settings

    path = config_to_read(config)
    if path is not None and config is None:
        remark(f"read {path}")
    return explain_settings(path, {"kafka": {"bootstrap": bootstrap}})[1]


def _row(item: Told) -> dict[str, Any]:
    from stream_infer.logs import Masking

    shown = Masking()(None, "", {item.name: item.value})
    return {
        "name": item.name,
        "value": shown[item.name],
        "origin": item.origin,
        "where": item.where,
    }
