"""Machine code that is kept on disk, and calls of it that cost little.

numba notices that a compiled function's own file changed, but not that a file changed whose
functions it calls. So each carries the digest of its package's sources in its name, which is the
name of its cache file: a change anywhere in the package makes new files.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def digest_sources(folder: Path) -> str:
    """Return eight hex digits over the Python sources of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def kept(function: FunctionT, sources: str, options: dict[str, Any]) -> FunctionT:
    """Return the compiled function, its machine code filed under a digest of its sources.

    Where no folder can be written (a read-only image without a home folder) it is compiled in each
    process, and a warning says so once per function.
    """
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
