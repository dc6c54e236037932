"""Commands that the documents show, and whether each could run as written.

Nothing is run: a `stream-infer` command line is parsed by the command line's own parsers, a
`make` target is looked up with `make -n`, and other programs must be on a short list.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from stream_infer.cli import cli
from stream_infer.errors import StreamInferError

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"([A-Z_]+)=(\S*)")
VARIABLE = re.compile(r"\$([A-Z_]+)")
# Programs that a document may name beside our own.
OTHER_PROGRAMS = {".", "cd", "curl", "docker", "faust", "git", "pip"}
SEPARATORS = {"&&", "||", ";", "|", "&"}
REDIRECTIONS = {">", ">>", "<", "2>"}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a document: where it stands and its words."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


def documents() -> list[Path]:
    """Return every Markdown file that shows commands to people."""
    folders = ("docs", "deploy", "examples", "benchmarks")
    inner = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.md")))
    return [*sorted(ROOT.glob("*.md")), *inner]


def commands_of(text: str, name: str) -> list[Command]:
    """Return the commands of a document's `console` and `sh` blocks.

    In a `console` block only lines that begin with ``$ `` are commands, and what follows is
    output; in an `sh` block every line is one. Lines ending in a backslash are joined. A variable
    that a line of the block sets stands for its value from there on.
    """
    found: list[Command] = []
    for fence in FENCE.finditer(text):
        line_number = text[: fence.start()].count("\n") + 2
        body = fence[2].replace("\\\n", " ")
        variables: dict[str, str] = {}
        for line in body.splitlines():
            if fence[1] == "console":
                if not line.startswith("$ "):
                    continue
                line = line.removeprefix("$ ")  # noqa: PLW2901 - the prompt is no part of it
            if assigned := ASSIGNMENT.fullmatch(line):
                variables[assigned[1]] = assigned[2]
                continue
            place = f"{name}:{line_number}"
            found.extend(Command(place, words) for words in split_commands(put_in(variables, line)))
    return found


def put_in(variables: Mapping[str, str], line: str) -> str:
    """Return a line with values in place of variables; one that was not set stays as it is."""
    return VARIABLE.sub(lambda found: variables.get(found[1], found[0]), line)


def split_commands(line: str) -> list[tuple[str, ...]]:
    """Split a shell line at its separators, without variables set in front and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    skip_next = False
    for word in lexer:
        if word in SEPARATORS:
            commands.append([])
        elif word in REDIRECTIONS:
            skip_next = True
        elif skip_next:
            skip_next = False
        elif not commands[-1] and re.fullmatch(r"[A-Z_]+=.*", word):
            continue
        else:
            commands[-1].append(word)
    return [tuple(words) for words in commands if words]


def fault_of(words: tuple[str, ...]) -> str | None:
    """Return why a command could not run as written, or None."""
    program, arguments = words[0].removeprefix(".venv/bin/"), list(words[1:])
    match program:
        case "stream-infer":
            return fault_of_ours(arguments)
        case "make":
            return fault_of_make(arguments)
        case "python" | "python3":
            return fault_of_python(arguments)
        case "bash" | "sh":
            return None if (ROOT / arguments[0]).is_file() else f"no file {arguments[0]}"
        case _:
            return None if program in OTHER_PROGRAMS else f"unknown program {program}"


def fault_of_ours(arguments: list[str]) -> str | None:
    """Parse arguments as `stream-infer` would, without running a command's body."""
    try:
        parse(cli, click.Context(cli, info_name="stream-infer"), arguments)
    except click.ClickException as error:
        return error.format_message()
    except StreamInferError as error:
        return error.message
    except ImportError as error:
        return f"the command cannot be imported: {error}"
    return None


def parse(command: click.Command, context: click.Context, arguments: list[str]) -> None:
    """Follow the arguments through groups to a command and check its parameters."""
    if {"--help", "-h", "--version"} & set(arguments[:1]):
        return
    if not isinstance(command, click.Group):
        check_parameters(command, context, arguments)
        return
    if not arguments:
        context.fail(f"{context.command_path} needs a command")
    _, found, rest = command.resolve_command(context, arguments)
    if found is None:
        context.fail(f"{context.command_path} has no command {arguments[0]}")
    parse(found, click.Context(found, parent=context, info_name=found.name), rest)


def check_parameters(command: click.Command, context: click.Context, arguments: list[str]) -> None:
    """Raise click's own error for an unknown option, a missing or spare argument, a bad choice.

    Paths are not looked at: the file that a document names need not exist here. Nor need a
    pipeline's file that is named without a folder, for it stands in the reader's.
    """
    values, spare, _ = command.make_parser(context).parse_args(list(arguments))
    if spare:
        message = f"unexpected argument {spare[0]!r}"
        raise click.UsageError(message, context)
    for parameter in command.params:
        value = values.get(parameter.name or "")
        given = isinstance(value, str) or (isinstance(value, list | tuple) and bool(value))
        if not given:
            if parameter.required and value is not True:
                raise click.MissingParameter(ctx=context, param=parameter)
        elif not (isinstance(parameter.type, click.Path | click.File) or _is_readers_file(value)):
            parameter.type_cast_value(context, value)


def _is_readers_file(value: object) -> bool:
    return isinstance(value, str) and value.endswith(".py") and "/" not in value


def fault_of_make(arguments: list[str]) -> str | None:
    """Ask make itself, with -n, whether it knows the targets."""
    # A make that runs this test hands down its own flags and targets: not ours to obey.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    clean.pop("MFLAGS", None)
    done = subprocess.run(
        ["make", "-n", *arguments],  # noqa: S607 - the make that the reader has
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip()


def fault_of_python(arguments: list[str]) -> str | None:
    """Check that the module or file named exists."""
    if arguments[:1] == ["-m"]:
        known = importlib.util.find_spec(arguments[1]) is not None
        return None if known else f"no module {arguments[1]}"
    if arguments and arguments[0].endswith(".py"):
        return None if (ROOT / arguments[0]).is_file() else f"no file {arguments[0]}"
    return None
