"""Small states and drafts for tests of checkpoints."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from stream_infer.checkpoints.manifest import Draft, Manifest, Mark
from stream_infer.checkpoints.packing import KEYS
from stream_infer.checkpoints.reading import read_frames
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.state import StageState
from stream_infer.features.plan import StagePlan, compile_plan
from support.columns import Row, columns_of
from support.logs import ENTITIES, VALUES, pipeline

PLAN: StagePlan = compile_plan(pipeline("1h")).stages[0]


def state_of(rows: int, keys: int = 50, *, salt: str = "") -> StageState:
    """Return the state of a log of so many payments."""
    state = StageState(PLAN)
    fold_more(state, 0, rows, keys, salt=salt)
    return state


def fold_more(state: StageState, first: int, end: int, keys: int = 50, *, salt: str = "") -> None:
    log = [
        Row(1_000 + at, f"p-{at}{salt}", {"card": f"card-{at % keys}"}, {"amount": at})
        for at in range(first, end)
    ]
    state.fold_only(columns_of(log, ENTITIES, VALUES, first))


def draft(offset: int = 0, **facts: Any) -> Draft:
    given: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "pipeline": "payments",
        "stage": "card",
        "topic": "payments",
        "partition": 0,
        "offset": offset,
        "declared_start": 0,
        "fingerprint": PLAN.features_version,
        "created_ms": offset,
        "keys": 0,
        "entries": 0,
    }
    return Draft(**(given | facts))


def manifest(offset: int = 0, **facts: Any) -> Manifest:
    """Return a manifest of a checkpoint without chunks."""
    return draft(offset, **facts).manifest((), "")


def mark(offset: int) -> Mark:
    return Mark.of(offset, offset, b"record")


async def written(
    store: CheckpointStore, state: StageState, offset: int = 0, **facts: Any
) -> Manifest:
    """Write a checkpoint and publish it."""
    made = await write_checkpoint(store, draft(offset, **facts), state.capture())
    await store.publish(made)
    return made


def frames_of(state: Any) -> Iterator[dict[str, Any]]:
    return (frame for frame in state.capture() if frame is not None)


async def keys_read(store: CheckpointStore, manifest: Manifest) -> int:
    """Read a checkpoint to its end and return how many keys its windows hold; see `read_frames`."""
    keys = 0
    async for frames in read_frames(store, manifest):
        keys += sum(len(frame["keys"]) for frame in frames if frame["part"] == KEYS)
    return keys
