"""Whether the window kernels are compiled and kept, so that a worker starts at once."""

from __future__ import annotations

import time
import warnings
from pkgutil import iter_modules
from sys import modules
from typing import Any

from stream_infer import windows
from stream_infer.doctor.findings import Finding, failed, passed
from stream_infer.windows.precompile import precompile

FIX = (
    "Let NUMBA_CACHE_DIR name a folder that can be written to, then run: python -m"
    " stream_infer.precompile."
)


def examine_kernels() -> Finding:
    """Load every kernel, compiling what is not there, and look where it is kept."""
    begun = time.monotonic()
    with warnings.catch_warnings():
        # Each kernel that cannot be kept warns; here it is one finding.
        warnings.simplefilter("ignore")
        precompile()
    names = [f"stream_infer.windows.{each.name}" for each in iter_modules(windows.__path__)]
    loaded = [modules[name] for name in names if name in modules]
    kernels = {
        id(item): item for module in loaded for item in vars(module).values() if _called(item)
    }
    return judge_kernels([item.stats for item in kernels.values()], time.monotonic() - begun)


def _called(item: Any) -> bool:
    """Say whether it is a kernel that was called: only such a one has code of its own.

    The parts of a kernel have been compiled too where the kernel had to be; they are never kept.
    """
    stats = getattr(item, "stats", None)
    if stats is None or not hasattr(stats, "cache_path"):
        return False
    return bool(item.signatures) and not item.targetoptions.get("forceinline", False)


def judge_kernels(stats: list[Any], seconds: float) -> Finding:
    """Judge numba's own counts; `cache_path` is None where nothing can be kept."""
    kept = {each.cache_path for each in stats if each.cache_path is not None}
    compiled = sum(sum(each.cache_misses.values()) for each in stats)
    if any(each.cache_path is None for each in stats):
        return failed(
            "kernels",
            f"Compiled kernels cannot be kept: each process compiles them ({seconds:.0f} s).",
            FIX,
        )
    how = f"{compiled} of them compiled now, in {seconds:.0f} s" if compiled else "all from there"
    return passed("kernels", f"{len(stats)} kernels in {', '.join(sorted(kept))}, {how}.")
