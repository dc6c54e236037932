"""Evidence for tests of the guard."""

from __future__ import annotations

from typing import Any

from stream_infer.events.evidence import Evidence
from support.registries import NOON_MS

SCORES = (900, 60, 40)


def evidence(version: str = "2", at: int = NOON_MS, **of: Any) -> Evidence:
    """Return a second of a version that is well: 1,000 rows, 2 % of them alert."""
    well: dict[str, Any] = {
        "pipeline": "p",
        "worker": "w",
        "model": "tiny",
        "role": "champion",
        "rows": 1_000,
        "alerts": 20,
        "run_us": 5_000,
        "worst_us": 9,
        "scores": SCORES,
    }
    return Evidence(version=version, at=at, **{**well, **of})
