"""The scored reading: what was measured, how unusual it is, how the road works, what comes.

    {"event_id":"sensor-readings-3-17","sensor_id":"c0s08","event_time":1767225600211,
     "speed":81.4,"flow":840.0,"occupancy":0.0168,"anomaly":0.41,"level_of_service":"A",
     "forecasts":{"15m":{"value":82.1,"low":74.0,"high":88.3}, ...},
     "model":"traffic","version":"1","features_version":"...","late":false,"duplicate_of":null}

Measures are in the contract's units, whatever the sensor sent, and null where it sent none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.events.columns import EventColumns
from stream_infer.events.forms import FEW, FIELD, FORMS_KEPT, Form
from stream_infer.events.measures import NO_VALUE
from stream_infer.events.scored import (
    event_ids,
    features_type,
    id_fields,
    tail_types,
    tail_values,
)
from stream_infer.events.scored_forms import as_json, fill_head, fill_tail, head, tail
from stream_infer.events.shortest import shortest_floats
from stream_infer.pipeline import Conditions, Pipeline

LEVELS = ("A", "B", "C", "D", "E", "F")
NO_LEVEL = -1
FORECAST_DECIMALS = 2
"""Of forecasts: a hundredth of a km/h is far below what any of them knows."""
_WORDS = np.array([*LEVELS, None], object)
_LEVELS_AS_JSON = [as_json(level) for level in (*LEVELS, None)]


class Forecast(msgspec.Struct, gc=False):
    """What is expected, with a band that holds nine of ten outcomes; in the measure's unit."""

    value: float
    low: float
    high: float


def scored_reading_type(
    pipeline: Pipeline, feature_names: Sequence[str], *, publish_features: bool
) -> type[msgspec.Struct]:
    """Return the msgspec type of the scored readings of a pipeline with `conditions`."""
    conditions = _conditions(pipeline)
    return msgspec.defstruct(
        "Scored" + pipeline.events.type.__name__,
        [
            ("event_id", str),
            *((name, str) for name in id_fields(pipeline)),
            ("event_time", int),
            *((name, float | None) for name in pipeline.events.decimals),
            ("anomaly", float | None),
            ("level_of_service", Literal[LEVELS] | None),
            ("forecasts", _forecasts_type(conditions) | None),
            *tail_types(features_type(feature_names) if publish_features else None),
        ],
        gc=False,
    )


def _forecasts_type(conditions: Conditions) -> type[msgspec.Struct]:
    attributes = [f"f{index}" for index in range(len(conditions.horizons))]
    return msgspec.defstruct(
        "Forecasts",
        [(attribute, Forecast) for attribute in attributes],
        rename=dict(zip(attributes, conditions.horizons, strict=True)),
        gc=False,
    )


