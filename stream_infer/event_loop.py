"""Which event loop a worker runs on: uvloop's where it is installed, else asyncio's own.

A worker's work at a steady pace is hundreds of short callbacks a fetch, and uvloop takes less time
for each (decision 25 has the figures). Nothing in the project depends on which one it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:  # There is none for this platform.
    new_event_loop = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end on a loop of its own, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
