"""The ground of a run: its topics, its files and its process, made and taken away.

Each run is a consumer group and an output topic of its own over an input that several
runs share, so none finds what another left.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from stream_infer.benchmark import pipelines
from stream_infer.benchmark.cores import Cores
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.subject import Subject, baseline_command, worker_command
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import administration, create_specs, pipeline_topics, read_topics
from stream_infer.pipeline import Pipeline

PARTITIONS = 4
INPUT_ROLES = {"input", "labels", "truth"}
WORKER = "worker"


class Ground:
    """Makes inputs, topics and processes of one session on one Kafka.

    connection  where Kafka is
    cores       where the processes run
    folder      for pipeline files and logs of the processes
    partitions  of each topic
    topics      further settings of each topic
    """

    def __init__(
        self,
        connection: Connection,
        cores: Cores,
        folder: Path,
        partitions: int = PARTITIONS,
        topics: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = connection
        self.folder = folder
        self.cores = cores
        self._partitions = partitions
        # Both times of a latency are then the broker's own.
        self._topics = {"message.timestamp.type": "LogAppendTime", **(topics or {})}
        self._runs = 0
        # Groups and topics of two sessions on one broker must differ.
        self._prefix = f"bench-{time.time_ns() // 1_000_000:x}"

    @asynccontextmanager
    async def source(self, scenario: Scenario) -> AsyncIterator[str]:
        """Make an input topic, and the labels' where the pipeline has them."""
        self._runs += 1
        source = f"{self._prefix}-input-{self._runs}"
        names = await self._create(scenario.pipeline("unused", source), is_input=True)
        try:
            yield source
        finally:
            await self._delete(names)

    @asynccontextmanager
    async def subject(
        self,
        name: str,
        scenario: Scenario,
        source: str,
        cores: frozenset[int] | None = None,
    ) -> AsyncIterator[tuple[Subject, Pipeline]]:
        """Make a run's topics and start its process; yields it and the run's pipeline.

        cores  of the process, None for those of all
        """
        async with self.run(scenario, source) as (run, pipeline):
            if name == WORKER:
                command = self.worker(run, scenario, source)
            else:
                bootstrap = self.connection.bootstrap
                command = baseline_command(
                    f"{name}.py", source, pipeline.scored, run, scenario.loop, bootstrap
                )
            cores = cores or self.cores.subject
            with Subject(name, command, cores, self.folder / f"{run}.log") as subject:
                yield subject, pipeline

    @asynccontextmanager
    async def run(self, scenario: Scenario, source: str) -> AsyncIterator[tuple[str, Pipeline]]:
        """Make a run's topics; yields its name and its pipeline."""
        self._runs += 1
        run = f"{self._prefix}-{self._runs}"
        pipeline = scenario.pipeline(run, source)
        names = await self._create(pipeline, is_input=False)
        try:
            yield run, pipeline
        finally:
            await self._delete([topic for topic in names if topic.startswith(run)])

    def worker(
        self, run: str, scenario: Scenario, source: str, settings: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return the command of a worker of a run.

        settings  further keys of section ``[worker]``, beside the scenario's
        """
        file = pipelines.write_pipeline_file(self.folder, scenario.maker, run, source)
        config = self._config(run, scenario, settings or {})
        command = worker_command(file, scenario.model, self.connection.bootstrap, config)
        if scenario.processes is not None:
            command += ["--processes", str(scenario.processes)]
        return command

    def written_by(self, pipeline: Pipeline) -> list[str]:
        """Return the topics that a run's worker writes to, and nobody else."""
        specs = pipeline_topics(pipeline, self._partitions)
        return [spec.name for spec in specs if spec.role not in INPUT_ROLES]

    def _config(self, run: str, scenario: Scenario, more: Mapping[str, str]) -> Path:
        """Write a scenario's settings of the worker."""
        settings = [f'delivery = "{scenario.delivery}"']
        if scenario.gather_ms is not None:
            settings.append(f"gather_ms = {scenario.gather_ms}")
        settings += [f'{key} = "{value}"' for key, value in more.items()]
        path = self.folder / f"{'-'.join([run, *more.values()])}.toml"
        path.write_text("\n".join(["[worker]", *settings, ""]))
        return path

    async def _create(self, pipeline: Pipeline, *, is_input: bool) -> list[str]:
        """Create what the pipeline reads, or all else; records carry append times."""
        specs = [
            spec
            for spec in pipeline_topics(pipeline, self._partitions)
            if (spec.role in INPUT_ROLES) is is_input
        ]
        existing = await read_topics(self.connection, [spec.name for spec in specs])
        missing = [
            replace(spec, config={**spec.config, **self._topics})
            for spec in specs
            if spec.name not in existing
        ]
        await create_specs(self.connection, missing)
        return [spec.name for spec in missing]

    async def _delete(self, names: list[str]) -> None:
        if names:
            async with administration(self.connection) as client:
                await client.delete_topics(names)
