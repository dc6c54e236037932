"""Work of one kind that comes up in the same turn of the event loop is done in one call.

One fetch brings records of all partitions of a stage, and each partition's task goes on by
itself. At a steady pace they have a few records each: decoding, scoring and encoding them
partition by partition would cost as much for two records as for fifty.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from stream_infer.dataplane.at_work import slot_of
from stream_infer.dataplane.batch import ALONE_ROWS, BATCH_ROWS_MAX, RecordBatch
from stream_infer.dataplane.stage import AnyRead, Stage, StepResult
from stream_infer.events.columns import EVENT, EventColumns
from stream_infer.observability.meter import READ, StageMeter

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Together(Generic[Job, Answer]):
    """Collects jobs until the event loop has run what is ready, then does them in one call.

    do      does jobs, one answer each; what it raises is raised for each of them
    rows    size of a job
    repeats whether jobs may be done again: when they fail together they are done one by one, so
            that what one of them raises is raised for that one alone
    """

    def __init__(
        self,
        do: Callable[[Sequence[Job]], list[Answer]],
        rows: Callable[[Job], int],
        *,
        repeats: bool = False,
    ) -> None:
        self._do = do
        self._rows = rows
        self._repeats = repeats
        self._waiting: list[tuple[Job, asyncio.Future[Answer]]] = []

    async def ask(self, job: Job) -> Answer:
        """Do one job, with others if there are any; at once when it is large.

        A job whose caller was cancelled before its turn is not done.
        """
        if self._rows(job) >= ALONE_ROWS:
            return self._do([job])[0]
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._turn)
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((job, answer))
        return await answer

    def _turn(self) -> None:
        waiting, self._waiting = self._waiting, []
        waiting = [each for each in waiting if not each[1].done()]
        while waiting:
            count = self._count(waiting)
            self._answer(waiting[:count])
            waiting = waiting[count:]

    def _count(self, waiting: list[tuple[Job, asyncio.Future[Answer]]]) -> int:
        """Return how many of the first jobs fit into one call, at least one."""
        rows = 0
        for count, (job, _) in enumerate(waiting):
            rows += self._rows(job)
            if rows > BATCH_ROWS_MAX and count:
                return count
        return len(waiting)

    def _answer(self, waiting: list[tuple[Job, asyncio.Future[Answer]]]) -> None:
        try:
            answers = self._do([job for job, _ in waiting])
        except Exception as error:  # noqa: BLE001 - handed to those who asked
            if self._repeats and len(waiting) > 1:
                for each in waiting:
                    self._answer([each])
                return
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), answer in zip(waiting, answers, strict=True):
            future.set_result(answer)


class _Step(NamedTuple):
    read: AnyRead
    state: Any
    begins: Callable[[], None]


class StageWork:
    """What the tasks of one stage's partitions have done for them, together."""

    def __init__(self, stage: Stage, meter: StageMeter | None = None) -> None:
        self.stage = stage
        self.meter = meter or StageMeter()
        self._at_work = slot_of(stage.name, stage.topic)
        self._reads = Together[RecordBatch, AnyRead](self._read, len, repeats=True)
        self._steps = Together[_Step, StepResult](self._step, lambda job: len(job.read.rows))

    def note_ages(self, columns: EventColumns) -> None:
        """Measure how old events are now that they are scored."""
        times = columns.event_time[columns.kind == EVENT]
        self.meter.ages(times, int(time.time() * 1000))

    def _read(self, batches: Sequence[RecordBatch]) -> list[AnyRead]:
        began = time.perf_counter()
        with self._noted(batches):
            reads = self.stage.read(batches)
        self.meter.lap(READ, began)
        return reads

    def _step(self, jobs: Sequence[_Step]) -> list[StepResult]:
        self.meter.batch(sum(len(job.read.rows) for job in jobs))
        for job in jobs:
            job.begins()
        with self._noted([job.read.batch for job in jobs]):
            return self.stage.step([(job.read, job.state) for job in jobs], self.meter)

    def fold_silently(self, batch: RecordBatch, state: Any) -> None:
        """Fold a batch into the state and write nothing: a part of a replay."""
        with self._noted([batch]):
            [read] = self.stage.read_silently([batch])
            self.stage.fold_only(read, state)

    @contextmanager
    def _noted(self, batches: Iterable[RecordBatch]) -> Iterator[None]:
        """Note what is worked on, for whoever looks after a crash of the process."""
        self._at_work.begin([(each.source.partition, each.first, each.last) for each in batches])
        try:
            yield
        finally:
            self._at_work.end()

    async def read(self, batch: RecordBatch) -> AnyRead:
        """Return the batch as columns."""
        return await self._reads.ask(batch)

    async def step(self, read: AnyRead, state: Any, begins: Callable[[], None]) -> StepResult:
        """Fold the rows into the state and return what is to be written.

        begins  called right before the state moves: until then it is as it was
        """
        return await self._steps.ask(_Step(read, state, begins))
