"""Fields that are declared sensitive, and what stands in their place where people read.

Topics hold the values: whoever may read the topic may read them. Logs, metric labels, error
texts, alert texts and terminals never show them, except where a person asks for it with
``--reveal``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from stream_infer.errors import ConfigError
from stream_infer.pipeline import Events

HIDDEN = "***"
_TAIL_CHARS = 4
_SHOWS_TAIL_FROM = 12
_TYPED = {"entity_type": "entity", "member_type": "member_ids"}


def check_sensitive(events: Events) -> None:
    """Raise `ConfigError` unless every sensitive field is one that the events have.

    A misspelt one would be shown in clear for ever, and nobody would notice.
    """
    fields = {*events.type.__struct_fields__, *events.entities, *events.decimals}
    unknown = sorted(set(events.sensitive) - fields)
    if unknown:
        raise ConfigError(
            "sensitive_field_unknown",
            f"The field {unknown[0]!r} is declared sensitive, and the events have no such field.",
            f"Name some of: {', '.join(sorted(fields))}.",
            field=unknown[0],
        )


def mask(value: object) -> str:
    """Return what is shown in a sensitive value's place.

    A long number or text keeps its last four characters, by which people tell cards apart;
    PCI DSS 4.0, requirement 3.4.1, allows as much. Of a shorter one they would tell too much.

    >>> mask("4111111111111111"), mask("c-17")
    ('***1111', '***')
    """
    text = str(value)
    return HIDDEN + text[-_TAIL_CHARS:] if len(text) >= _SHOWS_TAIL_FROM else HIDDEN


def mask_fields(record: Mapping[str, Any], sensitive: Collection[str]) -> dict[str, Any]:
    """Return a JSON object with its sensitive fields masked, at any depth.

    An alert tells by ``entity_type`` and ``member_type`` which fields its ``entity`` and
    ``member_ids`` are values of.
    """
    hidden = set(sensitive)
    hidden |= {value for kind, value in _TYPED.items() if record.get(kind) in hidden}
    return {name: _masked(name, value, hidden) for name, value in record.items()}


def _masked(name: str, value: Any, hidden: set[str]) -> Any:
    if name in hidden and value is not None:
        return [mask(item) for item in value] if isinstance(value, list) else mask(value)
    if isinstance(value, Mapping):
        return mask_fields(value, hidden)
    if isinstance(value, list):
        return [_masked("", item, hidden) for item in value]
    return value
