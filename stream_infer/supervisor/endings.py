"""What the way in which a child ended means. Pure.

A wait status is an exit code, or -N for the signal N that ended the process.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from stream_infer.errors import (
    ConfigError,
    ConflictError,
    InvalidDataError,
    NotFoundError,
    StreamInferError,
)

CRASHES = frozenset((signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT))
"""Signals that a process brings on itself. SIGKILL is not among them: the kernel's when memory
is short, or somebody's, and says nothing about the record that was in work."""

_KINDS: dict[int, type[StreamInferError]] = {
    2: ConfigError,
    3: NotFoundError,
    4: ConflictError,
    5: InvalidDataError,
}
"""Exit codes that a restart cannot cure: the same would be found again."""


def crash_of(status: int) -> str | None:
    """Return the name of the signal by which a process crashed, None if it did not.

    >>> crash_of(-11), crash_of(-9), crash_of(1)
    ('SIGSEGV', None, None)
    """
    return signal.Signals(-status).name if -status in CRASHES else None


def is_incurable(status: int) -> bool:
    """Say whether a process that is started again would end in the same way."""
    return status in _KINDS


def stopped_cleanly(status: int) -> bool:
    """Say whether a process that was told to stop did so.

    One that had not come as far as to listen for the signal ends by it, and had begun nothing.
    """
    return status in (0, -signal.SIGTERM)


def in_words(status: int) -> str:
    """Return how a process ended, for people.

    >>> in_words(1), in_words(-9)
    ('exit code 1', 'SIGKILL')
    """
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal has a number only
        return f"signal {-status}"


def told_error(status: int, told: Mapping[str, Any] | None, number: int) -> StreamInferError:
    """Return what ended a child for good, as an error of this process.

    told  the envelope of its error, None when it left none
    """
    kind = _KINDS.get(status, StreamInferError)
    if told is None:
        return kind(
            "worker_process_ended",
            f"Worker process {number} ended with {in_words(status)}.",
            "See what it has said above.",
            process=number,
        )
    return kind(told["code"], told["message"], told["fix"], **told["details"])
