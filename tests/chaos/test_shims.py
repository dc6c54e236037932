"""What the harness does to a worker's clock and disk reaches the worker, and can be taken back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from chaos.workers import NO_SHIFT, TESTS, Worker

CLOCK = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from chaos.child import shim_clock
steady = time.monotonic()
shim_clock(Path(sys.argv[2]))
for _ in sys.stdin:
    now = [time.time(), time.time_ns() / 1e9, time.monotonic() - steady]
    print(json.dumps(now), flush=True)
"""
DISK = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from chaos.child import shim_disk
from stream_infer.checkpoints import folder
from stream_infer.checkpoints.chunks import Chunk
shim_disk(Path(sys.argv[2]))
path = Path(sys.argv[3])
for _ in sys.stdin:
    try:
        print(folder._append(str(path), Chunk(0, b"12345678", "")), flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


def test_a_clock_is_set_ahead_and_back_while_the_steady_one_goes_on(tmp_path: Path) -> None:
    worker = Worker.__new__(Worker)
    worker.clock = tmp_path / "clock"
    worker.clock.write_bytes(NO_SHIFT)
    with subprocess.Popen(
        [sys.executable, "-c", CLOCK, str(TESTS), str(worker.clock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        last = 0.0
        for shift in (0.0, 3_000.0, -3_000.0):
            worker.shift_clock(shift)
            child.stdin.write("\n")
            child.stdin.flush()
            seconds, nanoseconds, steady = json.loads(child.stdout.readline())
            assert abs(seconds - time.time() - shift) < 1_000
            assert abs(nanoseconds - time.time() - shift) < 1_000
            assert last < steady < 1_000
            last = steady
        child.stdin.close()


def test_a_full_disk_takes_half_a_chunk_until_it_has_room_again(tmp_path: Path) -> None:
    flag, path = tmp_path / "full", tmp_path / "chunks"
    with subprocess.Popen(
        [sys.executable, "-c", DISK, str(TESTS), str(flag), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        answers = []
        for is_full in (False, True, False):
            flag.touch() if is_full else flag.unlink(missing_ok=True)
            child.stdin.write("\n")
            child.stdin.flush()
            answers.append(int(child.stdout.readline()))
        child.stdin.close()
    assert answers == [0, 28, 12]  # where it begins, ENOSPC, and behind half a chunk
