"""From a user's own JSON to the contract's fields, without touching the producer.

A mapping says for each contract field where it stands (`path`, dots nest) and, where
that matters, what its value counts (`unit`):

    event_time=payment.created.at:s,amount=payment.amount,customer_id=card.holder:int

Times take the units of `stream_infer.events.times`; an id or entity takes ``int``
when the JSON value is a whole number (its decimal text is the id). Fields that are
not named keep their own place. A mapping is compiled into a msgspec type of the
user's form (`stream_infer.events.wire_type`), so that mapped events are decoded at the same speed
as our own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stream_infer.errors import ConfigError
from stream_infer.events.ready_mappings import READY_MAPPINGS
from stream_infer.events.times import TIME_UNITS

INT_ID = "int"
"""Unit of an id or entity whose JSON value is a whole number."""


LIKE = "like"
"""Key of the configuration that names a ready mapping."""


@dataclass(frozen=True, slots=True)
class FieldSource:
    """Where a contract field stands in the user's JSON.

    path  names of nested objects, the last one the field's own
    unit  a unit of times, ``int``, or None for the contract's own form
    """

    path: tuple[str, ...]
    unit: str | None = None

    @property
    def text(self) -> str:
        """The path as people write it; for a file, the column's name."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Contract field -> `FieldSource`; fields that are not named stand under their own name."""

    sources: dict[str, FieldSource]

    @classmethod
    def parse(cls, text: str) -> FieldMapping:
        """Read the command line's form, ``field=path`` or ``field=path:unit`` with commas between.

        The first may be the name of a ready mapping, which the others change.
        Raises     ConfigError when it has another form
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if parts and parts[0] in READY_MAPPINGS:
            return _ready(parts[0]).changed_by(cls.parse(",".join(parts[1:])))
        sources: dict[str, FieldSource] = {}
        for part in parts:
            field, equals, place = part.partition("=")
            if not equals or not field.strip() or not place.strip():
                raise ConfigError(
                    "bad_field_mapping",
                    f"{part!r} does not map a field.",
                    "Write field=path or field=path:unit, such as event_time=created.at:s; or "
                    f"begin with one of {', '.join(READY_MAPPINGS)}.",
                )
            path, _, unit = place.strip().partition(":")
            source = _source(field.strip(), path, unit or None)
            _add(sources, field.strip(), source)
        return cls(sources)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FieldMapping:
        """Read the configuration's form: field -> path, or field -> {"path": ..., "unit": ...}.

        A path may be a list of names, for names that hold a dot. ``like`` names a ready mapping,
        which the others change.
        Raises     ConfigError when it has another form
        """
        if LIKE in config:
            rest = {field: place for field, place in config.items() if field != LIKE}
            return _ready(config[LIKE]).changed_by(cls.from_config(rest))
        sources: dict[str, FieldSource] = {}
        for field, place in config.items():
            table = place if isinstance(place, Mapping) else {"path": place}
            unknown = sorted(set(table) - {"path", "unit"})
            if unknown or "path" not in table:
                raise ConfigError(
                    "bad_field_mapping",
                    f"The mapping of {field!r} needs a path and may have a unit, nothing else.",
                    'Write field = "path" or field = { path = "...", unit = "..." }.',
                )
            _add(sources, field, _source(field, table["path"], table.get("unit")))
        return cls(sources)

    def changed_by(self, other: FieldMapping) -> FieldMapping:
        """Return this mapping with the other's fields in place of its own."""
        return FieldMapping(self.sources | other.sources)

    def source(self, field: str) -> FieldSource:
        """Return where a contract field stands."""
        return self.sources.get(field) or FieldSource((field,))

    def check(self, fields: Iterable[str]) -> None:
        """Raise `ConfigError` when a mapped field is not one of the contract's `fields`."""
        known = sorted(fields)
        for field in self.sources:
            if field not in known:
                near = difflib.get_close_matches(field, known, n=1)
                raise ConfigError(
                    "unknown_field",
                    f"The events have no field {field!r}.",
                    f"Did you mean {near[0]!r}?" if near else f"Map one of: {', '.join(known)}.",
                    field=field,
                )


def _ready(name: Any) -> FieldMapping:
    """Return a ready mapping by its name."""
    if name not in READY_MAPPINGS:
        near = difflib.get_close_matches(str(name), READY_MAPPINGS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            "unknown_mapping",
            f"There is no ready field mapping {name!r}.",
            f"{hint}Ready are: {', '.join(READY_MAPPINGS)}.",
        )
    places = READY_MAPPINGS[name]
    return FieldMapping({field: _source(field, path, None) for field, path in places.items()})


def _source(field: str, path: Any, unit: Any) -> FieldSource:
    parts = path.split(".") if isinstance(path, str) else path
    names = tuple(parts) if isinstance(parts, list | tuple) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(
            "bad_field_mapping",
            f"The path of {field!r} is not a name, or names with dots between.",
            "Write names with single dots between, such as payment.created.at.",
        )
    if unit is not None and unit not in (*TIME_UNITS, INT_ID):
        raise ConfigError(
            "unknown_unit",
            f"The unit {unit!r} of {field!r} is not known.",
            f"Use one of: {', '.join((*TIME_UNITS, INT_ID))}.",
        )
    return FieldSource(names, unit)


def _add(sources: dict[str, FieldSource], field: str, source: FieldSource) -> None:
    if field in sources:
        raise ConfigError(
            "bad_field_mapping", f"{field!r} is mapped twice.", "Map each field once."
        )
    sources[field] = source
