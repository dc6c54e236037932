"""Which states made of a history the partitions of an assignment may begin with.

Asked for only where the commits do not say it: the group has no offset yet, or another tool has
committed one.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.checkpoints.manifest import Manifest
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import Committed, KnownBase, declared_start
from stream_infer.dataplane.stage import Stage
from stream_infer.errors import NotFoundError

FOLDER_MISSING = "checkpoint_folder_missing"


async def find_bases(
    store: CheckpointStore,
    pipeline: str,
    stages: Mapping[str, Stage],
    committed: Mapping[Partition, Committed | None],
) -> dict[Partition, list[KnownBase]]:
    """Return the bases of the partitions whose commits do not name one, the newest first.

    stages  topic -> the stage that reads it
    Raises  what the store raises: where a partition begins is decided once and for good, so it is
            not decided without having looked. Topics that do not exist hold nothing
    """
    asked = {
        partition: fingerprint
        for partition, commit in committed.items()
        if (commit is None or declared_start(commit.metadata) is None)
        and (fingerprint := fingerprint_of(stages.get(partition.topic))) is not None
    }
    if not asked:
        return {}
    try:
        found = await store.found()
    except NotFoundError as error:
        if error.code == FOLDER_MISSING:
            raise
        return {}
    bases = [each for each in found if isinstance(each, Manifest) and each.is_base]
    bases.sort(key=lambda each: each.created_ms, reverse=True)
    known: dict[Partition, list[KnownBase]] = {}
    for each in bases:
        partition = Partition(each.topic, each.partition)
        stage = stages.get(each.topic)
        if partition not in asked or stage is None or each.base is None:
            continue
        if (each.pipeline, each.stage) == (pipeline, stage.name):
            fits = each.fingerprint == asked[partition]
            known.setdefault(partition, []).append(KnownBase(each.offset, each.base, fits))
    return known


def fingerprint_of(stage: Stage | None) -> str | None:
    """Return which declarations a stage's states belong to, None for a stage without a state."""
    state = None if stage is None else stage.open_state(None)
    return None if state is None else str(state.fingerprint)
