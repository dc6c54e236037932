"""The worker process of a run: ``stream-infer``, with planted faults where they are asked for.

A plant patches the worker in this process only; production code knows nothing of it. Each
shows that the judge sees: a run with a plant must come out red.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

BACKGROUND: set[asyncio.Task[Any]] = set()


def main() -> None:
    """Patch what the first argument says, then be ``stream-infer`` with the others."""
    options = json.loads(sys.argv[1])
    sys.argv = ["stream-infer", *sys.argv[2:]]
    from stream_infer import cli

    for name in options["plants"]:
        PLANTS[name]()
    cli.main()


def unawaited_send() -> None:
    """Count outputs as safe before Kafka has acknowledged them."""
    from stream_infer.dataplane import task

    patched: Any = task.PartitionTask
    deliver = patched._deliver

    async def hasty(self: Any, *args: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(0.2)
            await deliver(self, *args)

        sending = asyncio.create_task(later())
        BACKGROUND.add(sending)
        sending.add_done_callback(BACKGROUND.discard)

    patched._deliver = hasty


def state_ahead() -> None:
    """Restore a state that lacks the last records before the offset at which work goes on."""
    from stream_infer import app

    patched: Any = app
    replay = patched.replay_log

    async def short(source: Any, start: int, end: int, on_batch: Any, make: Any) -> None:
        await replay(source, start, max(start, end - 50), on_batch, make)

    patched.replay_log = short


def forgotten_origin() -> None:
    """Fold records of an internal topic again that were folded before."""
    from stream_infer.features import fold

    patched: Any = fold.StageFold
    upstream = patched._upstream

    def unknown(self: Any, columns: Any) -> Any:
        places, offsets = upstream(self, columns)
        places[:] = -1
        return places, offsets

    patched._upstream = unknown


PLANTS: dict[str, Callable[[], None]] = {
    "unawaited_send": unawaited_send,
    "state_ahead": state_ahead,
    "forgotten_origin": forgotten_origin,
}
"""Name -> what plants it."""
