"""Time, pauses and size of a checkpoint, while the stage goes on folding.

    python benchmarks/checkpoint.py [--keys 1000000] [--entries 10000000] [--partitions 1]
        [--stage 0] [--events-per-s 2000] [--store file:///tmp/checkpoints | kafka]

Builds states of that many keys and window entries (all partitions together) of the fraud
pipeline, then writes and restores a checkpoint of each. While it is written, the partition goes
on: each 10 ms a batch of its rate is folded on the same event loop. Prints how long the loop
stood still at most (the time between two wake-ups that are due at once), the CPU and wall time,
and the bytes. Without a store chunks are made and thrown away.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np

from stream_infer.checkpoints.chunks import Chunk
from stream_infer.checkpoints.manifest import ChunkPlace, Draft, Found, Manifest
from stream_infer.checkpoints.opening import IN_KAFKA, open_store
from stream_infer.checkpoints.reading import restore_checkpoint
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.state import StageState
from stream_infer.events.columns import EVENT, NO_POSITION, EventColumns
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_specs, pipeline_topics
from stream_infer.pipelines.fraud import pipeline
from stream_infer.windows.snapshot import SNAPSHOT_VERSION

DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000
TICK_S = 0.01
CHECKPOINT_ROLES = {"checkpoints", "manifests"}


class InMemory:
    """Keeps chunks in memory."""

    def __init__(self) -> None:
        self._chunks: dict[str, list[bytes]] = {}

    async def put(self, draft: Draft, chunk: Chunk) -> ChunkPlace:
        """Keep a chunk."""
        held = self._chunks.setdefault(draft.id, [])
        held.append(chunk.data)
        return ChunkPlace(len(held) - 1, len(chunk.data), chunk.sha256)

    async def publish(self, manifest: Manifest) -> None:
        """Do nothing."""

    async def discard(self, draft: Draft, chunks: int) -> None:
        """Do nothing."""

    async def found(self) -> list[Found]:
        """Return nothing."""
        return []

    async def chunks(self, manifest: Manifest) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        for data in self._chunks[manifest.id]:
            yield data

    async def remove(self, manifests: Sequence[Manifest]) -> None:
        """Forget chunks."""
        for manifest in manifests:
            self._chunks.pop(manifest.id, None)

    async def close(self) -> None:
        """Do nothing."""


def build(plan: StagePlan, keys: int, entries: int, seed: int) -> StageState:
    """Return a state of so many keys with as many entries each, within thirty days."""
    rng = np.random.default_rng(seed)
    state = StageState(plan)
    version = plan.features_version
    head = {"version": SNAPSHOT_VERSION, "clock": NOW_MS, "upstreams": {}}
    state.restore_frame({"part": "head", "features_version": version, **head})
    per = entries // keys
    has_labels, has_positions = plan.layout.folds_labels, plan.layout.duplicates
    for first in range(0, keys, 4096):
        k = min(4096, keys - first)
        n = k * per
        times = np.sort(NOW_MS - rng.integers(0, 30 * DAY_MS, (k, per)), axis=1)
        newest = times[:, -1].tobytes()
        labels = rng.integers(-1, 2, n).astype(np.int8)
        known = np.where(labels >= 0, times.ravel() + 7 * DAY_MS, 0)
        places = (np.int64(seed) << 48) + np.sort(rng.integers(0, 10**9, n))
        state.restore_frame(
            {
                "part": "keys",
                "keys": [f"c-{seed}-{number:07d}" for number in range(first, first + k)],
                "newest": newest,
                "touched": newest,
                "stepped": newest,
                "lengths": np.full(k, per, np.int64).tobytes(),
                "times": times.tobytes(),
                "hashes": rng.integers(-(2**63), 2**63 - 1, n).tobytes(),
                "values": rng.integers(1, 50_000, (n, len(plan.layout.values))).tobytes(),
                "positions": places.tobytes() if has_positions else b"",
                "labels": labels.tobytes() if has_labels else b"",
                "label_times": known.tobytes() if has_labels else b"",
                "records": [],
            }
        )
    return state


def batch(keys: int, rows: int, seed: int, number: int) -> EventColumns:
    """Return a batch of payments of keys that are known."""
    rng = np.random.default_rng((seed, number))
    names = [f"c-{seed}-{key:07d}" for key in rng.integers(0, keys, rows)]
    return EventColumns(
        kind=np.full(rows, EVENT, np.int8),
        event_time=np.full(rows, NOW_MS + number),
        ids=[f"t-{number}-{row}" for row in range(rows)],
        entities={"customer_id": names, "terminal_id": names},
        values={"amount": rng.integers(1, 50_000, rows)},
        features=np.empty((rows, 0)),
        source_topic="transactions",
        source_partition=np.zeros(rows, np.int64),
        source_offset=np.arange(rows),
        late=np.zeros(rows, np.bool_),
        duplicate_of=np.full(rows, NO_POSITION, np.int64),
        label=np.full(rows, -1, np.int8),
        label_time=np.zeros(rows, np.int64),
    )


async def go_on(state: StageState, keys: int, seed: int, rows: int, pauses: list[float]) -> None:
    """Fold a batch every 10 ms, and note by how much each wake-up came late."""
    number = 0
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        pauses.append(time.perf_counter() - due)
        number += 1
        if rows:
            state.fold_only(batch(keys, rows, seed, number))


async def measure(given: argparse.Namespace, store: CheckpointStore) -> None:
    """Print the figures."""
    plan = compile_plan(pipeline).stages[given.stage]
    keys, entries = given.keys // given.partitions, given.entries // given.partitions
    states = [build(plan, keys, entries, seed) for seed in range(given.partitions)]
    memory = sum(state.bytes for state in states)
    rows = int(given.events_per_s * TICK_S / given.partitions)
    print(
        f"{given.partitions} partitions, {given.keys:,} keys, {given.entries:,} entries,"
        f" {memory / 1e6:.0f} MB of state: {(memory - 200 * given.keys) / given.entries:.1f}"
        " bytes an entry beside 200 a key"
    )
    pauses: list[float] = []
    made: list[tuple[Manifest, int]] = []
    began, cpu = time.perf_counter(), time.process_time()
    for seed, state in enumerate(states):
        live = asyncio.create_task(go_on(state, keys, seed, rows, pauses))
        taken = time.perf_counter()
        frames = state.capture()
        pauses.append(time.perf_counter() - taken)
        draft = Draft(
            id=uuid.uuid4().hex,
            pipeline="benchmark",
            stage="customer",
            topic="transactions",
            partition=seed,
            offset=0,
            declared_start=0,
            fingerprint=plan.features_version,
            created_ms=0,
            keys=state.keys,
            entries=state.entries,
        )
        manifest = await write_checkpoint(store, draft, frames)
        await store.publish(manifest)
        live.cancel()
        made.append((manifest, state.keys))
    size = sum(manifest.bytes for manifest, _ in made)
    chunks = sum(len(manifest.chunks) for manifest, _ in made)
    late = np.array(pauses) * 1e3
    print(
        f"written in {time.perf_counter() - began:.2f} s ({time.process_time() - cpu:.2f} s CPU,"
        f" folding included); longest pause {late.max():.1f} ms, p99 {np.quantile(late, 0.99):.1f};"
        f" {size / 1e6:.0f} MB in {chunks} chunks, {size / given.entries:.1f} bytes an entry"
    )
    states.clear()
    pauses.clear()
    began, cpu = time.perf_counter(), time.process_time()
    watch = asyncio.create_task(go_on(StageState(plan), 1, 0, 0, pauses))
    for manifest, _ in made:
        state = StageState(plan)
        await restore_checkpoint(store, manifest, state)
        states.append(state)
    watch.cancel()
    print(
        f"restored in {time.perf_counter() - began:.2f} s ({time.process_time() - cpu:.2f} s CPU);"
        f" longest pause {max(pauses) * 1e3:.1f} ms"
    )
    await store.remove([manifest for manifest, _ in made])
    await store.close()


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--stage", type=int, default=0)
    parser.add_argument("--events-per-s", type=int, default=2_000)
    parser.add_argument("--store", default=None)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    given = parser.parse_args()

    async def run() -> None:
        store: CheckpointStore = InMemory()
        if given.store is not None:
            connection = Connection(bootstrap=given.bootstrap)
            store = open_store(given.store, connection, "benchmark")
            if given.store == IN_KAFKA:
                specs = pipeline_topics(replace(pipeline, name="benchmark"))
                await create_specs(
                    connection, [each for each in specs if each.role in CHECKPOINT_ROLES]
                )
        await measure(given, store)

    asyncio.run(run())


if __name__ == "__main__":
    main()
