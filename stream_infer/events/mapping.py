"""From a user's own JSON to the contract's fields, without touching the producer.

A mapping says for each contract field where it stands (`path`, dots nest) and, where
that matters, what its value counts (`unit`):

    event_time=payment.created.at:s,amount=payment.amount,customer_id=card.holder:int

Times take the units of `stream_infer.events.times`; an id or entity takes ``int``
when the JSON value is a whole number (its decimal text is the id). Fields that are
not named keep their own place. A mapping is compiled into a msgspec type of the
user's form, so that mapped events are decoded at the same speed as our own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from stream_infer.errors import ConfigError
from stream_infer.events.ready_mappings import READY_MAPPINGS
from stream_infer.events.times import TIME_UNITS, TimeUnit

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


@dataclass(frozen=True, slots=True)
class WireType:
    """The msgspec type of a topic's JSON, and how contract fields are read from its objects.

    type         what is decoded
    paths        contract field -> dotted attribute path inside a decoded object
    names        contract field -> path in the JSON, for messages
    roots        contract field -> the top-level JSON key it stands under
    units        time field -> unit
    opening_min  how many objects a good record holds, itself included
    """

    type: type[msgspec.Struct]
    paths: dict[str, str]
    names: dict[str, str]
    roots: dict[str, str]
    units: dict[str, TimeUnit]
    opening_min: int = 1


def wire_type(
    base: type[msgspec.Struct],
    mapping: FieldMapping | None,
    *,
    times: Iterable[str],
    ids: Iterable[str],
    refuse_unknown: bool = False,
) -> WireType:
    """Compile the type of a topic's JSON.

    base            the contract's type of one record
    times, ids      its fields that hold times, and ids or entities
    refuse_unknown  whether a field that is not declared makes a record bad
    Raises          ConfigError for an unknown field, a unit that does not fit its field, two
                    fields at one place, or a mapped type that has a check of its own
    """
    fields = {field.name: field for field in msgspec.structs.fields(base)}
    times, ids = tuple(times), tuple(ids)
    sources = mapping.sources if mapping else {}
    if mapping:
        mapping.check(fields)
    for field, source in sources.items():
        _check_unit(field, source.unit, is_time=field in times, is_id=field in ids)
    units = {
        field: cast("TimeUnit", sources[field].unit)
        for field in times
        if field in sources and sources[field].unit is not None
    }
    if not sources:
        made = _forbidding(base) if refuse_unknown else base
        encoded = {name: field.encode_name for name, field in fields.items()}
        return WireType(made, {name: name for name in fields}, encoded, encoded, units)
    if hasattr(base, "__post_init__"):
        raise ConfigError(
            "mapped_type_has_check",
            f"{base.__name__} has a __post_init__, which a field mapping would leave out.",
            "Declare the user's form as a type of its own, or drop the mapping.",
        )
    places = {
        name: sources[name] if name in sources else FieldSource((field.encode_name,))
        for name, field in fields.items()
    }
    tree = _Tree(f"Mapped{base.__name__}", refuse_unknown=refuse_unknown)
    for name, info in fields.items():
        tree.add(places[name].path, name, info, _annotation(info, places[name].unit, times))
    return WireType(
        tree.build(),
        tree.attributes,
        {name: place.text for name, place in places.items()},
        {name: place.path[0] for name, place in places.items()},
        units,
        tree.opening_min(),
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


class _Tree:
    """A user's JSON form as nested msgspec types, grown one contract field at a time."""

    def __init__(self, name: str, *, refuse_unknown: bool) -> None:
        self._name = name
        self._refuse_unknown = refuse_unknown
        self._children: dict[str, _Tree | tuple[str, msgspec.structs.FieldInfo, Any]] = {}
        self.attributes: dict[str, str] = {}

    def add(
        self, path: tuple[str, ...], name: str, field: msgspec.structs.FieldInfo, annotation: Any
    ) -> str:
        """Put a contract field at `path`; return its attribute path."""
        key, rest = path[0], path[1:]
        child = self._children.get(key)
        if child is not None and not (rest and isinstance(child, _Tree)):
            raise ConfigError(
                "bad_field_mapping",
                f"Two fields stand at the place {key!r}.",
                "Map each field to a place of its own.",
            )
        attribute = f"f{list(self._children).index(key) if child else len(self._children)}"
        if rest:
            subtree = child
            if not isinstance(subtree, _Tree):
                # Types of one name would be one definition in a JSON Schema.
                name_inside = f"{self._name}_{len(self._children)}"
                subtree = _Tree(name_inside, refuse_unknown=self._refuse_unknown)
            self._children[key] = subtree
            attribute += "." + subtree.add(rest, name, field, annotation)
        else:
            self._children[key] = (name, field, annotation)
        self.attributes[name] = attribute
        return attribute

    def build(self) -> type[msgspec.Struct]:
        """Return the msgspec type of this object and the ones inside it."""
        columns: list[Any] = []
        for index, child in enumerate(self._children.values()):
            attribute = f"f{index}"
            if isinstance(child, _Tree):
                inner = child.build()
                default = msgspec.field(default_factory=inner) if child.is_optional() else None
                columns.append((attribute, inner, default) if default else (attribute, inner))
                continue
            _, field, annotation = child
            if field.required:
                columns.append((attribute, annotation))
            elif field.default_factory is not msgspec.NODEFAULT:
                default = msgspec.field(default_factory=field.default_factory)
                columns.append((attribute, annotation, default))
            else:
                columns.append((attribute, annotation, field.default))
        return msgspec.defstruct(
            self._name,
            columns,
            rename={f"f{index}": key for index, key in enumerate(self._children)},
            forbid_unknown_fields=self._refuse_unknown,
            kw_only=True,
            gc=False,
        )

    def opening_min(self) -> int:
        """Return how many objects there are at least, this one included."""
        inner = [child for child in self._children.values() if isinstance(child, _Tree)]
        return 1 + sum(child.opening_min() for child in inner if not child.is_optional())

    def is_optional(self) -> bool:
        """Whether the object may be missing, for all its fields may."""
        return all(
            child.is_optional() if isinstance(child, _Tree) else not child[1].required
            for child in self._children.values()
        )


def _forbidding(base: type[msgspec.Struct]) -> type[msgspec.Struct]:
    return msgspec.defstruct(base.__name__, [], bases=(base,), forbid_unknown_fields=True, gc=False)


def _annotation(field: msgspec.structs.FieldInfo, unit: str | None, times: tuple[str, ...]) -> Any:
    if unit == INT_ID:
        return int
    if field.name in times and unit is not None:
        return int | float | str
    return field.type


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


def _check_unit(field: str, unit: str | None, *, is_time: bool, is_id: bool) -> None:
    fits = unit is None or (is_time and unit in TIME_UNITS) or (is_id and unit == INT_ID)
    if not fits:
        raise ConfigError(
            "unit_does_not_fit",
            f"The unit {unit!r} does not fit the field {field!r}.",
            "Times take ms, s, us, ns or naive-utc; ids and entities take int.",
        )
