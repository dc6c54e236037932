"""The memory that the compiler takes while it has nothing to do.

To load machine code from disk numba runs some of LLVM, whose code then stays in memory: 68 MiB of a
worker, for nothing. Its pages are as they are on disk, so they are given back; should LLVM be
needed again, for a kernel that was not loaded before, the system reads the pages that it needs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_LIBRARY = "libllvmlite"
_MAPS = Path("/proc/self/smaps")
_DONT_NEED = 4
"""MADV_DONTNEED of madvise(2)."""


class _Mapping(NamedTuple):
    """A piece of the process's memory; what of it is held, and what was written to."""

    start: int
    end: int
    mode: str
    path: str
    held_bytes: int
    written_bytes: int

    @property
    def is_as_on_disk(self) -> bool:
        """Whether it is the compiler's, is only read, and nothing was ever written to it."""
        return _LIBRARY in self.path and "w" not in self.mode and not self.written_bytes


def _mappings(lines: Iterable[str]) -> Iterator[_Mapping]:
    """Yield what lines of smaps say (proc_pid_smaps(5))."""
    head: list[str] = []
    held_kib = 0
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            head = words
        elif words[0] == "Rss:":
            held_kib = int(words[1])
        elif words[0] == "Anonymous:" and len(head) == 6:
            start, end = (int(address, 16) for address in head[0].split("-"))
            written = int(words[1]) << 10
            yield _Mapping(start, end, head[1], head[5].strip(), held_kib << 10, written)


def compiler_bytes() -> int:
    """Return how much of the compiler is in memory that can be given back; 0 where unknown."""
    if not _MAPS.exists():
        return 0
    with _MAPS.open() as lines:
        return sum(each.held_bytes for each in _mappings(lines) if each.is_as_on_disk)


def release_compiler() -> int:
    """Give back the memory of the compiler's code; return how much it was.

    Linux alone says what it holds and takes it back; elsewhere nothing is done.
    Cost  a few ms
    """
    if sys.platform != "linux" or not _MAPS.exists():
        return 0
    with _MAPS.open() as lines:
        idle = [each for each in _mappings(lines) if each.is_as_on_disk and each.held_bytes]
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    given = (each for each in idle if advise(each.start, each.end - each.start, _DONT_NEED) == 0)
    return sum(each.held_bytes for each in given)
