"""The command line. Each command lives in a module of its own and is imported when used.

``--help`` must answer within 200 ms, so nothing here imports numpy, numba, Faust
or onnxruntime: a command's module is loaded only when that command runs, and its
one-line help stands in `COMMANDS`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from stream_infer import __version__
from stream_infer.errors import StreamInferError, UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module that defines `command`, one line of help)
    "acls": ("stream_infer.cli.acls", "Show or grant what each role may do in Kafka."),
    "audit": ("stream_infer.cli.audit", "Reconcile inputs and outputs by event id."),
    "bench": ("stream_infer.cli.bench", "Measure throughput, latency and memory on this machine."),
    "broker": ("stream_infer.cli.broker", "Run a real Kafka on this machine, for tests and demos."),
    "check": ("stream_infer.cli.check", "Check configuration, topics and model before serving."),
    "checkpoint": ("stream_infer.cli.checkpoint", "List, show and verify checkpoints."),
    "completion": ("stream_infer.cli.completion", "Print what makes a shell complete commands."),
    "config": ("stream_infer.cli.config", "Show which settings hold and where they come from."),
    "demo": ("stream_infer.cli.demo", "Show everything at work, from Kafka to scored events."),
    "dev": ("stream_infer.cli.dev", "Run a pipeline while working on it."),
    "dlq": ("stream_infer.cli.dlq", "List, show and replay dead letters."),
    "doctor": ("stream_infer.cli.doctor", "Examine machine, installation, model and Kafka."),
    "evaluate": ("stream_infer.cli.evaluate", "Measure a model on labelled data."),
    "features": ("stream_infer.cli.features", "Compute a pipeline's features for a file."),
    "init": ("stream_infer.cli.init", "Write a configuration and a pipeline of your own."),
    "lists": ("stream_infer.cli.lists", "Show and change allow and block lists."),
    "models": ("stream_infer.cli.models", "Publish, promote and roll back versions of models."),
    "optimize": ("stream_infer.cli.optimize", "Make a model smaller and quicker, with a verdict."),
    "replay": ("stream_infer.cli.replay", "Send a file's rows to a topic, keeping event time."),
    "simulate": ("stream_infer.cli.simulate", "Generate payments or sensor readings by seed."),
    "tail": ("stream_infer.cli.tail", "Print records of a topic as they come."),
    "topics": ("stream_infer.cli.topics", "Create and describe topics, print their schemas."),
    "train": ("stream_infer.cli.train", "Make a model from your own history."),
    "worker": ("stream_infer.cli.worker", "Run a pipeline's stages."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(entry[0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a misspelt one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stream-infer")
def cli() -> None:
    """Streaming inference on Kafka: exact windows, ONNX models, scored events."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and turn our errors into one message and an exit code."""
    args = sys.argv[1:] if argv is None else argv
    try:
        code: Any = cli.main(args=args, prog_name="stream-infer", standalone_mode=False)
    except StreamInferError as error:
        _report(error, as_json="--json" in args)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        if "--json" in args:
            _report(_usage_error(error), as_json=True)
        else:
            error.show()
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_error(error: click.ClickException) -> UsageError:
    """Return click's own error in the form of ours."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "stream-infer"
    return UsageError("usage", error.format_message(), f"See: {path} --help.", command=path)


def _report(error: StreamInferError, *, as_json: bool) -> None:
    """Print an error: one JSON object on stdout for machines, two lines on stderr for people."""
    if as_json:
        import json

        click.echo(json.dumps({"error": error.envelope()}, default=str))
    else:
        click.echo(f"error: {error.message}", err=True)
        if error.fix:
            click.echo(f"  fix: {error.fix}", err=True)
