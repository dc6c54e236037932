"""``stream-infer init``: a configuration and a pipeline file that run as they are."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json


@click.command(name="init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Of the pipeline, its group and its topics. [default: the folder's]")
@json_option
def command(*, folder: Path, name: str | None, as_json: bool) -> None:
    """Write a pipeline of your own into FOLDER: configuration, pipeline, a few events.

    Nothing that exists is written over.
    """
    from stream_infer.scaffold.writing import pipeline_name, write_project

    written = write_project(folder, name)
    word = pipeline_name(folder, name)
    following = _next_commands(folder, word)
    if as_json:
        print_json({"pipeline": word, "files": list(map(str, written)), "next": following})
        return
    for file in written:
        click.echo(f"wrote {file}")
    click.echo("\nIt runs as it is:")
    for line in following:
        click.echo(f"  {line}")
    click.echo(
        f"\nFor events and a model of your own, edit two lines of {folder / 'stream-infer.toml'}:"
        "\n`fields` says where they stand in your JSON, `path` below [model] names your ONNX file."
    )


def _next_commands(folder: Path, name: str) -> list[str]:
    return [
        f"cd {shlex.quote(str(folder))}",
        "stream-infer dev",
        f"stream-infer replay events.jsonl --topic {name}-events --pipeline pipeline.py",
        f"stream-infer tail {name}-scored --from beginning",
    ]
