"""Which versions of the features stand where in the logs between the stages.

After a change of the declarations a log holds records of both. Each is judged by a fold of its
own declarations; where these are not at hand, nothing can be said, and the error says which
offsets that is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from aiokafka import TopicPartition

from stream_infer.dataplane.build import stage_topics
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.errors import ConfigError, ConflictError
from stream_infer.events.internal import read_features_version
from stream_infer.features.plan import Plan
from stream_infer.kafka.reading import LogReader
from stream_infer.kafka.stretch import Stretch

STRETCHES_SHOWN_MAX = 6


class VersionStretch(NamedTuple):
    """Records of one version, one behind the other.

    first, last  offsets, both included
    """

    version: str
    first: int
    last: int


def stretches(records: Iterable[tuple[int, str | None]]) -> list[VersionStretch]:
    """Return the stretches of a partition, in offset order.

    records  offset and version of each; None for what carries none, which ends no stretch

    >>> stretches([(0, "a"), (1, None), (2, "a"), (5, "b")])
    [VersionStretch(version='a', first=0, last=2), VersionStretch(version='b', first=5, last=5)]
    """
    found: list[VersionStretch] = []
    for offset, version in records:
        if version is None:
            continue
        if found and found[-1].version == version:
            found[-1] = found[-1]._replace(last=offset)
        else:
            found.append(VersionStretch(version, offset, offset))
    return found


def versions_of(plan: Plan) -> set[str]:
    """Return the versions of features that a pipeline's stages write."""
    return {stage.features_version for stage in plan.stages}


def others_of(plan: Plan, plans: Sequence[Plan]) -> EarlierVersions | None:
    """Return the versions of the other declarations, whose features a fold reads as missing.

    None where there are no others: then a record of another version is an error.
    """
    if len(plans) == 1:
        return None
    earlier = EarlierVersions(0)
    every = set().union(*(versions_of(each) for each in plans))
    earlier.known |= every - versions_of(plan)
    return earlier


def check_alike(plan: Plan, earlier: Plan) -> None:
    """Refuse declarations that are not of the same pipeline at another time.

    Raises  ConfigError ``earlier_pipeline_differs``
    """
    one, two = plan.pipeline, earlier.pipeline
    for what, now, before in (
        ("name", one.name, two.name),
        ("input", one.events.topic, two.events.topic),
        ("output", one.scored, two.scored),
        ("logs between stages", stage_topics(plan), stage_topics(earlier)),
    ):
        if now != before:
            raise ConfigError(
                "earlier_pipeline_differs",
                f"The earlier declarations are of another pipeline: the {what} was {before}, and "
                f"is {now}.",
                "Name the file of the same pipeline as it was then.",
            )


async def unknown_versions(
    reader: LogReader, logs: Mapping[TopicPartition, Stretch], known: Collection[str]
) -> dict[TopicPartition, list[VersionStretch]]:
    """Return where records of versions stand that are not known."""
    found: dict[TopicPartition, list[tuple[int, str | None]]] = {}
    async for tp, records in reader.read(logs):
        found.setdefault(tp, []).extend(
            (record.offset, _version_of(record.value)) for record in records
        )
    return {
        tp: unknown
        for tp, each in sorted(found.items())
        if (unknown := [part for part in stretches(each) if part.version not in known])
    }


def _version_of(value: bytes | None) -> str | None:
    try:
        return read_features_version(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, RecursionError):
        return None


def unknown_features(
    pipeline: str, found: Mapping[TopicPartition, Sequence[VersionStretch]]
) -> ConflictError:
    """Return the error for records of versions that are not at hand."""
    every = [(tp, part) for tp, parts in found.items() for part in parts]
    shown = "; ".join(
        f"{tp.topic}-{tp.partition} offsets {part.first} to {part.last} ({part.version})"
        for tp, part in every[:STRETCHES_SHOWN_MAX]
    )
    more = len(every) - STRETCHES_SHOWN_MAX
    return ConflictError(
        "features_versions_unknown",
        f"The logs of {pipeline} hold records of other declarations of its features than those that"
        f" were given: {shown}{f'; and {more} stretches more' if more > 0 else ''}.",
        "Give the declarations of that time, from your version control, with --also-pipeline FILE,"
        " and the models that served with them with --also-model or --registry.",
        stretches=[
            {"topic": tp.topic, "partition": tp.partition, **part._asdict()} for tp, part in every
        ],
    )
