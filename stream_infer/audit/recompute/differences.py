"""Where two records differ, in words that a person can look up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import msgspec

from stream_infer.audit.recompute.origins import Content, Headers

Kind = Literal["lost", "twice", "different", "unexpected", "disordered", "twin"]

SHOWN_CHARS_MAX = 120
MASKED = "(masked)"

UNDETERMINED = {
    "offset and timestamp of outputs": "Kafka gives the one, the writer's clock the other.",
    "ticks": "The owner of an idle log writes them by its clock; a fold reads them as records.",
    "features of a scored event": "They are there where a worker ran with --publish-features.",
    "model and version": "Whichever served; what is stamped is what is recomputed with.",
    "dead letters output_refused": "Kafka decides what it refuses, and says why in its own words.",
    "stubs": "A dead letter or late copy that its topic refuses whole is cut to 64 KiB.",
    "lists, how often": "A worker reads the lists with each assignment, and writes them again.",
    "older records of a compacted topic": "Kafka removes them; each key's newest must be there.",
}
"""What a fold does not determine -> why. Nothing else is left out of the comparison."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding.

    kind       what is wrong
    stage      whose output
    topic      destination, with `partition`
    offset     of the record found, None where none was
    origin     what the record is made from, as it says itself
    field      which part differs, None where the record as a whole is the finding
    expected, found   its values as JSON, cut after `SHOWN_CHARS_MAX`
    """

    kind: Kind
    stage: str
    topic: str
    partition: int
    offset: int | None
    origin: str
    field: str | None = None
    expected: str | None = None
    found: str | None = None

    def __str__(self) -> str:
        place = f"{self.topic}-{self.partition}"
        if self.offset is not None:
            place += f" offset {self.offset}"
        line = f"{self.kind}: {place}, stage {self.stage}, of {self.origin}"
        if self.field is not None:
            line += f": {self.field} is {self.found}, recomputed {self.expected}"
        return line

    def of_field(self, field: str, expected: str, found: str) -> Difference:
        """Return the same about one part of the record."""
        return replace(self, field=field, expected=expected, found=found)

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        return asdict(self)


def field_differences(
    expected: Content, found: Content, sensitive: Collection[str] = ()
) -> Iterator[tuple[str, str, str]]:
    """Yield each part that differs: its name, the expected value and the one found.

    sensitive  fields whose values are not shown
    """
    if expected.key != found.key:
        one, two = _shown(expected.key, found.key, "key", sensitive)
        yield "key", one, two
    if expected.value != found.value:
        yield from _in_values(expected.value, found.value, sensitive)
    if list(map(tuple, expected.headers)) != list(map(tuple, found.headers)):
        yield from _in_headers(expected.headers, found.headers, sensitive)


def _in_headers(
    expected: Headers, found: Headers, sensitive: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    names = dict.fromkeys(name for name, _ in (*expected, *found))
    for name in names:
        these = b" ".join(value or b"" for header, value in expected if header == name)
        those = b" ".join(value or b"" for header, value in found if header == name)
        if these != those:
            one, two = _shown(these, those, name, sensitive)
            yield f"header {name}", one, two


def _in_values(
    expected: bytes | None, found: bytes | None, sensitive: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    try:
        one, two = msgspec.json.decode(expected or b""), msgspec.json.decode(found or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        one = two = None
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        one, two = dict(enumerate(one)), dict(enumerate(two))
    if not (isinstance(one, dict) and isinstance(two, dict)) or one == two:
        whole = _shown(expected, found, "value", sensitive)
        yield "value", whole[0], whole[1]
        return
    for name in dict.fromkeys([*one, *two]):
        if name not in one or name not in two or one[name] != two[name]:
            field = f"[{name}]" if isinstance(name, int) else str(name)
            shown = _shown(one.get(name), two.get(name), field, sensitive)
            yield field, shown[0], shown[1]


def _shown(expected: Any, found: Any, field: str, sensitive: Collection[str]) -> tuple[str, str]:
    # A whole record or a place in an array may hold such a field.
    if field in sensitive or (sensitive and (field in ("key", "value") or field.startswith("["))):
        return MASKED, MASKED
    return _text(expected), _text(found)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
    else:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"
