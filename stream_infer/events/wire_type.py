"""The msgspec type of a user's own JSON, compiled from a field mapping."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from stream_infer.errors import ConfigError
from stream_infer.events.mapping import INT_ID, FieldMapping, FieldSource
from stream_infer.events.times import TIME_UNITS, TimeUnit


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


def _check_unit(field: str, unit: str | None, *, is_time: bool, is_id: bool) -> None:
    fits = unit is None or (is_time and unit in TIME_UNITS) or (is_id and unit == INT_ID)
    if not fits:
        raise ConfigError(
            "unit_does_not_fit",
            f"The unit {unit!r} does not fit the field {field!r}.",
            "Times take ms, s, us, ns or naive-utc; ids and entities take int.",
        )
