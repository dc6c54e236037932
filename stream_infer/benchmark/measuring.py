"""What `stream-infer bench` was asked for, and which sessions measure it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stream_infer.benchmark import models_session
from stream_infer.benchmark.cores import Cores
from stream_infer.benchmark.delivery import DeliverySession
from stream_infer.benchmark.ground import Ground
from stream_infer.benchmark.load import Show, single_load, two_stage_load
from stream_infer.benchmark.models import MODEL_KINDS
from stream_infer.benchmark.models_session import ModelsSession
from stream_infer.benchmark.outages import OutageSession
from stream_infer.benchmark.restore import RestoreSession
from stream_infer.benchmark.scale import ScaleSession
from stream_infer.benchmark.scenarios import Scenario, single_scenario, two_stage_scenario
from stream_infer.benchmark.session import MEMORY_EVENTS_MIN, Session
from stream_infer.benchmark.soak import SHORT_LOGS, SoakSession
from stream_infer.benchmark.spread import Figure
from stream_infer.kafka.connection import Connection

ON_TWO_CORES = ("scale", "models")
OUTAGES = ("failover", "restart", "restore", "soak")
DELIVERIES = ("delivery", "markers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured, by the words and options of the command.

    seconds  length of a latency run
    keys     that a state holds: failover and restart
    minutes  length of a soak
    rate     events a second of a soak, and while models are exchanged; None: as each has it
    reloads  exchanges of models
    """

    what: str
    kinds: Sequence[str]
    events: int
    repeat: int
    seconds: float
    keys: int
    minutes: float
    rate: int | None
    reloads: int
    baselines: Sequence[str]

    @property
    def subjects(self) -> int:
        """How many cores the processes under measurement have."""
        return 2 if self.what in ON_TWO_CORES else 1

    @property
    def single(self) -> Scenario:
        """The single stage with the first kind of model that is asked for."""
        return single_scenario(next(kind for kind in MODEL_KINDS if kind in self.kinds))


@dataclass(frozen=True, slots=True)
class Site:
    """Where it is measured.

    folder      for files and logs of the processes
    broker_pid  of Kafka's process, None when it is not ours
    """

    connection: Connection
    cores: Cores
    folder: Path
    broker_pid: int | None
    show: Show


async def measure(asked: Asked, site: Site) -> list[Figure]:
    """Return the figures of what is asked for.

    Raises  GateFailedError where it cannot be measured here; BrokerError
    """
    if asked.what == "scale":
        return await _scale(asked, site)
    if asked.what == "models":
        return await _models(asked, site)
    if asked.what in OUTAGES:
        return await _outages(asked, site)
    if asked.what in DELIVERIES:
        return await _delivery(asked, site)
    return await _session(asked, site)


async def _session(asked: Asked, site: Site) -> list[Figure]:
    session = Session(
        site.connection,
        site.cores,
        site.folder,
        repeat=asked.repeat,
        baselines=asked.baselines,
        show=site.show,
    )
    what, events = asked.what, asked.events
    figures: list[Figure] = []
    if what in ("single", "memory", "all"):
        rows = max(events, MEMORY_EVENTS_MIN) if what == "memory" else events
        for kind in MODEL_KINDS:
            figures += await session.single(kind, rows) if kind in asked.kinds else []
    if what in ("two-stage", "all"):
        figures += await session.two_stage(events)
    if what in ("alerts", "all"):
        figures += await session.alerts(events)
    if what in ("traffic", "all"):
        figures += await session.traffic(events)
    if what in ("city", "all"):
        figures += await session.city(asked.seconds)
    if what in ("latency", "all"):
        figures += await session.latency(asked.single, asked.seconds)
        figures += await session.latency(two_stage_scenario(), asked.seconds)
    if what in ("help", "all"):
        figures += await asyncio.to_thread(session.help_time)
    if what == "memory":
        figures = [figure for figure in figures if figure.unit == "MiB"]
    return figures


async def _scale(asked: Asked, site: Site) -> list[Figure]:
    session = ScaleSession(
        site.connection,
        site.cores,
        site.folder,
        repeat=asked.repeat,
        broker_pid=site.broker_pid,
        show=site.show,
    )
    figures = await session.measure(asked.single, single_load(asked.events))
    return figures + await session.measure(two_stage_scenario(), two_stage_load(asked.events))


async def _models(asked: Asked, site: Site) -> list[Figure]:
    session = ModelsSession(
        site.connection,
        site.cores,
        site.folder,
        repeat=asked.repeat,
        reloads=asked.reloads,
        rate=asked.rate or models_session.RATE,
        show=site.show,
    )
    figures = await session.reloads()
    figures += await session.promotions()
    figures += await session.shadow(asked.events)
    return figures + await session.guard(asked.events)


async def _delivery(asked: Asked, site: Site) -> list[Figure]:
    session = DeliverySession(
        site.connection, site.cores, site.folder, repeat=asked.repeat, show=site.show
    )
    single, two = asked.single, two_stage_scenario()
    if asked.what == "markers":
        return await session.markers(two, asked.seconds)
    figures = await session.throughput(single, single_load(asked.events))
    figures += await session.throughput(two, two_stage_load(asked.events))
    figures += await session.latency(single, asked.seconds)
    return figures + await session.latency(two, asked.seconds)


async def _outages(asked: Asked, site: Site) -> list[Figure]:
    connection, cores, show = site.connection, site.cores, site.show
    single, two = (
        replace(each, delivery="exactly_once") for each in (asked.single, two_stage_scenario())
    )
    if asked.what == "soak":
        short = Ground(connection, cores, site.folder, topics=SHORT_LOGS)
        soak = SoakSession(connection, short, rate=asked.rate, show=show)
        return await soak.measure(single, asked.minutes)
    ground = Ground(connection, cores, site.folder)
    if asked.what == "restore":
        restore = RestoreSession(connection, cores, ground, repeat=asked.repeat, show=show)
        figures = await restore.measure(single, single_load(asked.events))
        return figures + await restore.measure(two, two_stage_load(asked.events))
    outages = OutageSession(connection, ground, repeat=asked.repeat, show=show)
    if asked.what == "restart":
        return await outages.restart(single, asked.keys)
    figures = []
    for scenario in (single, two):
        for static in (False, True):
            figures += await outages.failover(scenario, asked.keys, static=static)
    return figures
