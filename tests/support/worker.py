"""A worker to put to the test: inside this process, or as one that can be killed.

Nothing here waits for a time to pass: `until` and `settle` wait for conditions, and
fail when the worker ends instead of reaching them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics, pipeline_topics
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker

PATIENCE_S = 120.0
"""Longer than anything here takes on a busy machine; only a test that fails waits so long."""

READABLE_S = 10.0
"""How long Kafka may take for the last markers of a transaction whose offsets are committed."""

TESTED = WorkerSettings(publish_features=True, align_wait_max_ms=None, commit_interval_ms=100)
"""Features are published to be compared; a slow machine must not breach the alignment."""

COMMAND = (sys.executable, "-c", "from stream_infer.cli import main; main()")

FETCH_WAIT_MS = 20
"""How long Kafka keeps a fetch that finds nothing. By default it is half a second, and a test would
wait for it once or twice at the end of the logs, to learn that they have ended."""

KILLABLE = {"session_timeout": "3s", "transaction_timeout": "3s"}
"""Settings by which Kafka notices within three seconds instead of 15 that a worker was killed."""


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    alive: Callable[[], None] = lambda: None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait for a condition; `alive` is called each time and raises what makes it hopeless."""
    async with asyncio.timeout(patience_s):
        while True:
            met = condition()
            if not isinstance(met, bool):
                met = await met
            if met:
                return
            alive()
            await asyncio.sleep(0.05)


class GroupProgress:
    """What a pipeline's group has committed, beside the ends of the logs that it reads.

    The committed offsets are read before the ends: when nothing stands between them, everything
    that was made of the input was already in the internal logs whose ends come after. Markers of
    transactions may stand there: nobody commits an offset for them.

    A transaction ends in each of its logs by a marker of its own, one after the other: its offsets
    may be committed while nobody can read its outputs yet. See `are_outputs_readable`.
    """

    def __init__(self, bootstrap: str, pipeline: Pipeline) -> None:
        self._group = pipeline.name
        roles = ("input", "labels", "internal")
        specs = pipeline_topics(pipeline)
        self._topics = [spec.name for spec in specs if spec.role in roles]
        self._outputs = [spec.name for spec in specs if spec.role in ("scored", "alerts")]
        self._wanted: list[TopicPartition] = []
        self.newest: dict[TopicPartition, int] = {}
        """What was last found to be committed."""
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            # Whether there is a record is all that is asked: Kafka sends one batch at least.
            max_partition_fetch_bytes=1,
        )
        self._sees_all = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)

    async def __aenter__(self) -> Self:
        await self._admin.start()
        await self._reader.start()
        await self._sees_all.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sees_all.stop()
        await self._reader.stop()
        await self._admin.close()

    async def committed(self) -> dict[TopicPartition, int]:
        """Return what the group has committed; nothing while Kafka cannot say."""
        try:
            found = await self._admin.list_consumer_group_offsets(self._group)
        except KafkaError:
            return {}
        return {tp: entry.offset for tp, entry in found.items() if entry.offset >= 0}

    async def caught_up(self) -> bool:
        """Say whether everything that is in the logs has been done and committed."""
        committed = self.newest = await self.committed()
        try:
            wanted = await self._partitions()
            ends = await self._reader.end_offsets(wanted)
            if not wanted or any(tp not in committed for tp in wanted):
                return False
            behind = {tp: (committed[tp], ends[tp]) for tp in wanted if committed[tp] < ends[tp]}
            return not behind or await self._are_markers(behind)
        except KafkaError:
            return False

    async def are_outputs_readable(self) -> bool:
        """Say whether every transaction that wrote scored events or alerts has ended there."""
        try:
            partitions = await self._known(self._outputs)
            written = await self._sees_all.end_offsets(partitions)
            return bool(written == await self._reader.end_offsets(partitions))
        except KafkaError:
            return False

    async def _partitions(self) -> list[TopicPartition]:
        """Return the partitions; asked for once, since the answer tells of every test's topics."""
        if not self._wanted:
            found = await self._known(self._topics)
            if {tp.topic for tp in found} == set(self._topics):
                self._wanted = found
        return self._wanted

    async def _known(self, topics: Iterable[str]) -> list[TopicPartition]:
        metadata = await self._reader._client.fetch_all_metadata()
        known = {topic: metadata.partitions_for_topic(topic) or () for topic in topics}
        return [TopicPartition(topic, p) for topic in known for p in known[topic]]

    async def _are_markers(self, stretches: dict[TopicPartition, tuple[int, int]]) -> bool:
        """Say whether these stretches of logs hold no records."""
        self._reader.assign(list(stretches))
        for tp, (start, _) in stretches.items():
            self._reader.seek(tp, start)
        left = dict(stretches)
        while left:
            if await self._reader.getmany(*left, timeout_ms=100, max_records=1):
                return False
            for tp in list(left):
                if await self._reader.position(tp) >= left[tp][1]:
                    del left[tp]
        return True

    async def committed_of(self, topic: str) -> int:
        """Return the sum of the committed offsets of a topic's partitions."""
        return sum(offset for tp, offset in (await self.committed()).items() if tp.topic == topic)


