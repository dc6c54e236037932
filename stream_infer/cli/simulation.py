"""How ``stream-infer simulate`` carries a simulation out: where to, how quickly, what it says."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from stream_infer.cli.output import Progress, print_json, remark, run_client
from stream_infer.cli.simulation_targets import (
    STDOUT,
    Feeding,
    Simulation,
    created_file,
    files_beside,
    prepare_topics,
    topics_of,
)
from stream_infer.errors import UsageError
from stream_infer.simulators.feeding import Fed, FileSink, feed, open_topics
from stream_infer.simulators.pacing import AtOnce, ByRate, BySpeed, Pace
from stream_infer.simulators.pieces import Piece, Role, until

RATE_DEFAULT = 1_000.0
_DAY_MS = 86_400_000


def simulate(simulation: Simulation, feeding: Feeding) -> None:
    """Feed the simulation as the options say, and print a summary."""
    pace = _pace(feeding)
    topics = topics_of(simulation, feeding)
    pieces = simulation.pieces
    if feeding.days is not None:
        pieces = until(pieces, feeding.start + round(feeding.days * _DAY_MS))
    fed, stop = Fed(), asyncio.Event()
    if feeding.to_file is not None:
        targets = files_beside(topics, feeding.to_file)
        run_client(_to_files(targets, pieces, pace, fed, stop, feeding))
    else:
        targets = topics
        run_client(_to_kafka(simulation, topics, pieces, pace, fed, stop, feeding))
    summary = {
        "simulation": simulation.name,
        "seed": feeding.seed,
        "ended": "complete" if fed.ended else "interrupted" if stop.is_set() else "seconds",
        "to": {targets[role]: fed.sent[role] for role in targets},
        "events": fed.sent["events"],
        "labels": fed.sent["labels"],
        "truth": dict(sorted(fed.kinds.items())),
        "first_event_time": _instant(fed.first_ms),
        "last_event_time": _instant(fed.last_ms),
        "seconds": round(fed.seconds, 3),
        "events_per_second": round(fed.sent["events"] / max(fed.seconds, 1e-9)),
    }
    if feeding.as_json:
        print_json(summary)
    else:
        _say(summary)


def _pace(feeding: Feeding) -> Pace:
    """Return the pace asked for; refuse two at once, and an endless run at full speed."""
    if feeding.speed is not None and feeding.rate is not None:
        raise UsageError(
            "two_paces", "--rate and --speed are two ways to say one thing.", "Give one of them."
        )
    if feeding.speed is None:
        return ByRate(feeding.rate if feeding.rate is not None else RATE_DEFAULT)
    if feeding.speed != math.inf:
        return BySpeed(feeding.start, feeding.speed)
    if feeding.days is None and feeding.seconds is None:
        raise UsageError(
            "no_end",
            "--speed max without an end would fill the disk.",
            "Say when to end: --days 7, or --seconds 30.",
        )
    return AtOnce()


async def _to_kafka(
    simulation: Simulation,
    topics: dict[Role, str],
    pieces: Iterator[Piece],
    pace: Pace,
    fed: Fed,
    stop: asyncio.Event,
    feeding: Feeding,
) -> None:
    connection = feeding.settings.connection()
    await prepare_topics(connection, simulation, topics, feeding)
    progress = Progress("events")
    try:
        with _stopping(stop):
            async with open_topics(connection, topics) as sink:
                await feed(
                    pieces,
                    sink,
                    pace,
                    fed,
                    stop=stop,
                    seconds_max=_seconds_max(feeding),
                    show=progress.update,
                )
    finally:
        progress.finish()


async def _to_files(
    files: dict[Role, str],
    pieces: Iterator[Piece],
    pace: Pace,
    fed: Fed,
    stop: asyncio.Event,
    feeding: Feeding,
) -> None:
    to_stdout = feeding.to_file == STDOUT
    if to_stdout and feeding.as_json:
        raise UsageError(
            "stdout_twice",
            "The events and the summary of --json cannot both go to stdout.",
            "Write the events to a file, or leave --json away.",
        )
    # Events on a terminal and a line that is rewritten in place would spoil each other.
    progress = None if to_stdout else Progress("events")
    with contextlib.ExitStack() as stack, _stopping(stop):
        opened: dict[Role, BinaryIO] = {
            role: click.get_binary_stream("stdout")
            if to_stdout
            else stack.enter_context(created_file(Path(name), overwrite=feeding.overwrite))
            for role, name in files.items()
        }
        try:
            await feed(
                pieces,
                FileSink(opened),
                pace,
                fed,
                stop=stop,
                seconds_max=_seconds_max(feeding),
                show=progress.update if progress else lambda _done: None,
            )
        finally:
            if progress:
                progress.finish()


@contextlib.contextmanager
def _stopping(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on Ctrl-C or SIGTERM inside the block, so that a summary can be given."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _seconds_max(feeding: Feeding) -> float:
    return feeding.seconds if feeding.seconds is not None else float("inf")


def _instant(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds")


def _say(summary: dict[str, Any]) -> None:
    words = {"complete": "", "interrupted": "Interrupted. ", "seconds": ""}[summary["ended"]]
    counts = ", ".join(f"{count:,} to {name}" for name, count in summary["to"].items())
    remark(
        f"{words}{counts} in {summary['seconds']:.1f} s ({summary['events_per_second']:,} events/s)"
    )
    if summary["events"]:
        remark(f"simulated time: {summary['first_event_time']} to {summary['last_event_time']}")
    if summary["truth"]:
        remark(
            "truth: " + ", ".join(f"{kind} {count:,}" for kind, count in summary["truth"].items())
        )
