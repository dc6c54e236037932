"""What the web port of a worker needs to know: where it listens, and what counts as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEFAULT_PORT = 6066
"""Faust's own, where those who know Faust look for a worker."""

WebPort = int | Literal["auto", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The port that serves ``/metrics``, ``/health/live`` and ``/health/ready``.

    host               interface to listen on. Others than loopback let the network read how much
                       the worker does; there is no password
    port               a number: that port or an error, 0: any free one; ``auto``: 6066, or any
                       free one when a worker beside has taken it; ``off``: none
    stalled_after_ms   a worker is not live when its event loop has not turned for so long
    stuck_after_ms     it is not ready when records are in work and nothing was committed so long
    lag_max            it is not ready when a partition is so many records behind; None: no limit
    partition_metrics  whether gauges carry topic and partition
    """

    host: str = "127.0.0.1"
    port: WebPort = "auto"
    stalled_after_ms: int = 30_000
    stuck_after_ms: int = 60_000
    lag_max: int | None = None
    partition_metrics: bool = True
