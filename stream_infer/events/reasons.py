"""Why a record was refused: one stable code and one sentence that holds no value.

A message may be logged, counted and sent to other teams, so it names the field's
path and the cause, never what stood there: the value may be a card number. Names
of unknown fields come from outside too and are cut and made printable.

    tombstone         the record has no value
    empty             nothing but white space
    not_json          malformed JSON, or more than one document
    truncated         JSON that ends too early
    invalid_utf8      bytes that are not UTF-8, wherever they stand (RFC 8259, section 8.1)
    too_deep          more than `DEPTH_MAX` levels of nesting
    not_an_object     JSON, but not of the outer form that the topic carries
    wrong_type        a field of another JSON type
    missing_field     a required field is absent, or null where a value is needed
    unknown_field     a field that is not declared, where those are refused
    out_of_range      a number, a text's length or a choice outside its declared bounds
    refused_by_type   the event type's own check (`__post_init__`) said no
    bad_time          a time that is no RFC 3339 text with an offset, or outside 0001..9999
    bad_decimal       more decimals than declared
    unknown_<key>     a key that is not in the pipeline's table, such as ``unknown_sensor``
    future_event      too far ahead of its record's timestamp
    poison            the record ends the process that works on it
    schema_version_unknown, schema_version_later, features_version_mismatch,
    features_mismatch, wrong_source
                      an internal record of another build or pipeline
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

DEPTH_MAX = 64
"""Levels of nesting that a record may have. Fixed, and far below what the parser's
recursion allows: whether a record is good must not depend on how deep the Python
stack happens to be when it is decoded, or a replay could decide otherwise."""

_NAME_CHARS_MAX = 64
_PATH = re.compile(r"(?P<cause>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_BYTE = re.compile(r"\(byte \d+\)")
_TYPES = r"`[a-z0-9 |]+`"
# msgspec's wordings -> code and sentence; {name} is a field's name, {same} the wording itself
# where it holds nothing but the declaration's own types and bounds.
_WORDINGS = tuple(
    (re.compile(pattern, re.DOTALL), code, sentence)
    for pattern, code, sentence in (
        (r"Object missing required field `(?P<name>.*)`", "missing_field", "{name} is missing"),
        (r"Object contains unknown field `(?P<name>.*)`", "unknown_field", "{name} is unknown"),
        (rf"Expected {_TYPES}, got {_TYPES}", "wrong_type", "{same}"),
        (r".*(?:datetime|RFC3339).*", "bad_time", "Not RFC 3339 text with an offset"),
        (
            rf"Expected {_TYPES} (?:of (?:at (?:least|most) )?length|[<>=]|multiple|matching).*",
            "out_of_range",
            "{same}",
        ),
        (r"Number out of range", "out_of_range", "{same}"),
        (r"Invalid (?:enum )?value .*", "out_of_range", "Not one of the declared choices"),
    )
)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is not an event.

    row      its index in the decoded input
    code     one of the words above
    message  field path and cause, without any value
    """

    row: int
    code: str
    message: str


def tombstone(row: int) -> BadRecord:
    """Return the refusal of a record without a value."""
    return BadRecord(row, "tombstone", "The record has no value (a tombstone).")


def empty(row: int) -> BadRecord:
    """Return the refusal of a record of white space only."""
    return BadRecord(row, "empty", "The value is empty.")


def too_deep(row: int) -> BadRecord:
    """Return the refusal of a record that is nested too deeply."""
    return BadRecord(row, "too_deep", f"The value is nested deeper than {DEPTH_MAX} levels.")


def explain(row: int, error: Exception) -> BadRecord:
    """Return the refusal for what msgspec raised while decoding one record.

    Nothing is copied out of the error's text but paths, type names, bounds (all of
    them the declaration's) and byte positions: msgspec quotes a refused enum value,
    and a type's own check may say anything.
    """
    if isinstance(error, RecursionError):
        return too_deep(row)
    if isinstance(error, UnicodeDecodeError):
        return BadRecord(
            row, "invalid_utf8", f"The value is not UTF-8 (byte {error.start}: {error.reason})."
        )
    if isinstance(error, msgspec.ValidationError):
        return _explain_validation(row, str(error))
    if "truncated" in str(error):
        return BadRecord(row, "truncated", "The JSON ends too early.")
    place = _BYTE.search(str(error))
    return BadRecord(
        row, "not_json", "The value is not one JSON document" + _spaced(place and place[0]) + "."
    )


def printable(name: str) -> str:
    """Return a field name from outside, cut and without control characters."""
    cut = name[:_NAME_CHARS_MAX] + ("…" if len(name) > _NAME_CHARS_MAX else "")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def _explain_validation(row: int, text: str) -> BadRecord:
    split = _PATH.fullmatch(text)
    # The expression matches every text; the fall-back only satisfies the type checker.
    cause, path = (split["cause"], split["path"]) if split else (text, None)
    where = f" at {printable(path)}" if path else ""
    for wording, code, sentence in _WORDINGS:
        match = wording.fullmatch(cause)
        if match:
            name = "Field " + printable(match.groupdict().get("name", ""))
            told = sentence.format(name=name, same=cause.replace("`", ""))
            outermost = code == "wrong_type" and not path
            return BadRecord(row, "not_an_object" if outermost else code, f"{told}{where}.")
    return BadRecord(row, "refused_by_type", f"The event type's own check refused it{where}.")


def _spaced(text: str | None) -> str:
    return f" {text}" if text else ""
