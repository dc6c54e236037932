"""Joins the pulse, the verdicts, the metrics and the web port of one worker.

async with observing(web, pipeline="fraud", version=__version__) as pulse:
    pulse.gather = ...        # as soon as there is something to tell
    await serve()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from stream_infer.observability.facts import PlaneFacts
from stream_infer.observability.health import HealthLimits, Verdict, details, liveness, readiness
from stream_infer.observability.metrics import Observed, PlaneCollector, make_registry
from stream_infer.observability.pulse import Pulse
from stream_infer.observability.web import Address, Answer, WebServer
from stream_infer.settings.web import DEFAULT_PORT, WebSettings

log = structlog.get_logger("stream_infer.observability")

LIVE, READY, METRICS = "/health/live", "/health/ready", "/metrics"


class Observatory:
    """What a worker's web port answers.

    pulse     of the worker
    limits    from when on it is not well
    pipeline  its name
    version   of this package
    """

    def __init__(
        self,
        pulse: Pulse,
        limits: HealthLimits,
        *,
        pipeline: str,
        version: str,
        partitions: bool = True,
    ) -> None:
        self._pulse = pulse
        self._limits = limits
        self._pipeline = pipeline
        collector = PlaneCollector(pipeline, version, self.observe, partitions=partitions)
        self.registry = make_registry(collector)

    def verdicts(self) -> tuple[Verdict, Verdict]:
        """Return whether the worker is alive, and whether it is ready."""
        pulse, now_s = self._pulse, self._pulse.seconds()
        live = liveness(pulse.facts, pulse.turned_s, now_s, self._limits)
        return live, readiness(pulse.facts, pulse.taken_s, live, now_s, self._limits)

    def observe(self) -> Observed:
        """Return what the metrics are made of."""
        live, ready = self.verdicts()
        age_s = self._pulse.seconds() - self._pulse.taken_s
        return Observed(self._pulse.facts, age_s, live.ok, ready.ok)

    def live(self, _accept: str) -> Answer:
        """Answer ``/health/live``."""
        return self._health("live", self.verdicts()[0], {})

    def ready(self, _accept: str) -> Answer:
        """Answer ``/health/ready``."""
        told = [detail._asdict() for detail in details(self._pulse.facts)]
        return self._health("ready", self.verdicts()[1], {"details": told})

    def _health(self, word: str, verdict: Verdict, more: Mapping[str, Any]) -> Answer:
        facts = self._pulse.facts
        body = {
            "pipeline": self._pipeline,
            word: verdict.ok,
            "reasons": [reason._asdict() for reason in verdict.reasons],
            **more,
            "partitions": len(facts.partitions),
        }
        status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(status, "application/json", orjson.dumps(body) + b"\n")


def metrics_page(registry: CollectorRegistry, accept: str) -> Answer:
    """Answer ``/metrics`` in Prometheus' text form, or OpenMetrics to those who ask for it."""
    encode, content_type = choose_encoder(accept)
    return Answer(HTTPStatus.OK, content_type, encode(registry))


@asynccontextmanager
async def observing(
    settings: WebSettings | None, *, pipeline: str, version: str
) -> AsyncIterator[Pulse]:
    """Keep the pulse, and serve the web port unless it is off.

    settings  None: no port, for a worker inside another program
    Raises    as `WebServer.start`
    """
    pulse = Pulse(PlaneFacts)
    server = None
    if settings is not None and settings.port != "off":
        server = _server(pulse, settings, pipeline, version)
        # Before anything else, so that a port that is taken stops a worker at once.
        server.start()
        log.info("web_port_open", url=server.url, pages=[LIVE, READY, METRICS])
    beating = asyncio.create_task(pulse.beat_forever(), name="pulse")
    try:
        yield pulse
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        if server is not None:
            await asyncio.to_thread(server.stop)


def _server(pulse: Pulse, settings: WebSettings, pipeline: str, version: str) -> WebServer:
    limits = HealthLimits(
        stalled_after_s=settings.stalled_after_ms / 1000,
        stuck_after_s=settings.stuck_after_ms / 1000,
        lag_max=settings.lag_max,
    )
    observatory = Observatory(
        pulse,
        limits,
        pipeline=pipeline,
        version=version,
        partitions=settings.partition_metrics,
    )
    asked = isinstance(settings.port, int)
    port = settings.port if isinstance(settings.port, int) else DEFAULT_PORT
    return WebServer(
        Address(settings.host, port, fallback=not asked),
        {
            LIVE: observatory.live,
            READY: observatory.ready,
            METRICS: partial(metrics_page, observatory.registry),
        },
    )
