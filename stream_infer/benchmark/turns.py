"""Ways of doing the same, in turns: what else the machine does meets them alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from stream_infer.benchmark.load import Load
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.subject import Subject
from stream_infer.benchmark.throughput import Throughput, throughput, watch_outputs
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline

SECONDS_MAX = 120.0

Name = TypeVar("Name")
Ran = TypeVar("Ran")


async def in_turns(
    ways: Mapping[Name, Callable[[], Awaitable[Ran]]], repeat: int
) -> dict[Name, list[Ran]]:
    """Go each way once, one after the other, so many times; return what came of each."""
    runs: dict[Name, list[Ran]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, go in ways.items():
            runs[name].append(await go())
    return runs


async def catch_up(
    connection: Connection,
    starting: AbstractAsyncContextManager[tuple[Subject, Pipeline]],
    scenario: Scenario,
    load: Load,
    show: Callable[[int], None],
) -> Throughput:
    """Start a process over a load that is written, and return how quickly it catches up.

    Raises  as `watch_outputs`
    """
    async with starting as (subject, pipeline):
        samples = await watch_outputs(
            connection,
            pipeline.scored,
            load.expected,
            subject,
            seconds_max=SECONDS_MAX,
            show=show,
        )
    return throughput(samples, scenario.measured(load))