class ScoredReadingEncoder:
    """Encode the scored readings of one pipeline.

    pipeline          one with `conditions`
    feature_names     names of the matrix's columns, in order
    publish_features  whether each reading carries its features
    """

    def __init__(
        self, pipeline: Pipeline, feature_names: Sequence[str], *, publish_features: bool = False
    ) -> None:
        self._events = pipeline.events
        self._ids = id_fields(pipeline)
        self._entities = self._ids[1:]
        self._conditions = _conditions(pipeline)
        self._form = lru_cache(maxsize=FORMS_KEPT)(self._make_form)
        self._horizons = len(self._conditions.horizons)
        self._type = scored_reading_type(pipeline, feature_names, publish_features=publish_features)
        self._forecasts_type = _forecasts_type(self._conditions)
        self._features_type = features_type(feature_names) if publish_features else None
        self._encode = msgspec.json.Encoder().encode

    def encode(
        self,
        columns: EventColumns,
        anomaly: NDArray[np.float32],
        levels: NDArray[np.int8],
        forecasts: NDArray[np.float64] | None,
        model: str | None,
        version: str | None,
        fingerprint: str,
        features: NDArray[np.float64] | None = None,
    ) -> list[bytes]:
        """Return one record value per row.

        columns    n readings; `source_partition` and `source_offset` are known
        anomaly    (n,) float32
        levels     (n,) int8, index into `LEVELS`, or `NO_LEVEL`
        forecasts  (n, 3 * horizons) float64, value, low and high of each horizon as they are to
                   be written; NaN where there is none. None without a model
        features   (n, F) float64, needed when features are published
        Cost       O(n), about a microsecond a row; where features are published or there is no
                   model, three and more
        """
        is_plain = columns.extra is None and self._features_type is None
        if not is_plain or forecasts is None or len(columns) < FEW:
            return self._encode_each(
                columns, anomaly, levels, forecasts, model, version, fingerprint, features
            )
        form = self._form(columns.source_topic, model, version, fingerprint)
        rows = form.rows(len(columns))
        fill_head(rows, columns, self._entities)
        for name, decimals in self._events.decimals.items():
            rows.decimal(columns.values[name], decimals)
        rows.floats(anomaly)
        rows.choices(_LEVELS_AS_JSON, np.where(levels == NO_LEVEL, len(LEVELS), levels))
        is_known = np.isfinite(forecasts)
        rows.plain &= is_known.all(axis=1)
        units = np.rint(np.where(is_known, forecasts, 0.0) * 10**FORECAST_DECIMALS)
        for column in units.astype(np.int64).T:
            rows.decimal(column, FORECAST_DECIMALS)
        fill_tail(rows, columns)
        return rows.write_or(
            lambda at: self._encode_each(
                columns.take(at),
                anomaly[at],
                levels[at],
                forecasts[at],
                model,
                version,
                fingerprint,
                None,
            )
        )

    def _make_form(
        self, topic: str, model: str | None, version: str | None, fingerprint: str
    ) -> Form:
        measures = [
            each for name in self._events.decimals for each in (b"," + as_json(name) + b":", FIELD)
        ]
        forecasts = [
            each
            for horizon in self._conditions.horizons
            for each in (
                *(b",", as_json(horizon), b':{"value":', FIELD),
                *(b',"low":', FIELD, b',"high":', FIELD, b"}"),
            )
        ]
        return Form(
            [
                *head(topic, self._ids),
                *measures,
                *(b',"anomaly":', FIELD),
                *(b',"level_of_service":', FIELD),
                *(b',"forecasts":{', *forecasts[1:], b"}"),
                *(b',"model":', as_json(model), b',"version":', as_json(version)),
                *tail(fingerprint),
            ]
        )

    def _encode_each(
        self,
        columns: EventColumns,
        anomaly: NDArray[np.float32],
        levels: NDArray[np.int8],
        forecasts: NDArray[np.float64] | None,
        model: str | None,
        version: str | None,
        fingerprint: str,
        features: NDArray[np.float64] | None,
    ) -> list[bytes]:
        """Return the same, by way of some objects a row."""
        events = self._events
        fields: list[Any] = [
            event_ids(columns.source_topic, columns.source_partition, columns.source_offset),
            columns.ids,
            *(columns.entities[name] for name in self._entities),
            columns.event_time.tolist(),
            *(_measured(columns.values[name], digits) for name, digits in events.decimals.items()),
            shortest_floats(anomaly),
            _WORDS[levels].tolist(),
            repeat(None) if forecasts is None else self._forecasts(forecasts),
            *tail_values(columns, model, version, fingerprint, self._features_type, features),
        ]
        return list(map(self._encode, map(self._type, *fields)))

    def _forecasts(self, forecasts: NDArray[np.float64]) -> Iterable[Any]:
        """Return one object a row, None where a row has no forecast."""
        by_horizon = [
            list(map(Forecast, *forecasts[:, 3 * h : 3 * h + 3].T.tolist()))
            for h in range(self._horizons)
        ]
        made: list[Any] = list(map(self._forecasts_type, *by_horizon))
        for row in np.flatnonzero(~np.isfinite(forecasts).all(axis=1)).tolist():
            made[row] = None
        return made


def _measured(units: NDArray[np.int64], digits: int) -> list[float | None]:
    """Return a measure's values, None where it is absent."""
    # Divided, not multiplied by the inverse: 814 / 10 is 81.4 in its shortest form.
    values: list[float | None] = (units / 10.0**digits).tolist()
    for row in np.flatnonzero(units == NO_VALUE).tolist():
        values[row] = None
    return values


def _conditions(pipeline: Pipeline) -> Conditions:
    if pipeline.conditions is None:
        raise ConfigError(
            "no_conditions",
            f"Pipeline {pipeline.name!r} declares no conditions.",
            "Declare them, or encode its events by their score.",
        )
    return pipeline.conditions
