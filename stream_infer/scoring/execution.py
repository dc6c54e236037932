"""What a configuration says about where a model runs: a small frozen value, no runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where a model runs.

    providers   execution providers of ONNX Runtime, tried in this order: ``cpu``, ``cuda``, or
                another by its name. What none of them can run, the processor runs
    require     the provider that must run all of the model; None: whichever does
    row_chunks  provider -> rows of one run; others take what the model's manifest says
    """

    providers: tuple[str, ...] = (CPU,)
    require: str | None = None
    row_chunks: Mapping[str, int] = field(default_factory=dict)


ON_CPU = Execution()
"""What is not told otherwise runs on the processor."""
