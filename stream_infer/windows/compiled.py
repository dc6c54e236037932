"""The one place that speaks to numba's decorators.

`kernel` is for functions that Python calls: they release the GIL and are kept on
disk, so that a second process loads them instead of compiling. `part` is for the
functions that kernels are made of; they live inside their kernel's machine code, and
`rare` for those that are seldom needed.
`host` is for loops around functions that are not ours.

numba notices that a kernel's own file changed, but not that a part in another file
did. So every kernel carries the digest of this package's sources in its name, which
is the name of its cache file: a change anywhere makes new files.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

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


def digest_sources(folder: Path) -> str:
    """Return eight hex digits over the Python sources of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


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
    """Return the compiled function; machine code is kept between processes where it can be.

    Where no folder can be written (a read-only image without a home folder) the kernel is
    compiled in each process, and a warning says so once per kernel.
    """
    return kept(function, _SOURCES, _LENT)


def kept(function: FunctionT, sources: str, options: dict[str, Any]) -> FunctionT:
    """Return the compiled function, its machine code filed under a digest of its sources."""
    name = function.__qualname__
    function.__qualname__ = f"{name}_{sources}"
    try:
        compiled: FunctionT = numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        warnings.warn(
            f"Kernel {name} is compiled anew in this process, since its machine code "
            f"cannot be kept ({error}). Set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=3,
        )
        compiled = numba.njit(**options)(function)
    return compiled


def host(function: FunctionT) -> FunctionT:
    """Return a compiled loop around a user's own function, which may do what numba can do.

    It is compiled in each process: the user's function may change without our noticing.
    """
    compiled: FunctionT = numba.njit(**_OPTIONS)(function)
    return compiled


class OneForm:
    """A compiled function that is always called with arguments of the same types.

    numba's dispatcher looks at the types of all arguments at each call. For tuples of some forty
    arrays that takes 7 of the 8 µs which a call with nothing to do takes, so it is asked the
    first time only. An array of another dtype or number of dimensions later on is a TypeError;
    one that does not lie in one piece, as the first one did, would be read wrongly.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._code: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the machine code."""
        if self._code is not None:
            return self._code(*arguments)
        answer = self.function(*arguments)
        [form] = self.function.overloads.values()  # type: ignore[attr-defined]  # numba's
        self._code = form.entry_point
        return answer


def one_form(function: FunctionT) -> FunctionT:
    """Return a compiled function for callers whose arguments always have the same types."""
    called: Any = OneForm(function)
    return called  # type: ignore[no-any-return]
