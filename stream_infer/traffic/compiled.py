"""Compiled parts of the traffic step, kept on disk between processes.

As in `stream_infer.compiled`, the digest of this package's sources is part of
what machine code is filed under: numba would notice a change in the step's own file, and
not one in a file whose functions it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from stream_infer.compiled import digest_sources, kept

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_SOURCES = digest_sources(Path(__file__).parent)


def traffic_part(function: FunctionT) -> FunctionT:
    """Return the function in a form that steps can call; it becomes part of their code."""
    compiled: FunctionT = numba.njit(**_OPTIONS)(function)
    return compiled


def traffic_step(function: FunctionT) -> FunctionT:
    """Return a compiled step whose machine code is kept where a folder can be written."""
    name = function.__qualname__
    compiled = kept(function, _SOURCES, _OPTIONS)
    # A feature's fingerprint holds the name: it must not change with every comment.
    compiled.__qualname__ = name
    return compiled
