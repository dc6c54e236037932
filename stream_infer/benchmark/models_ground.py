"""A registry with two versions of a model, and workers that serve what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.models import bench_model
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.subject import Subject
from stream_infer.events.topic_names import models_topic
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.registry.control import what_serves
from stream_infer.registry.control_topic import tell
from stream_infer.registry.entry import CHAMPION, SHADOW
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import MODEL_FILE, read_manifest

VERSIONS = ("1", "2")
OTHER_SEED = 8
Beside = Literal["nothing", "shadow"]


class ModelsGround:
    """Two versions of a model in a registry, the first one champion, and workers that serve them.

    ground   makes topics, files and processes
    name     of the model
    folders  of both versions; they may be the same
    """

    def __init__(self, ground: Ground, name: str, folders: tuple[Path, Path]) -> None:
        self._ground = ground
        self._name = name
        self._folder = ground.folder / f"registry-{name}"
        self.registry = Registry.open(self._folder)
        for version, folder in zip(VERSIONS, folders, strict=True):
            manifest = msgspec.structs.replace(read_manifest(folder), name=name, version=version)
            self.registry.publish((folder / MODEL_FILE).read_bytes(), manifest)
        self.registry.promote(name, VERSIONS[0], who="bench")

    def promote(self, version: str) -> int:
        """Make a version champion, also one that the guard has barred; return the entry's number.

        Blocks.
        """
        if version in self.registry.standing(self._name).barred:
            self.registry.clear(self._name, version, who="bench", why="a benchmark goes on")
        self.registry.promote(self._name, version, who="bench")
        return self.registry.standing(self._name).number

    def put_beside(self, beside: Beside) -> None:
        """Have the second version score beside as a shadow, or not."""
        version = VERSIONS[1] if beside == "shadow" else None
        if self.registry.standing(self._name).aliases.get(SHADOW) != version:
            self.registry.assign(self._name, SHADOW, version, who="bench")
        champion = self.registry.standing(self._name).aliases[CHAMPION]
        if champion != VERSIONS[0]:
            self.promote(VERSIONS[0])

    async def tell(self, connection: Connection, pipeline: Pipeline) -> None:
        """Tell a pipeline's workers what serves."""
        told, topic = what_serves(self.registry, self._name), models_topic(pipeline)
        if told is not None and topic is not None:
            await tell(connection, topic, told)

    @asynccontextmanager
    async def worker(
        self, scenario: Scenario, source: str, cores: frozenset[int] | None, *, registry: bool
    ) -> AsyncIterator[tuple[Subject, Pipeline]]:
        """Start a worker on the registry, or on the model's folder alone."""
        ground = self._ground
        async with ground.run(scenario, source) as (run, pipeline):
            command = ground.worker(run, scenario, source)
            if registry:
                command = self._on_registry(command)
            with Subject(WORKER, command, cores, ground.folder / f"{run}.log") as subject:
                yield subject, pipeline

    def _on_registry(self, command: list[str]) -> list[str]:
        """Return a worker's command with the registry in place of the model."""
        at = command.index("--model")
        config = Path(command[command.index("--config") + 1])
        place = msgspec.json.encode(str(self._folder)).decode()
        config.write_text(f"{config.read_text()}\n[model]\nregistry = {place}\n")
        return command[:at] + command[at + 2 :]


def trees_ground(ground: Ground) -> ModelsGround:
    """Return two different models of 100 trees for the one-stage pipeline."""
    return ModelsGround(
        ground, "bench", (bench_model("trees"), bench_model("trees", seed=OTHER_SEED))
    )


def shipped_ground(ground: Ground) -> ModelsGround:
    """Return the fraud model that ships, twice."""
    folder = ready_model_dir("fraud")
    return ModelsGround(ground, "fraud", (folder, folder))


def registry_scenario(model: Path, processes: int | None = None) -> Scenario:
    """Return the one-stage scenario whose model a registry names."""
    return Scenario(
        name="single stage, 100 trees",
        maker="single_stage",
        model=model,
        loop=model,
        processes=processes,
    )


def on_cores(scenario: Scenario, processes: int) -> Scenario:
    """Return the scenario with so many processes."""
    return replace(scenario, processes=processes)
