"""What an output record was made from: by this a recomputed record finds its published one.

An output is named by its destination and by what its content says about its origin:

    internal records   the upstream record
    scored events      the event id
    candidates         the upstream record, the number among its candidates, the kind
    alerts             the alert's id and revision
    dead letters, late the record's place in the headers, the stage, and whether Kafka had
                       refused the output (then nothing offline can foresee it)

Names and contents are compared by 64-bit hashes, so that a hundred million outputs fit into
memory: two different ones are taken for each other once in 10^19 pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from stream_infer.alerts.candidate import Candidate
from stream_infer.errors import InvalidDataError
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.events.internal import InternalHead
from stream_infer.events.skip import POISON
from stream_infer.events.topic_names import DEAD_LETTERS, LATE_EVENTS
from stream_infer.pipeline import Pipeline

OUTPUT_REFUSED = "output_refused"
"""Code of the dead letter of a record whose output Kafka refused for good."""

Headers = Sequence[tuple[str, bytes | None]]


class Content(NamedTuple):
    """A record as it is written, without its place and the time of writing."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    def digest(self) -> int:
        """Return 64 bits over all of it."""
        return hash((self.key, self.value, tuple(map(tuple, self.headers))))


class Stamp(NamedTuple):
    """What an output says about what it was made with; None where it does not say.

    features        version of the features
    model, version  of the model
    """

    features: str | None = None
    model: str | None = None
    version: str | None = None

    def fits(self, other: Stamp) -> bool:
        """Say whether both may be made with the same: no word of one contradicts the other's."""
        pairs = zip(self, other, strict=True)
        return all(one is None or two is None or one == two for one, two in pairs)


class Origin(NamedTuple):
    """What a record says about itself.

    name     what tells it from every other of its destination, None for one that tells nothing
    writer   topic (or, of a dead letter, stage) whose stage wrote it; None where only one does
    stamp    what it was made with, None where it does not say
    refused  whether it stands for an output that Kafka refused
    ours     whether a fold wrote it: a tick is the work of a clock
    """

    name: Any
    writer: str | None = None
    stamp: Stamp | None = None
    refused: bool = False
    ours: bool = True


Naming = Callable[[Content], Origin]
UNKNOWN = Origin(None)
NOTHING_SAID = Stamp()


_UNREAD = msgspec.Raw(b"null")


class _Scored(msgspec.Struct, gc=False):
    event_id: str
    features_version: str | None = None
    model: str | None = None
    version: str | None = None


class _Internal(InternalHead, array_like=True, gc=False):
    """The head, and further on the version; what lies between is passed over unread."""

    source_topic: msgspec.Raw = _UNREAD
    source_partition: msgspec.Raw = _UNREAD
    source_offset: msgspec.Raw = _UNREAD
    event_time: msgspec.Raw = _UNREAD
    id: msgspec.Raw = _UNREAD
    entities: msgspec.Raw = _UNREAD
    values: msgspec.Raw = _UNREAD
    features: msgspec.Raw = _UNREAD
    late: msgspec.Raw = _UNREAD
    duplicate_of: msgspec.Raw = _UNREAD
    label: msgspec.Raw = _UNREAD
    label_time: msgspec.Raw = _UNREAD
    features_version: str | None = None


class _Alert(msgspec.Struct, gc=False):
    alert_id: str
    revision: int


_read_internal = msgspec.json.Decoder(_Internal).decode
_read_candidate = msgspec.json.Decoder(Candidate).decode
_read_scored = msgspec.json.Decoder(_Scored).decode
_read_alert = msgspec.json.Decoder(_Alert).decode


def namings(
    pipeline: Pipeline, internal: Iterable[str], candidates: str | None
) -> dict[str, Naming]:
    """Return destination topic -> how its records are named.

    internal    the internal topics that hold events
    candidates  the internal topic that holds candidates, None without alerts
    """
    found: dict[str, Naming] = dict.fromkeys(internal, _of_internal)
    if candidates is not None:
        found[candidates] = _of_candidate
    found[pipeline.scored] = _of_scored
    if pipeline.alerts is not None:
        found |= dict.fromkeys((pipeline.alerts.topic, pipeline.alerts.current_topic), _of_alert)
    side = _of_side(pipeline.name)
    return found | dict.fromkeys((DEAD_LETTERS, LATE_EVENTS), side)


def name_of(naming: Naming, content: Content) -> Origin:
    """Return what a record says about itself; `UNKNOWN` for one that cannot be read."""
    try:
        return naming(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UNKNOWN


def _of_internal(content: Content) -> Origin:
    read = _read_internal(content.value or b"")
    return Origin(
        (read.upstream_topic, read.upstream_partition, read.upstream_offset),
        read.upstream_topic,
        _stamp(read.features_version, None, None),
        ours=read.upstream_offset >= 0,
    )


def _of_candidate(content: Content) -> Origin:
    read = _read_candidate(content.value or b"")
    upstream = (read.upstream_topic, read.upstream_partition, read.upstream_offset)
    return Origin(
        (*upstream, read.sub, read.kind),
        stamp=_stamp(None, read.model, read.version),
        ours=read.upstream_offset >= 0,
    )


def _of_scored(content: Content) -> Origin:
    read = _read_scored(content.value or b"")
    return Origin(read.event_id, stamp=_stamp(read.features_version, read.model, read.version))


def _of_alert(content: Content) -> Origin:
    read = _read_alert(content.value or b"")
    return Origin((read.alert_id, read.revision))


def _of_side(group: str) -> Naming:
    def name(content: Content) -> Origin:
        facts = read_dead_letter(content.headers)
        if facts.consumer_group != group:
            return Origin(None, ours=False)  # of another pipeline: the topic is shared
        if facts.error_code == POISON:
            return Origin(None, ours=False)  # no stage wrote it: its record was passed over
        refused = facts.error_code == OUTPUT_REFUSED
        place = (facts.topic, facts.partition, facts.offset, facts.stage, refused)
        return Origin(place, facts.stage, refused=refused)

    return name


def _stamp(features: str | None, model: str | None, version: str | None) -> Stamp | None:
    stamp = Stamp(features, model, version)
    return None if stamp == NOTHING_SAID else stamp


def without_features(value: bytes | None) -> bytes | None:
    """Return a scored event as a worker writes it that does not publish features.

    Its strings hold no bare quote, so the field's name stands once; its values are numbers.

    >>> without_features(b'{"late":false,"features":{"a":1.5},"extra":{}}')
    b'{"late":false,"extra":{}}'
    """
    head, found, rest = (value or b"").partition(b',"features":{')
    if not found:
        return value
    _, closed, tail = rest.partition(b"}")
    if not closed:
        raise InvalidDataError(
            "features_unclosed",
            "A scored event's features have no end: no worker of this version wrote it.",
            "Find out who else writes to the topic of scored events.",
        )
    return head + tail
