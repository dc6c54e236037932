"""A skip: a record of an input or internal topic that every fold passes over."""

from __future__ import annotations

import msgspec

POISON = "poison"
"""Code of the dead letter of a record that ended the process which worked on it."""


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """Value of a record of the skips' topic; its key is `position`.

    code    why, as in the record's dead letter
    signal  that the record brought about
    stage   that worked on it
    time    when that was found, ms since the epoch
    """

    topic: str
    partition: int
    offset: int
    code: str
    signal: str
    stage: str
    time: int

    @property
    def position(self) -> str:
        """Where the record stands, as ``TOPIC-PARTITION-OFFSET``."""
        return f"{self.topic}-{self.partition}-{self.offset}"


def encode_skip(skip: Skip) -> tuple[bytes, bytes]:
    """Return key and value of the record that says so."""
    return skip.position.encode(), msgspec.json.encode(skip)


def decode_skip(value: bytes) -> Skip:
    """Return what a record of the skips' topic says.

    Raises  `msgspec.MsgspecError` when it says something else
    """
    return msgspec.json.decode(value, type=Skip)
