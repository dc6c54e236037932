"""A word of progress: how far one partition has been brought into the log that it feeds."""

from __future__ import annotations

from typing import Literal

import msgspec

Place = Literal["head", "unread", "restoring", "end"]
"""``head``: everything before an event time is in the log. ``unread``: there are records whose
time is not known yet. ``restoring``: so too, and its state is still being restored. ``end``: it
was read to its end."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Value of a record of the progress topic; its key is `position`.

    place       where the partition stands
    head        ms since the epoch, event time of its first row that is not in the log yet;
                None but for place ``head``
    generation  of the consumer group in which its owner says so
    instance    that says so
    """

    topic: str
    partition: int
    place: Place
    head: int | None = None
    generation: int
    instance: str

    @property
    def position(self) -> str:
        """The partition that it is of, as ``TOPIC-PARTITION``."""
        return f"{self.topic}-{self.partition}"


def encode_progress(progress: Progress) -> tuple[bytes, bytes]:
    """Return key and value of the record that says so."""
    return progress.position.encode(), msgspec.json.encode(progress)


def decode_progress(value: bytes) -> Progress:
    """Return what a record of the progress topic says.

    Raises  `msgspec.MsgspecError` when it says something else
    """
    return msgspec.json.decode(value, type=Progress)
