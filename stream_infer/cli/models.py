"""``stream-infer models``: versions, aliases and their history in a registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.models_told import entry_json, show_manifest, standing_json, tell_workers
from stream_infer.cli.options import (
    Instant,
    PipelineReference,
    config_option,
    json_option,
    settings_options,
)
from stream_infer.cli.output import print_json, print_table, remark
from stream_infer.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline
    from stream_infer.registry.entry import Entry
    from stream_infer.registry.registry import Registry
    from stream_infer.settings.loading import Settings

EXIT_GATE_FAILED = 6

registry_option = click.option(
    "--registry",
    "where",
    metavar="FOLDER|URL",
    help="Where models are kept. [default: [model] registry of the configuration]",
)
model_argument = click.argument("name", metavar="MODEL")


@click.group(name="models")
def command() -> None:
    """Publish, promote and roll back versions of models; say what served when."""


def _reading(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of one that reads a registry."""
    return registry_option(config_option(json_option(function)))


def _moving(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of one that moves an alias, and tells workers of it."""
    for option in (
        json_option,
        settings_options,
        click.option(
            "--pipeline",
            "pipelines",
            type=PipelineReference(),
            multiple=True,
            help="Tell the workers of this pipeline at once; may be given several times.",
        ),
        click.option("--who", help="Who decides. [default: user@host]"),
        click.option("--why", default="", help="Why, for whoever reads the history."),
        registry_option,
    ):
        function = option(function)
    return function


def _open(where: str | None, settings: Settings, *, create: bool = False) -> Registry:
    from stream_infer.registry.registry import Registry

    place = where or settings.model.registry
    if place is None:
        raise UsageError(
            "registry_missing",
            "Nobody said where models are kept.",
            "Give --registry with a folder or a URL such as s3://bucket/models, or set [model]"
            " registry in the configuration.",
        )
    return Registry.open(place, create=create)


@command.command("list")
@click.argument("name", metavar="[MODEL]", required=False)
@_reading
def list_command(*, name: str | None, where: str | None, settings: Settings, as_json: bool) -> None:
    """List models, or the versions of MODEL, with the aliases that name them."""
    registry = _open(where, settings)
    rows: list[dict[str, Any]] = []
    for model in registry.models() if name is None else [name]:
        standing = registry.standing(model)
        for version in registry.versions(model):
            manifest = registry.manifest(model, version)
            rows.append(
                {
                    "model": model,
                    "version": version,
                    "aliases": sorted(a for a, v in standing.aliases.items() if v == version),
                    "barred": version in standing.barred,
                    "created": manifest.created,
                    "metrics": manifest.metrics,
                }
            )
    if name is not None and not rows:
        raise _no_model(registry, name)
    if as_json:
        print_json({"registry": registry.place, "versions": rows})
        return
    print_table(
        ("model", "version", "aliases", "created"),
        [
            (
                row["model"],
                row["version"],
                ", ".join([*row["aliases"], *(["(barred)"] if row["barred"] else [])]),
                row["created"],
            )
            for row in rows
        ],
    )


@command.command()
@model_argument
@click.argument("reference", metavar="[VERSION|ALIAS]", default="champion")
@_reading
def show(
    *, name: str, reference: str, where: str | None, settings: Settings, as_json: bool
) -> None:
    """Show the manifest of a version of MODEL, by default of its champion."""
    registry = _open(where, settings)
    manifest = registry.manifest(name, registry.resolve(name, reference))
    standing = registry.standing(name)
    show_manifest(manifest, standing, as_json=as_json)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--next", "numbered", is_flag=True, help="Under the next number.")
@click.option(
    "--attach",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="A further file of the version, such as a report; may be given several times.",
)
@_reading
def publish(
    *,
    folder: Path,
    numbered: bool,
    attach: tuple[Path, ...],
    where: str | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Publish the model in FOLDER (model.onnx and manifest.json); safe to repeat."""
    from stream_infer.scoring.manifest import MODEL_FILE, read_manifest, read_model_part

    registry = _open(where, settings, create=True)
    manifest = read_manifest(folder)
    # What the manifest lists comes along: a version that was copied out is published as it was.
    files = [*(folder / name for name in manifest.attachments), *attach]
    attachments = {file.name: read_model_part(file) for file in files}
    put = registry.publish_next if numbered else registry.publish
    published = put(read_model_part(folder / MODEL_FILE), manifest, attachments)
    model, version = published.manifest.name, published.manifest.version
    if as_json:
        print_json({"model": model, "version": version, "new": published.new})
        return
    state = "is published" if published.new else "was there already, the same"
    remark(f"{model} {version} {state} in {registry.place}.")


@command.command()
@model_argument
@click.argument("version", metavar="VERSION|ALIAS")
@click.option("--expect", help="Refuse unless this version is champion now.")
@_moving
def promote(*, version: str, expect: str | None, **given: Any) -> None:
    """Make a version of MODEL the champion: workers score with it."""

    def move(registry: Registry, model: str, who: str | None, why: str) -> Entry | None:
        chosen = registry.resolve(model, version)
        return registry.promote(model, chosen, who=who, why=why, expected=expect)

    _move(move, **given)


@command.command()
@model_argument
@click.option("--to", "version", help="The version to go back to. [default: the champion before]")
@_moving
def rollback(*, version: str | None, **given: Any) -> None:
    """Put the champion before back; the one that is left is barred until it is cleared."""
    _move(
        lambda registry, model, who, why: registry.roll_back(model, version, who=who, why=why),
        **given,
    )


@command.command()
@model_argument
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--share", type=click.FloatRange(0, 1), help="Of the keys, for a challenger.")
@_moving
def assign(*, alias: str, version: str | None, share: float | None, **given: Any) -> None:
    """Put ALIAS (challenger, shadow, fast, ...) on VERSION; without one, take it off."""
    _move(
        lambda registry, model, who, why: registry.assign(
            model, alias, version, share=share, who=who, why=why
        ),
        **given,
    )


@command.command()
@model_argument
@click.argument("version")
@_moving
def clear(*, version: str, why: str, **given: Any) -> None:
    """Lift the bar on a VERSION that was rolled back; --why is needed."""
    if not why:
        raise UsageError(
            "reason_missing",
            "A bar is lifted for a reason.",
            "Say why the version may serve again: --why TEXT.",
        )
    _move(
        lambda registry, model, who, why: registry.clear(model, version, who=who, why=why),
        why=why,
        **given,
    )


@command.command()
@model_argument
@_reading
def history(*, name: str, where: str | None, settings: Settings, as_json: bool) -> None:
    """Show who moved which alias of MODEL when and why, oldest first."""
    entries = [entry_json(each) for each in _open(where, settings).history(name)]
    if as_json:
        print_json({"model": name, "history": entries})
        return
    print_table(
        ("number", "when", "who", "what", "why"),
        [(e["number"], e["when"], e["who"], e["summary"], e["why"]) for e in entries],
    )


@command.command("as-of")
@model_argument
@click.argument("moment", metavar="TIME", type=Instant())
@_reading
def as_of(*, name: str, moment: int, where: str | None, settings: Settings, as_json: bool) -> None:
    """Show where the aliases of MODEL pointed at TIME (RFC 3339, or a duration ago)."""
    standing = _open(where, settings).as_of(name, moment)
    if as_json:
        print_json(standing_json(standing))
        return
    print_table(("alias", "version"), sorted(standing.aliases.items()))


@command.command()
@model_argument
@click.argument("version", required=False)
@_reading
def verify(
    *, name: str, version: str | None, where: str | None, settings: Settings, as_json: bool
) -> None:
    """Read versions of MODEL anew, check every sum, and load them as a worker would."""
    registry = _open(where, settings)
    found = registry.verify(name, version)
    if not found:
        raise _no_model(registry, name)
    if as_json:
        rows = [
            {
                "model": each.model,
                "version": each.version,
                "sound": each.error is None,
                "error": None if each.error is None else each.error.envelope(),
            }
            for each in found
        ]
        print_json({"registry": registry.place, "versions": rows})
    else:
        texts = [(each.version, "sound" if each.error is None else str(each.error))
                 for each in found]  # fmt: skip
        print_table(("version", "finding"), texts)
    if any(each.error is not None for each in found):
        click.get_current_context().exit(EXIT_GATE_FAILED)


@command.command()
@model_argument
@click.argument("pipeline", type=PipelineReference())
@registry_option
@settings_options
@json_option
def tell(
    *, name: str, pipeline: Pipeline, where: str | None, settings: Settings, as_json: bool
) -> None:
    """Tell PIPELINE's workers again what serves; safe to repeat."""
    number = tell_workers(_open(where, settings), name, [pipeline], settings)
    if as_json:
        print_json({"model": name, "pipeline": pipeline.name, "number": number})


def _move(
    move: Callable[[Registry, str, str | None, str], Entry | None],
    *,
    name: str,
    pipelines: tuple[Pipeline, ...],
    where: str | None,
    who: str | None,
    why: str,
    settings: Settings,
    as_json: bool,
) -> None:
    registry = _open(where, settings)
    entry = move(registry, name, who, why)
    if pipelines:
        # Also where nothing changed: what was told before may have been lost on the way.
        tell_workers(registry, name, pipelines, settings)
    if as_json:
        print_json({"entry": None if entry is None else entry_json(entry)})
    elif entry is None:
        remark("Nothing to change.")
    else:
        remark(f"{name}: {entry_json(entry)['summary']} (entry {entry.number}).")


def _no_model(registry: Registry, model: str) -> NotFoundError:
    known = ", ".join(registry.models()) or "none"
    return NotFoundError(
        "model_not_found",
        f"The registry {registry.place} has no version of a model {model!r}.",
        f"It has: {known}.",
        model=model,
    )
