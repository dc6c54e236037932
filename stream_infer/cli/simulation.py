"""How ``stream-infer simulate`` carries a simulation out: where to, how quickly, what it says."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from stream_infer.cli.output import Progress, print_json, remark, run_client
from stream_infer.errors import ConflictError, NotFoundError, UsageError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_specs import TopicSpec, pipeline_topics
from stream_infer.kafka.topics import create_specs, read_topics
from stream_infer.pipelines.fraud import pipeline as fraud_pipeline
from stream_infer.settings.loading import Settings
from stream_infer.simulators.feeding import Fed, FileSink, feed, open_topics
from stream_infer.simulators.pacing import AtOnce, ByRate, BySpeed, Pace
from stream_infer.simulators.pieces import ROLES, Piece, Role, until
from stream_infer.simulators.traffic import Roads, sensor_table

RATE_DEFAULT = 1_000.0
DAYS_ENDLESS = 3_650.0
_DAY_MS = 86_400_000
STDOUT = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """The options that both simulations share, by their names on the command line."""

    seed: int
    start: int
    days: float | None
    seconds: float | None
    rate: float | None
    speed: float | None
    topic: str | None
    truth_topic: str | None
    no_truth: bool
    create_topics: bool
    partitions: int
    to_file: Path | None
    overwrite: bool
    settings: Settings
    as_json: bool

    @property
    def days_max(self) -> float:
        """Simulated days to generate at most."""
        return self.days if self.days is not None else DAYS_ENDLESS


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated: its name, the usual topic of each role, and its pieces."""

    name: str
    topics: dict[str, str]
    pieces: Iterator[Piece]


def simulate(simulation: Simulation, feeding: Feeding) -> None:
    """Feed the simulation as the options say, and print a summary."""
    pace = _pace(feeding)
    topics = _topics(simulation, feeding)
    pieces = simulation.pieces
    if feeding.days is not None:
        pieces = until(pieces, feeding.start + round(feeding.days * _DAY_MS))
    fed, stop = Fed(), asyncio.Event()
    if feeding.to_file is not None:
        targets = _files(topics, feeding.to_file)
        run_client(_to_files(targets, pieces, pace, fed, stop, feeding))
    else:
        targets = topics
        run_client(_to_kafka(topics, pieces, pace, fed, stop, feeding))
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


def write_sensor_table(roads: Roads, path: Path, *, overwrite: bool) -> None:
    """Write the roads' sensor table as CSV or JSON, as the suffix says."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise UsageError(
            "file_form_unknown",
            f"A sensor table cannot be written as {path.suffix or 'a file without suffix'!r}.",
            "Name a file that ends in .csv or .json.",
            path=str(path),
        )
    rows = sensor_table(roads)
    with _created(path, overwrite=overwrite) as binary:
        if path.suffix.lower() == ".json":
            binary.write(json.dumps(rows, indent=1).encode() + b"\n")
            return
        lines = _Lines(binary)
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class _Lines:
    """What a csv writer writes to, on top of a binary file."""

    def __init__(self, binary: BinaryIO) -> None:
        self._binary = binary

    def write(self, text: str) -> int:
        return self._binary.write(text.encode())


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


def _topics(simulation: Simulation, feeding: Feeding) -> dict[Role, str]:
    topics = cast("dict[Role, str]", dict(simulation.topics))
    if feeding.topic is not None:
        topics["events"] = feeding.topic
    if feeding.truth_topic is not None:
        topics["truth"] = feeding.truth_topic
    if feeding.no_truth:
        del topics["truth"]
    return {role: topics[role] for role in ROLES if role in topics}


async def _to_kafka(
    topics: dict[Role, str],
    pieces: Iterator[Piece],
    pace: Pace,
    fed: Fed,
    stop: asyncio.Event,
    feeding: Feeding,
) -> None:
    connection = feeding.settings.connection()
    await _prepare(connection, topics, feeding)
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


async def _prepare(connection: Connection, topics: dict[Role, str], feeding: Feeding) -> None:
    """Create the topics that are missing, or refuse them."""
    existing = await read_topics(connection, list(topics.values()))
    missing = [role for role, topic in topics.items() if topic not in existing]
    if not missing:
        return
    if not feeding.create_topics:
        raise NotFoundError(
            "topic_missing",
            f"Topic {topics[missing[0]]!r} does not exist.",
            "Create what is missing with --create-topics"
            + ("." if missing[0] != "truth" else ", or leave the truth out with --no-truth."),
            topic=topics[missing[0]],
        )
    await create_specs(
        connection, [_spec(role, topics[role], feeding.partitions) for role in missing]
    )


def _spec(role: Role, topic: str, partitions: int) -> TopicSpec:
    """Return the topic as its pipeline wants it, if it is one of a built-in pipeline."""
    for spec in pipeline_topics(fraud_pipeline, partitions):
        if spec.name == topic:
            return spec
    kind: Any = {"events": "input", "labels": "labels", "truth": "truth"}[role]
    return TopicSpec(name=topic, role=kind, partitions=partitions)


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
            else stack.enter_context(_created(Path(name), overwrite=feeding.overwrite))
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


def _files(topics: dict[Role, str], path: Path) -> dict[Role, str]:
    """Return the file of each role: ``a.jsonl``, ``a.labels.jsonl``, ``a.truth.jsonl``."""
    if path == STDOUT:
        return {"events": "-"}
    beside: dict[Role, str] = {
        role: str(path.with_name(f"{path.stem}.{role}{path.suffix}")) for role in topics
    }
    return beside | {"events": str(path)}


def _created(path: Path, *, overwrite: bool) -> BinaryIO:
    try:
        return path.open("wb" if overwrite else "xb")
    except FileExistsError as error:
        raise ConflictError(
            "file_exists",
            f"There is a file {str(path)!r} already.",
            "Name another one, or add --overwrite.",
            path=str(path),
        ) from error
    except OSError as error:
        raise UsageError(
            "file_not_written",
            f"{str(path)!r} cannot be written: {error.strerror or error}.",
            "Check that the folder exists and may be written to.",
            path=str(path),
        ) from error


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
