"""How commands speak: data on stdout, progress and remarks on stderr, errors as exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

from stream_infer.errors import StreamInferError

Result = TypeVar("Result")


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    click.echo(json.dumps(value, default=str))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in aligned columns, numbers to the right."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(name), *(len(row[column]) for row in texts)) if texts else len(name)
        for column, name in enumerate(header)
    ]
    click.echo("  ".join(name.ljust(width) for name, width in zip(header, widths, strict=True)))
    for row in texts:
        cells = [
            text.rjust(width) if text.replace(",", "").isdigit() else text.ljust(width)
            for text, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def remark(text: str) -> None:
    """Say something to a person, on stderr."""
    click.echo(text, err=True)


@contextlib.contextmanager
def said_if_slow(text: str, after_s: float = 1.0) -> Iterator[None]:
    """Say something to a person while the block runs, unless it is done at once."""
    timer = threading.Timer(after_s, remark, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def report_problem(error: StreamInferError) -> None:
    """Say what is wrong and how to mend it, on stderr."""
    remark(f"{error.message}")
    if error.fix:
        remark(f"  fix: {error.fix}")


def run_client(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what talks to Kafka, without the client library's own lines on the terminal."""
    from stream_infer.kafka.connection import quiet_client_logs

    quiet_client_logs()
    return asyncio.run(work)


class Line:
    """One line on stderr that is rewritten in place; silent unless stderr is a terminal."""

    interval_s = 0.2

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        self._what = ""

    def show(self, what: str, done: int, total: int | None) -> None:
        """Show what is under way, at most a few times a second."""
        if self._is_due(what):
            share = f": {done:,} of {total:,}" if total is not None else ""
            self._write(f"{what}{share}")

    def finish(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write("")

    def _is_due(self, what: str) -> bool:
        """Say whether to write; what is another thing than before is due at once."""
        now = time.monotonic()
        if not self._shown or (what == self._what and now < self._next):
            return False
        self._what, self._next = what, now + self.interval_s
        return True

    def _write(self, text: str) -> None:
        click.echo(f"\r{text}\x1b[K", err=True, nl=False)


class Progress(Line):
    """The line of one count, with its pace.

    what   what is counted, such as ``rows``
    total  how many there will be, or None
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        super().__init__()
        self._counted = what
        self._total = total
        self._started = time.monotonic()

    def update(self, done: int) -> None:
        """Show that `done` are done, at most a few times a second."""
        if self._is_due(self._counted):
            share = f" of {self._total:,}" if self._total is not None else ""
            rate = done / max(time.monotonic() - self._started, 1e-9)
            self._write(f"{done:,}{share} {self._counted}, {rate:,.0f}/s ")
