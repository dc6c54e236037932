"""What ``stream-infer simulate`` is asked for, and where its records go: topics and files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from stream_infer.errors import ConflictError, NotFoundError, UsageError
from stream_infer.files.tables import not_written
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_specs import TopicSpec, pipeline_topics
from stream_infer.kafka.topics import create_specs, read_topics
from stream_infer.pipeline import Pipeline
from stream_infer.settings.loading import Settings
from stream_infer.simulators.pieces import Piece, Role
from stream_infer.simulators.traffic import Roads, sensor_table

DAYS_ENDLESS = 3_650.0
STDOUT = Path("-")
_PIPELINE_ROLES: dict[Role, str] = {"events": "input", "labels": "labels"}


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
    """What is simulated.

    pipeline  that reads the events, and the labels if there are any
    topics    the usual topic of each role that is written
    """

    name: str
    pipeline: Pipeline
    topics: dict[Role, str]
    pieces: Iterator[Piece]


def topics_of(simulation: Simulation, feeding: Feeding) -> dict[Role, str]:
    """Return the topic of each role that shall be written."""
    topics = dict(simulation.topics)
    if feeding.topic is not None:
        topics["events"] = feeding.topic
    if feeding.truth_topic is not None:
        topics["truth"] = feeding.truth_topic
    if feeding.no_truth:
        del topics["truth"]
    return topics


async def prepare_topics(
    connection: Connection, simulation: Simulation, topics: dict[Role, str], feeding: Feeding
) -> None:
    """Create the topics that are missing, if that was asked for.

    Raises  `NotFoundError` when it was not
    """
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
    specs = [_spec(simulation.pipeline, role, topics[role], feeding.partitions) for role in missing]
    await create_specs(connection, specs)


def _spec(pipeline: Pipeline, role: Role, topic: str, partitions: int) -> TopicSpec:
    """Return the topic as the pipeline wants one of this role, whatever its name."""
    for spec in pipeline_topics(pipeline, partitions):
        if spec.role == _PIPELINE_ROLES.get(role):
            return replace(spec, name=topic)
    return TopicSpec(name=topic, role="truth", partitions=partitions)


def files_beside(topics: dict[Role, str], path: Path) -> dict[Role, str]:
    """Return the file of each role: ``a.jsonl``, ``a.labels.jsonl``, ``a.truth.jsonl``."""
    if path == STDOUT:
        return {"events": "-"}
    beside: dict[Role, str] = {
        role: str(path.with_name(f"{path.stem}.{role}{path.suffix}")) for role in topics
    }
    return beside | {"events": str(path)}


def created_file(path: Path, *, overwrite: bool) -> BinaryIO:
    """Open a new file, or with `overwrite` also one that exists.

    Raises  ConflictError ``file_exists``, UsageError ``file_not_written``
    """
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
        raise not_written(path, error) from error


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
    with created_file(path, overwrite=overwrite) as binary:
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
