r"""The record from a scoring stage to the alert stage: one flat JSON array.

     0  schema version       SCHEMA_VERSION
     1  kind                 of the alert; null is a tick, which only moves the clock
     2  upstream topic       \
     3  upstream partition    } the record that it was made from, and its number among those
     4  upstream offset       } made from it: a fold ignores what is not above the highest
     5  sub                  /  (offset, sub) it has seen of each upstream partition, so they
                                are written in this order
     6  event time           ms since the epoch
     7  entity               what the alert is about
     8  group                what a storm is counted over, "" for the whole partition
     9  level                compared with the kind's thresholds
    10  score                of the model, or null
    11  decision             or null
    12  rule                 name of the declared rule that decided, or null
    13  model, 14 version    or null
    15  event id             the record of the pipeline's first topic
    16  other                counted as different ones (a terminal's customer), or null
    17  reasons              arrays of feature, value, usual value, contribution or null
    18  facts                object of texts and numbers for the alert's text

Fields are only ever added at the end, with a default, under the next version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.events.lines import LinesDecoder
from stream_infer.events.reasons import BadRecord
from stream_infer.events.times import TIME_MS_MAX, TIME_MS_MIN

SCHEMA_VERSION = 1
UNKNOWN_KIND = "unknown_kind"
"""Code of a candidate whose kind is not declared."""
SUB_MAX = 2**31 - 1
"""One tick may find every sensor of a partition silent, and each is a candidate of its own."""
REASONS_MAX = 64
FACTS_MAX = 64

Fact = str | int | float
_Partition = Annotated[int, msgspec.Meta(ge=-1, lt=2**15)]
_Offset = Annotated[int, msgspec.Meta(ge=-1, lt=2**48)]
_Time = Annotated[int, msgspec.Meta(ge=TIME_MS_MIN, le=TIME_MS_MAX)]


class FeatureReason(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much of a score a feature explains.

    feature       its name
    value, usual  what it is and what is usual for the entity; None where not finite
    contribution  the score less the score with the usual value in its place; None where the
                  level is not the model's
    """

    feature: str
    value: float | None
    usual: float | None
    contribution: float | None


class Candidate(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What may be an alert, or a tick. See the module for each field."""

    schema_version: Annotated[int, msgspec.Meta(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    kind: str | None
    upstream_topic: str
    upstream_partition: _Partition
    upstream_offset: _Offset
    sub: Annotated[int, msgspec.Meta(ge=0, le=SUB_MAX)]
    event_time: _Time
    entity: str
    group: str
    level: float
    score: float | None = None
    decision: str | None = None
    rule: str | None = None
    model: str | None = None
    version: str | None = None
    event_id: str = ""
    other: str | None = None
    reasons: Annotated[tuple[FeatureReason, ...], msgspec.Meta(max_length=REASONS_MAX)] = ()
    facts: Annotated[dict[str, Fact], msgspec.Meta(max_length=FACTS_MAX)] = {}


def tick(event_time: int) -> Candidate:
    """Return a tick: a record of our own, so without an upstream, that moves the clock."""
    return Candidate(
        kind=None,
        upstream_topic="",
        upstream_partition=-1,
        upstream_offset=-1,
        sub=0,
        event_time=event_time,
        entity="",
        group="",
        level=0.0,
    )


def encode_candidates(candidates: Iterable[Candidate]) -> list[bytes]:
    """Return one record value each. Cost about a microsecond a candidate."""
    return list(map(msgspec.json.Encoder().encode, candidates))


def is_later(value: bytes | None) -> bool:
    """Say whether a candidate that cannot be read was written by a later release."""
    try:
        [version, *_] = msgspec.json.decode(value or b"", type=list[msgspec.Raw])
        return msgspec.json.decode(version, type=int) > SCHEMA_VERSION
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return False


def kind_of(value: bytes | None) -> str | None:
    """Return the kind that a record names, known here or not; None for a tick, or no candidate."""
    try:
        [_version, kind, *_] = msgspec.json.decode(value or b"", type=list[msgspec.Raw])
        return msgspec.json.decode(kind, type=str | None)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def candidate_schema() -> dict[str, Any]:
    """Return the JSON Schema of a candidate, with the names of its positions."""
    schema = msgspec.json.schema(Candidate)
    for record in (Candidate, FeatureReason):
        definition = schema["$defs"][record.__name__]
        definition["prefixItems"] = [
            # A default is a tuple, which no JSON text would read back as.
            {"title": field, **{word: list(x) if x == () else x for word, x in cell.items()}}
            for field, cell in zip(record.__struct_fields__, definition["prefixItems"], strict=True)
        ]
    return schema


class CandidateDecoder:
    """Decode the candidates of one pipeline.

    kinds  names of the kinds that are declared; a candidate of another kind is a bad record
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = {None, *kinds}
        self._lines = LinesDecoder(Candidate)

    def decode(
        self, values: Sequence[bytes | None]
    ) -> tuple[NDArray[np.int64], list[Candidate], list[BadRecord]]:
        """Return (rows of the good records (k,) int64, their k candidates, the bad ones by row)."""
        rows, candidates, bad = self._lines.decode(values)
        known = [candidate.kind in self._kinds for candidate in candidates]
        if all(known):
            return rows, candidates, bad
        bad += [
            BadRecord(int(row), UNKNOWN_KIND, "The candidate is of a kind that is not declared.")
            for row, is_known in zip(rows, known, strict=True)
            if not is_known
        ]
        kept = [item for item, is_known in zip(candidates, known, strict=True) if is_known]
        return rows[np.array(known)], kept, sorted(bad, key=lambda record: record.row)
