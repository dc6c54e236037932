"""The worker process of a run: ``stream-infer``, with faults that only a process can have.

Everything here patches the worker in this process only; production code knows nothing of it. A
plant is a weakness that shows that the judge sees: a run with one must come out red. A shim lets
the harness do from outside what the system would: set this process's clock, fill its disk.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_infer.checkpoints.chunks import Chunk
    from stream_infer.checkpoints.manifest import Manifest

BEHIND_THE_FIRST = ".by-"
"""Stands in the names of topics of ours that a stage of features reads."""
FOLDED: dict[Any, int] = {}
"""Partition -> up to where the state of its newest planted checkpoint is folded."""


def main() -> None:
    """Patch what the first argument says, then be ``stream-infer`` with the others."""
    options = json.loads(sys.argv[1])
    sys.argv = ["stream-infer", *sys.argv[2:]]
    # Before anything takes a function of `time` for its own.
    shim_clock(Path(options["clock"]))
    from stream_infer import cli

    shim_disk(Path(options["full_disk"]))

    _checkpoint_often()
    die_at_checkpoint(Path(options["crash"]))
    for name in options["plants"]:
        PLANTS[name]()
    cli.main()


def shim_clock(file: Path) -> None:
    """Add what stands in a file to the time of day; the clock that never goes back stays.

    file  8 bytes, a double: seconds
    """
    with file.open("rb") as opened:
        shift = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)
    seconds, nanoseconds = time.time, time.time_ns
    patched: Any = time

    def shifted() -> float:
        return float(struct.unpack("d", shift[:8])[0])

    patched.time = lambda: seconds() + shifted()
    patched.time_ns = lambda: nanoseconds() + int(shifted() * 1e9)


def shim_disk(flag: Path) -> None:
    """Write half of each chunk of a checkpoint, and no more, while a file is there."""
    from stream_infer.checkpoints import folder

    patched: Any = folder
    append, publish = folder._append, folder._publish

    def append_half(path: str, chunk: Chunk) -> int:
        if not flag.exists():
            return append(path, chunk)
        append(path, chunk._replace(data=chunk.data[: len(chunk.data) // 2]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def publish_not(base: str, manifest: Manifest) -> None:
        if flag.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        publish(base, manifest)

    patched._append, patched._publish = append_half, publish_not


def _checkpoint_often() -> None:
    """Take checkpoints every second or so: a run is too short for as many as a day has."""
    from stream_infer.checkpoints.pace import Pace
    from stream_infer.dataplane import checkpointing

    patched: Any = checkpointing
    patched.Pace = partial(Pace, resume_s=0.0, interval_s_min=1.0, share_max=inf)


def die_at_checkpoint(token: Path) -> None:
    """Have whoever takes a token that lies there be killed as soon as readers see its checkpoint.

    Where a planted one is not ahead of what is committed (any more), the next one is waited for:
    that moment would show nothing.
    """
    from stream_infer.dataplane.checkpointing import Checkpointer

    patched: Any = Checkpointer
    publish = patched._publish

    async def published(self: Any, partition: Any, manifest: Any) -> None:
        await publish(self, partition, manifest)
        held = self._held.get(partition)
        if held is None or FOLDED.get(partition, inf) <= held.committed:
            return
        if _taken(token):
            os.kill(os.getpid(), signal.SIGKILL)

    patched._publish = published


def _taken(token: Path) -> bool:
    try:
        token.unlink()
    except FileNotFoundError:
        return False
    return True


def unawaited_send() -> None:
    """Commit a transaction without a look at the answers to what was sent into it."""
    from stream_infer.dataplane import transaction_gate, transaction_waves

    waves: Any = transaction_waves
    patched: Any = transaction_gate

    async def hasty(producer: Any, deliveries: Any) -> None:
        for destination, batch in waves._build(producer, deliveries):
            await waves._submit(producer, batch, destination)

    patched.send_wave = hasty


def no_fencing() -> None:
    """Commit offsets as nobody's member of no generation, as clients before KIP-447 do."""
    from stream_infer.dataplane.transaction_commit import Commits
    from stream_infer.kafka import transactions

    requests: Any = transactions._CommitOffsets
    create_request = requests.create_request

    def nobodys(self: Any) -> Any:
        request = create_request(self)
        request._fields |= {"generation_id": -1, "member_id": "", "group_instance_id": None}
        return request

    requests.create_request = nobodys
    patched: Any = Commits
    send_offsets = patched._send_offsets

    async def unchecked(self: Any, offsets: Any) -> None:
        self._joined = self._member()
        await send_offsets(self, offsets)

    patched._send_offsets = unchecked


def checkpoint_ahead() -> None:
    """Publish checkpoints whose states hold more than their offsets say, and than is committed.

    Folding a record again changes nothing, so what harms is one that comes out for the first time
    after a restore from a state that holds it already: behind the first stage it counts as a
    repeat, and never comes out. One checkpoint is written at a time, so the other stages take none.
    """
    from stream_infer.dataplane.checkpointing import Checkpointer

    patched: Any = Checkpointer
    take = patched.take

    def ahead(
        self: Any, partition: Any, stage: str, start: Any, position: int, state: Any, _mark: Any
    ) -> None:
        if BEHIND_THE_FIRST in partition.topic:
            FOLDED[partition] = position
            # What is committed covers it at once, however much is folded in a transaction.
            committed = max(start.position, self._held[partition].committed)
            take(self, partition, stage, start, committed, state, None)

    patched.take = ahead


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
    "no_fencing": no_fencing,
    "checkpoint_ahead": checkpoint_ahead,
    "forgotten_origin": forgotten_origin,
}
"""Name -> what plants it."""
