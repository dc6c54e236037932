"""Compiled parts of the traffic step, kept on disk between processes.

As in `stream_infer.windows.compiled`, the digest of this package's sources is part of
what machine code is filed under: numba would notice a change in the step's own file, and
not one in a file whose functions it calls.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _digest_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


_SOURCES = _digest_sources()


def traffic_part(function: FunctionT) -> FunctionT:
    """Return the function in a form that steps can call; it becomes part of their code."""
    compiled: FunctionT = numba.njit(**_OPTIONS)(function)
    return compiled


def traffic_step(function: FunctionT) -> FunctionT:
    """Return a compiled step whose machine code is kept where a folder can be written."""
    name = function.__qualname__
    function.__qualname__ = f"{name}_{_SOURCES}"
    try:
        compiled: FunctionT = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:
        warnings.warn(
            f"The step {name} is compiled anew in this process, since its machine code cannot be "
            f"kept ({error}). Set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        compiled = numba.njit(**_OPTIONS)(function)
    # A feature's fingerprint holds the name: it must not change with every comment.
    compiled.__qualname__ = name
    return compiled