async def settle(
    bootstrap: str,
    pipeline: Pipeline,
    alive: Callable[[], None],
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until everything that is in the logs has been done and committed.

    A busy machine may need long for it, so the patience begins anew whenever something was
    committed, ten times in all: a worker that makes its own work ends a test too.
    """
    now = asyncio.get_running_loop().time
    last = now() + 10 * patience_s
    done = 0
    async with (
        GroupProgress(bootstrap, pipeline) as progress,
        asyncio.timeout(patience_s) as patience,
    ):
        while not await progress.caught_up():
            alive()
            committed = sum(progress.newest.values())
            if committed > done:
                done = committed
                patience.reschedule(min(now() + patience_s, last))
            await asyncio.sleep(0.05)
        # Not for ever: a test may leave a transaction open, and then read what it can.
        with suppress(TimeoutError):
            await until(progress.are_outputs_readable, alive=alive, patience_s=READABLE_S)


class Serving:
    """A worker inside this process."""

    def __init__(self, bootstrap: str, worker: Worker) -> None:
        self.bootstrap = bootstrap
        self.worker = worker
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(worker.run(self._stop))

    def alive(self) -> None:
        """Raise what ended the worker, if it has ended."""
        if self._task.done():
            self._task.result()
            raise AssertionError("the worker has ended without being asked to")

    async def settle(self) -> None:
        """Wait until everything that is in the logs has been done and committed."""
        await settle(self.bootstrap, self.worker.pipeline, self.alive)

    async def stop(self) -> None:
        """Stop it cleanly."""
        self._stop.set()
        await asyncio.wait_for(self._task, timeout=PATIENCE_S)

    async def ended(self) -> None:
        """Wait for it to end by itself; raises what ended it."""
        await asyncio.wait_for(self._task, timeout=PATIENCE_S)


@asynccontextmanager
async def serving(
    bootstrap: str, pipeline: Pipeline, settings: WorkerSettings = TESTED
) -> AsyncIterator[Serving]:
    """Run a worker in this process, and stop it cleanly at the end."""
    running = Serving(bootstrap, Worker(pipeline, Connection(bootstrap=bootstrap), settings))
    try:
        yield running
    finally:
        if not running._task.done():
            await running.stop()


async def work_off(bootstrap: str, pipeline: Pipeline, settings: WorkerSettings = TESTED) -> None:
    """Let one worker do all that is in the logs."""
    async with serving(bootstrap, pipeline, settings) as worker:
        await worker.settle()


async def make_topics(bootstrap: str, pipeline: Pipeline, partitions: int) -> None:
    """Create the pipeline's topics as ``stream-infer topics create`` does.

    The side topics are shared by all pipelines of a Kafka, so they may exist already.
    """
    await create_topics(Connection(bootstrap=bootstrap), pipeline, partitions=partitions)


class WorkerProcess:
    """``stream-infer worker`` as a process of its own; its log stands in a file.

    reference  file of the pipeline
    options    further words of the command line
    settings   keys of section ``[worker]`` and their values
    command    how ``stream-infer`` is called
    """

    def __init__(
        self,
        reference: Path,
        bootstrap: str,
        *options: str,
        log: Path | None = None,
        settings: dict[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.log_path = log or reference.with_suffix(".log")
        settings = {**KILLABLE, **(settings or {})}
        variables = {f"STREAM_INFER_WORKER__{k.upper()}": v for k, v in settings.items()}
        with self.log_path.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [*command, "worker", str(reference), "--bootstrap", bootstrap, *options],
                stdout=output,
                stderr=output,
                env={**os.environ, **variables},
            )

    @property
    def log(self) -> str:
        """All that it has said; a worker before it may have written into the same file."""
        return self.log_path.read_bytes()[self._log_start :].decode(errors="replace")

    def alive(self) -> None:
        """Fail if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise AssertionError(f"the worker ended with {code}:\n{self.log[-4000:]}")

    async def says(self, word: str, times: int = 1) -> None:
        """Wait until `word` stands in the log so many times."""
        await until(lambda: self.log.count(word) >= times, alive=self.alive)

    def kill(self) -> None:
        """End it with SIGKILL: it can finish nothing."""
        self._process.kill()
        self._process.wait()

    async def stop(self) -> int:
        """End it with SIGTERM and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return await self.exit_code()

    async def exit_code(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for its end and return its exit code."""
        await until(lambda: self._process.poll() is not None, patience_s=patience_s)
        return self._process.wait()


@asynccontextmanager
async def worker_process(
    reference: Path, bootstrap: str, *options: str, settings: dict[str, str] | None = None
) -> AsyncIterator[WorkerProcess]:
    """Start a worker process; at the end it is killed if it still runs."""
    process = WorkerProcess(reference, bootstrap, *options, settings=settings)
    try:
        yield process
    finally:
        process.kill()
