"""How this package's functions are compiled.

`kernel` is for functions that Python calls: they release the GIL and are kept on
disk, so that a second process loads them instead of compiling. `part` is for the
functions that kernels are made of; they live inside their kernel's machine code, and
`rare` for those that are seldom needed.
`host` is for loops around functions that are not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from stream_infer.compiled import digest_sources, kept

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    # A division by zero is excluded where it can happen; Python's check costs a branch each.
    "error_model": "numpy",
}
# Kernels own no memory: arrays are lent to them for the call. Counting references to the two
# dozen arrays of a state at every step took ten times as long as the work itself (3.5 against
# 0.33 µs an event); without counting, an allocation in a kernel is an error at compile time.
_LENT: dict[str, Any] = {**_OPTIONS, "_nrt": False}


_SOURCES = digest_sources(Path(__file__).parent)


def part(function: FunctionT) -> FunctionT:
    """Return the function in a form that kernels can call; it becomes part of their code.

    Inlined by force: a state is passed as some ninety words, which a real call would copy each
    time (1.4 against 0.33 µs an event).
    """
    compiled: FunctionT = numba.njit(forceinline=True, **_LENT)(function)
    return compiled


def rare(function: FunctionT) -> FunctionT:
    """Return the function in a form that kernels can call, for what few rows need.

    A real call, which keeps kernels small: with everything inlined they take three times as long
    to compile.
    """
    compiled: FunctionT = numba.njit(**_LENT)(function)
    return compiled


def kernel(function: FunctionT) -> FunctionT:
    """Return the compiled function; machine code is kept between processes where it can be."""
    return kept(function, _SOURCES, _LENT)


def host(function: FunctionT) -> FunctionT:
    """Return a compiled loop around a user's own function, which may do what numba can do.

    It is compiled in each process: the user's function may change without our noticing.
    """
    compiled: FunctionT = numba.njit(**_OPTIONS)(function)
    return compiled
