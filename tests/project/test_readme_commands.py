"""Every command that a document shows could run as written, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.documents import ROOT, Command, commands_of, documents, fault_of

LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
SHOWN = [
    command
    for path in documents()
    for command in commands_of(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
]


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_each_command_in_a_document_could_run_as_written(command: Command) -> None:
    assert fault_of(command.words) is None


def test_the_readme_shows_the_two_commands_that_do_everything() -> None:
    shown = {command.words[:2] for command in SHOWN if command.place.startswith("README.md")}
    assert {("make", "demo"), ("make", "test")} <= shown


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_between_documents_leads_to_a_file(path: Path) -> None:
    targets = LINK.findall(path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize(
    "words",
    [
        "stream-infer wroker",
        "stream-infer",
        "stream-infer tail --no-such-option",
        "make no-such-target",
        "python -m stream_infer.no_such_module",
        "python no_such_file.py",
        "uv sync",
    ],
)
def test_a_command_that_cannot_run_is_found(words: str) -> None:
    assert fault_of(tuple(words.split())) is not None


def test_commands_are_read_from_console_and_shell_blocks_only() -> None:
    text = (
        "text\n```console\n$ make demo \\\n    SECONDS=5 | head\noutput\n```\n"
        "```python\nmake = 1\n```\n```sh\nA=1 .venv/bin/stream-infer --help > help.txt\n```\n"
    )
    assert [command.words for command in commands_of(text, "page")] == [
        ("make", "demo", "SECONDS=5"),
        ("head",),
        (".venv/bin/stream-infer", "--help"),
    ]


def test_a_variable_stands_for_what_its_block_has_set() -> None:
    text = (
        "```console\n$ LOAD=SECONDS=5\n$ make demo $LOAD\n```\n```console\n$ make demo $LOAD\n```\n"
    )
    assert [command.words for command in commands_of(text, "page")] == [
        ("make", "demo", "SECONDS=5"),
        ("make", "demo", "$LOAD"),
    ]
