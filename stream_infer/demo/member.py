"""One worker of the demo, in a process of its own.

    python -m stream_infer.demo.member fraud

Its standard input is its leash: the first line says where Kafka is, its end says to stop.
Whatever ends the owner, even SIGKILL, ends the pipe. Imports are done before that line comes,
so that they cost no time once Kafka is up. What made the worker fail stands as one JSON object
on standard output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from dataclasses import replace

import orjson

from stream_infer.demo.plan import ALIGN_SKEW_MS
from stream_infer.errors import StreamInferError
from stream_infer.kafka.connection import Connection
from stream_infer.logs import configure_logs
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker

STOP_S_MAX = 15.0
"""A worker whose Kafka has gone with its owner may wait for it for ever; nobody waits for that."""


def main(pipeline_name: str) -> int:
    """Run the worker until standard input ends; return the exit code."""
    configure_logs(quiet=True)
    # Ctrl-C in a terminal reaches every process of it; the owner alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipeline = load_pipeline(pipeline_name)
    bootstrap = sys.stdin.readline().strip()
    if not bootstrap:
        return 0
    # The demo has its Kafka before it starts a worker.
    settings = WorkerSettings(connect_wait_ms=0)
    settings = replace(
        settings, align_skew_ms=ALIGN_SKEW_MS.get(pipeline.name, settings.align_skew_ms)
    )
    worker = Worker(pipeline, Connection(bootstrap=bootstrap), settings)
    try:
        asyncio.run(_until_leash_ends(worker))
    except StreamInferError as error:
        _say(error)
        return error.exit_code
    return 0


async def _until_leash_ends(worker: Worker) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)
        time.sleep(STOP_S_MAX)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    await worker.run(stop)


def _say(error: StreamInferError) -> None:
    sys.stdout.write(orjson.dumps(error.envelope()).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
