"""``stream-infer completion``: what makes a shell complete commands and options."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, remark

PROGRAM = "stream-infer"
VARIABLE = "_STREAM_INFER_COMPLETE"
"""Asked for by the script at each completion; click derives the same name from `PROGRAM`."""

INSTALL = {
    "bash": "echo 'eval \"$(stream-infer completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(stream-infer completion zsh)\"' >> ~/.zshrc",
    "fish": "stream-infer completion fish > ~/.config/fish/completions/stream-infer.fish",
}


@click.command(name="completion")
@click.argument("shell", type=click.Choice(sorted(INSTALL)), required=False)
@json_option
def command(*, shell: str | None, as_json: bool) -> None:
    """Print the completion script for SHELL, or for the shell that $SHELL names.

    It takes effect when the shell runs it, such as from its start-up file.
    """
    shell = shell or _own_shell()
    script = completion_script(shell)
    if as_json:
        print_json({"shell": shell, "script": script, "install": INSTALL[shell]})
        return
    click.echo(script)
    if sys.stdout.isatty():
        remark(f"To have it in every shell: {INSTALL[shell]}")


def completion_script(shell: str) -> str:
    """Return the script that binds completion to the installed program's name."""
    from click.shell_completion import get_completion_class

    from stream_infer.cli import cli

    kind = get_completion_class(shell)
    if kind is None:  # `INSTALL` names only shells that click knows
        raise click.UsageError(f"There is no completion for {shell}.")
    return kind(cli, {}, PROGRAM, VARIABLE).source()


def _own_shell() -> str:
    shell = PurePath(os.environ.get("SHELL", "")).name
    if shell not in INSTALL:
        raise click.UsageError(f"Name the shell: one of {', '.join(sorted(INSTALL))}.")
    return shell
