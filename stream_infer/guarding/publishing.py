"""Publishes each second what each version did in this worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from stream_infer.errors import StreamInferError
from stream_infer.events.evidence import Counted, Evidence, encode_evidence
from stream_infer.scoring.session import Scorer
from stream_infer.serving.router import Router
from stream_infer.serving.tally import Tally

log = structlog.get_logger("stream_infer.models")

EVERY_S = 1.0
_MICROSECONDS = 1_000_000

Send = Callable[[bytes, bytes], Awaitable[None]]
"""Takes key and value; raises StreamInferError where Kafka does not take it."""


def evidence_of(
    tallies: Mapping[Scorer, Tally], router: Router, *, pipeline: str, worker: str, at_ms: int
) -> list[Evidence]:
    """Return what the tallies say, one record a version.

    A version that has just been exchanged has no role any more, and is told as ``former``.
    """
    roles = {scorer: alias for alias, scorer in reversed(router.serving.roles().items())}
    return [
        Evidence(
            pipeline=pipeline,
            worker=worker,
            model=scorer.name,
            version=scorer.version,
            role=roles.get(scorer, "former"),
            at=at_ms,
            rows=tally.rows,
            errors=tally.errors,
            not_finite=tally.not_finite,
            alerts=tally.alerts,
            run_us=round(tally.seconds * _MICROSECONDS),
            runs=tally.runs,
            worst_us=round(tally.worst_s * _MICROSECONDS),
            scores=tuple(tally.scores.tolist()),
            features={
                name: Counted(counts=counts, missing=missing)
                for name, (counts, missing) in tally.feature_counts(
                    scorer.model.manifest.features, scorer.model.manifest
                ).items()
            },
        )
        for scorer, tally in tallies.items()
    ]


async def publish_forever(
    router: Router, send: Send, *, pipeline: str, worker: str, every_s: float = EVERY_S
) -> None:
    """Publish evidence each second; seconds in which nothing was scored are not told.

    What Kafka does not take is lost, and said once: evidence is worth nothing later.
    """
    is_lost = False
    while True:
        await asyncio.sleep(every_s)
        at_ms = time.time_ns() // 1_000_000
        try:
            for each in evidence_of(
                router.take(), router, pipeline=pipeline, worker=worker, at_ms=at_ms
            ):
                await send(f"{pipeline}:{each.version}".encode(), encode_evidence(each))
        except StreamInferError as error:
            if not is_lost:
                log.warning("evidence_not_sent", cause=error.message, fix=error.fix)
            is_lost = True
        else:
            is_lost = False
