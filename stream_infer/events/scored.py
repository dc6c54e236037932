"""The scored event: what a pipeline publishes about each of its events.

A score is the model's float32, written with the fewest digits that tell it from its
neighbours (``0.1``, not ``0.10000000149011612``). Read as a 64-bit number and
narrowed to float32 it is the same score bit for bit; as a 64-bit number it may
differ from the widened float32 by half a step of that, 6e-8 of its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat, starmap
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.events.columns import (
    HISTORY_PARTITION,
    NO_POSITION,
    EventColumns,
    unpack_position,
)
from stream_infer.events.forms import FEW, FIELD, FORMS_KEPT, Form, picked
from stream_infer.events.scored_forms import as_json, fill_head, fill_tail, head, tail
from stream_infer.events.shortest import shortest_floats
from stream_infer.pipeline import Pipeline


class ScoredEvent(msgspec.Struct, kw_only=True):
    """What every scored event holds, whatever the pipeline; for readers.

    A pipeline's own ids (``transaction_id``, ...) stand beside, under their own names.

    event_id          ``topic-partition-offset`` of the event's record in the pipeline's first topic
    event_time        ms since the epoch
    score             None when the pipeline has no model, or the model gave no number
    decision          ``approve``, ``review``, ``decline``, or None without a model
    rule              name of the declared rule that decided instead of the model, or None
    model, version    which model scored it
    features_version  fingerprint of the features that the score was computed from
    late              older than the allowed lateness behind its key's newest event
    duplicate_of      event_id of the first record with the same id, or None
    features          feature name -> number, None for what is not finite; where published
    extra             fields of the input that are kept and not known here
    """

    event_id: str
    event_time: int
    score: float | None
    decision: str | None
    rule: str | None
    model: str | None
    version: str | None
    features_version: str
    late: bool
    duplicate_of: str | None
    features: dict[str, float | None] | msgspec.UnsetType = msgspec.UNSET
    extra: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


_RESERVED = frozenset(ScoredEvent.__struct_fields__)


def scored_type(
    pipeline: Pipeline, feature_names: Sequence[str], *, publish_features: bool
) -> type[msgspec.Struct]:
    """Return the msgspec type of this pipeline's scored events.

    Its fields are those of `ScoredEvent`, the pipeline's ids after ``event_id``.
    Raises     ConfigError when an id field has the name of another field
    """
    ids = id_fields(pipeline)
    taken = sorted(_RESERVED.intersection(ids))
    if taken:
        raise ConfigError(
            "reserved_field_name",
            f"A scored event has a field {taken[0]!r} of its own.",
            "Give the event type's field another name; a field mapping keeps the JSON as it is.",
            field=taken[0],
        )
    return msgspec.defstruct(
        "Scored" + pipeline.events.type.__name__,
        [
            ("event_id", str),
            *((name, str) for name in ids),
            ("event_time", int),
            ("score", float | None),
            ("decision", str | None),
            ("rule", str | None),
            *tail_types(features_type(feature_names) if publish_features else None),
        ],
        gc=False,
    )


class ScoredEncoder:
    """Encode the scored events of one pipeline.

    pipeline          whose events
    feature_names     names of the matrix's columns, in order
    publish_features  whether each event carries its features
    Raises            ConfigError when an id field has the name of another field
    """

    def __init__(
        self,
        pipeline: Pipeline,
        feature_names: Sequence[str],
        publish_features: bool = False,  # noqa: FBT001, FBT002 - a setting, passed on as it is
    ) -> None:
        self._ids = id_fields(pipeline)
        self._entities = self._ids[1:]
        self._form = lru_cache(maxsize=FORMS_KEPT)(self._make_form)
        self._type = scored_type(pipeline, feature_names, publish_features=publish_features)
        self._features_type = features_type(feature_names) if publish_features else None
        self._encode = msgspec.json.Encoder().encode

    def encode(
        self,
        columns: EventColumns,
        scores: NDArray[np.float32] | None,
        decisions: Sequence[str | None] | None,
        model: str | None,
        version: str | Sequence[str] | None,
        fingerprint: str,
        features: NDArray[np.float64] | None = None,
        rules: Sequence[str | None] | None = None,
    ) -> list[bytes]:
        """Return one record value per row.

        columns      n events; `source_partition` and `source_offset` are known
        scores       (n,) float32, written as null where not finite; None without a model
        decisions    n words; None without a model
        version      that scored all rows, or n that scored each
        fingerprint  of the pipeline's features
        features     (n, F) float64, needed when features are published
        rules        n names of the rules that decided; None where none did
        Cost         O(n), half a microsecond a row without features, else a microsecond and more
        """
        if self._features_type is not None or columns.extra is not None or len(columns) < FEW:
            return self._encode_each(
                columns, scores, decisions, model, version, fingerprint, features, rules
            )
        rows = self._form(columns.source_topic, model, fingerprint).rows(len(columns))
        fill_head(rows, columns, self._entities)
        if scores is None:
            rows.words([None])
        else:
            rows.floats(scores)
        for words in (decisions, rules, version):
            rows.words([words] if words is None or isinstance(words, str) else words)
        fill_tail(rows, columns)
        return rows.write_or(
            lambda at: self._encode_each(
                columns.take(at),
                None if scores is None else scores[at],
                picked(decisions, at),
                model,
                version if isinstance(version, str) else picked(version, at),
                fingerprint,
                None,
                picked(rules, at),
            )
        )

    def _encode_each(
        self,
        columns: EventColumns,
        scores: NDArray[np.float32] | None,
        decisions: Sequence[str | None] | None,
        model: str | None,
        version: str | Sequence[str] | None,
        fingerprint: str,
        features: NDArray[np.float64] | None,
        rules: Sequence[str | None] | None,
    ) -> list[bytes]:
        """Return the same, by way of an object a row."""
        fields: list[Any] = [
            event_ids(columns.source_topic, columns.source_partition, columns.source_offset),
            columns.ids,
            *(columns.entities[name] for name in self._entities),
            columns.event_time.tolist(),
            repeat(None) if scores is None else shortest_floats(scores),
            repeat(None) if decisions is None else decisions,
            repeat(None) if rules is None else rules,
            *tail_values(columns, model, version, fingerprint, self._features_type, features),
        ]
        return list(map(self._encode, map(self._type, *fields)))

    def _make_form(self, topic: str, model: str | None, fingerprint: str) -> Form:
        return Form(
            [
                *head(topic, self._ids),
                *(b',"score":', FIELD),
                *(b',"decision":', FIELD),
                *(b',"rule":', FIELD),
                *(b',"model":', as_json(model), b',"version":', FIELD),
                *tail(fingerprint),
            ]
        )


def tail_types(
    features: type[msgspec.Struct] | None,
) -> list[tuple[str, Any] | tuple[str, Any, Any]]:
    """Return the fields that every scored event ends with, as `msgspec.defstruct` takes them.

    features  type of the published features; None where none are published
    """
    return [
        ("model", str | None),
        ("version", str | None),
        ("features_version", str),
        ("late", bool),
        ("duplicate_of", str | None),
        *([] if features is None else [("features", features)]),
        ("extra", dict[str, Any] | msgspec.UnsetType, msgspec.UNSET),
    ]


def tail_values(
    columns: EventColumns,
    model: str | None,
    version: str | Sequence[str] | None,
    fingerprint: str,
    features_type: type[msgspec.Struct] | None,
    features: NDArray[np.float64] | None,
) -> list[Any]:
    """Return the values of `tail_types`, one iterable over the rows for each field.

    columns        n events
    features_type  as given to `tail_types`
    features       (n, F) float64, needed when features are published
    Raises         ConfigError when they are published and not given
    """
    values: list[Any] = [
        repeat(model),
        repeat(version) if version is None or isinstance(version, str) else version,
        repeat(fingerprint),
        columns.late.tolist(),
        _duplicates(columns),
    ]
    if features_type is not None:
        if features is None:
            raise ConfigError(
                "features_not_given",
                "The pipeline publishes its features, and none were given to the encoder.",
                "Pass the feature matrix, or do not publish features.",
            )
        values.append(starmap(features_type, features.tolist()))
    if columns.extra is not None:
        values.append(map(_raw_extra, columns.extra))
    return values


def event_ids(topic: str, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[str]:
    """Return ``topic-partition-offset`` of each row.

    >>> event_ids("readings", np.array([3]), np.array([17]))
    ['readings-3-17']
    """
    numbers = set(partitions.tolist())
    if len(numbers) == 1:
        head = f"{topic}-{numbers.pop()}-"
        return [head + str(offset) for offset in offsets.tolist()]
    heads = {number: f"{topic}-{number}-" for number in numbers}
    return [
        heads[number] + str(offset)
        for number, offset in zip(partitions.tolist(), offsets.tolist(), strict=True)
    ]


def id_fields(pipeline: Pipeline) -> list[str]:
    """Return the fields of a scored event that say what it is about: the id, then entities."""
    events = pipeline.events
    return [events.id, *(name for name in events.entities if name != events.id)]


def features_type(feature_names: Sequence[str]) -> type[msgspec.Struct]:
    """Return the type of an object with one number (or null) a feature."""
    attributes = [f"f{index}" for index in range(len(feature_names))]
    return msgspec.defstruct(
        "Features",
        [(attribute, float | None) for attribute in attributes],
        rename=dict(zip(attributes, feature_names, strict=True)),
        gc=False,
    )


def _duplicates(columns: EventColumns) -> Any:
    """Return the event id of each row's first record, None where the row is that one."""
    if not (columns.duplicate_of != NO_POSITION).any():
        return repeat(None)
    return [_first_record(columns.source_topic, packed) for packed in columns.duplicate_of.tolist()]


def _first_record(topic: str, packed: int) -> str | None:
    """Return the name of the record that first had an id; a row of a history is counted from 1."""
    if packed == NO_POSITION:
        return None
    partition, offset = unpack_position(packed)
    if partition == HISTORY_PARTITION:
        return f"history-{offset + 1}"
    return f"{topic}-{partition}-{offset}"


def _raw_extra(extra: bytes | None) -> msgspec.Raw | msgspec.UnsetType:
    """Return kept fields as they are written: left out where there are none."""
    return msgspec.UNSET if extra is None else msgspec.Raw(extra)
