"""What workers are told about a model: which versions serve, and in which role.

The truth is the registry's history. After each entry the whole of what it means is written to
the compacted topic ``<pipeline>-models``, under the model's name::

    {"model": "fraud", "number": 7, "share": 0.05, "served": {
        "champion": {"version": "3", "sha256": "…"}, "challenger": {"version": "4", "sha256": "…"}}}

The last record is all that a worker needs, whenever it starts. A record whose number is not above
the last one's is passed over: two who write at once may do so in the wrong order, and whoever
finds the topic behind the registry writes again.

From which event on a version scores is each worker's own matter: it loads the version, and the
first batch that begins afterwards is scored by it. Nobody need agree on that, for no state
depends on a score, and every score names its version: a batch that is scored again after an
aborted transaction may be scored by another, since the first answer was never seen; a
recomputation scores each event with the version that its record names.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from stream_infer.errors import InvalidDataError

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Alias = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
_Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One version, and what its file must hash to."""

    version: _Name
    sha256: _Hex


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions of a model serve, after entry `number` of its history.

    served  alias -> version; aliases that mean nothing to a worker are left out
    share   of the keys that the challenger decides
    """

    model: _Name
    number: Annotated[int, msgspec.Meta(ge=1)]
    served: dict[_Alias, Served]
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


def encode_told(told: Told) -> bytes:
    """Return the record's value."""
    return msgspec.json.encode(told, order="deterministic")


def decode_told(value: bytes) -> Told:
    """Return what a record tells.

    Raises  InvalidDataError ``models_record_invalid``. Fields that are not known here are passed
            over: a later version of this project may tell more
    """
    try:
        return msgspec.json.decode(value, type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDataError(
            "models_record_invalid",
            f"A record about the models that serve cannot be used: {error}.",
            "Write it anew with: stream-infer models tell MODEL PIPELINE.",
        ) from error


def newest(known: Told | None, told: Told) -> Told:
    """Return whichever is later in the history; what is known stays where both are the same.

    Raises  ValueError where they are of two models
    """
    if known is not None and known.model != told.model:
        raise ValueError(f"{told.model} is not {known.model}")
    return told if known is None or told.number > known.number else known
