"""Which processes run on which cores, and on what machine.

The process under measurement has one core to itself; Kafka, the load and whoever
samples share the others. A child inherits the affinity of the thread that starts it,
so `pinned` around the start is enough, and no moment passes on a foreign core.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("aiokafka", "faust-streaming", "numba", "numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores of the process under measurement, and of everything else; None: not pinned."""

    subject: frozenset[int] | None
    others: frozenset[int] | None

    def describe(self) -> dict[str, Any]:
        """Return both as JSON-encodable lists."""
        return {
            "subject": None if self.subject is None else sorted(self.subject),
            "others": None if self.others is None else sorted(self.others),
        }


def choose_cores(subjects: int = 1) -> Cores:
    """Give the last cores that this process may use to the subject, the rest to the others.

    subjects  how many the subject gets
    With too few cores for both, or on a system without affinity, nothing is pinned.
    """
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) <= subjects:
        return Cores(None, None)
    return Cores(frozenset(usable[-subjects:]), frozenset(usable[:-subjects]))


@contextmanager
def pinned(cores: frozenset[int] | None) -> Iterator[None]:
    """Run the block, and every process started in it, on these cores."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe_machine(cores: Cores) -> dict[str, Any]:
    """Return what a reader needs to judge figures: processor, versions, load, date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "pinned": cores.describe(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
