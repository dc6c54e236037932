"""``stream-infer demo``: everything at work on this machine, from Kafka to an audit."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import json_option
from stream_infer.cli.output import print_json, print_table, remark
from stream_infer.errors import GateFailedError

if TYPE_CHECKING:
    from stream_infer.demo.session import Live, Summary
    from stream_infer.kafka.connection import Connection


@click.command(name="demo")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="How long transactions are produced.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    default=2_000,
    show_default=True,
    help="Transactions a second.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--bootstrap", metavar="HOST:PORT", help="Use this Kafka instead of starting one.")
@json_option
def command(*, seconds: float, rate: int, seed: int, bootstrap: str | None, as_json: bool) -> None:
    """Start a real Kafka here, produce payments, score them, and audit the result.

    Without --bootstrap nothing remains when it ends.
    """
    from stream_infer.kafka.connection import Connection
    from stream_infer.logs import configure_logs

    configure_logs(quiet=True)
    if bootstrap is not None:
        summary = _run(Connection(bootstrap=bootstrap), seconds, rate, seed, quiet=as_json)
    else:
        from stream_infer.broker import EmbeddedBroker

        with EmbeddedBroker(progress=_step) as broker:
            connection = Connection(bootstrap=broker.bootstrap)
            summary = _run(connection, seconds, rate, seed, quiet=as_json)
    if as_json:
        print_json(summary.as_json())
    else:
        _show(summary)
    if summary.report.verdict != "proven":
        raise GateFailedError(
            "audit_failed",
            f"The audit says {summary.report.verdict}.",
            "Look at lost and scored twice above; the worker's log says what happened.",
        )


def _run(connection: Connection, seconds: float, rate: int, seed: int, *, quiet: bool) -> Summary:
    from stream_infer.demo.session import run_demo
    from stream_infer.pipelines.fraud import pipeline

    _step(f"{rate:,} transactions a second for {seconds:g} s, into {connection.bootstrap}")
    screen = Screen(shown=not quiet)
    try:
        return asyncio.run(
            run_demo(pipeline, connection, seconds=seconds, rate=rate, seed=seed, show=screen.show)
        )
    finally:
        screen.finish()


def _step(text: str) -> None:
    remark(text)


class Screen:
    """Live counts: one line rewritten on a terminal, a line every few seconds elsewhere."""

    elsewhere_s = 5.0

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._terminal = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._last = (self._begun, 0)
        self._next = self._begun

    def show(self, live: Live) -> None:
        """Show where things stand."""
        now = time.monotonic()
        if not self._shown or (not self._terminal and now < self._next):
            return
        self._next = now + self.elsewhere_s
        then, before = self._last
        rate = (live.scored - before) / max(now - then, 1e-9)
        self._last = (now, live.scored)
        text = (
            f"{now - self._begun:5.1f} s  sent {live.sent:,}  labels {live.labels:,}  "
            f"scored {live.scored:,} ({rate:,.0f}/s)  dead letters {live.dead_letters:,}"
        )
        if self._terminal:
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)
        else:
            click.echo(text, err=True)

    def finish(self) -> None:
        """End the line."""
        if self._shown and self._terminal:
            click.echo("", err=True)


def _show(summary: Summary) -> None:
    report, live = summary.report, summary.live
    print_table(
        ("what", "count"),
        [
            ("transactions sent", live.sent),
            ("labels sent", live.labels),
            ("scored", report.scored),
            *((f"  {word}", count) for word, count in sorted(summary.decisions.items())),
            ("late", live.late),
            ("dead letters", report.dead_letters),
            ("lost", report.lost),
            ("scored twice", report.scored_twice),
            ("frauds sent", summary.frauds),
            ("frauds not approved", summary.caught),
        ],
    )
    click.echo(f"audit: {report.verdict}")
