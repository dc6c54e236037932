"""Every error that stream-infer raises on purpose.

    StreamInferError                 code, message, fix, details; exit code 1
    ├── UsageError                   the command or an option is wrong            2
    ├── ConfigError                  a setting or a pipeline declaration is wrong  2
    ├── NotFoundError                a topic, file, model or record is missing     3
    ├── ConflictError                what is there does not fit what is asked      4
    ├── InvalidDataError             input data cannot be used                     5
    ├── GateFailedError              it ran, and the answer is "no" or "unproven"  6
    ├── BrokerError                  Kafka cannot be reached or refuses            1
    ├── EmbeddedBrokerError          the embedded Kafka cannot be run              1
    └── StateBudgetError             a partition's state outgrew its memory        1

The kind tells the reaction; the fields tell the operator. ``code`` is a stable
word for machines, ``message`` names the cause, ``fix`` names what to do, and
``details`` holds the facts (topic, partition, offset, ...) without secrets.
"""

from __future__ import annotations

from typing import Any, ClassVar


class StreamInferError(Exception):
    """An error with a named cause and a fix.

    code     stable lower-case word, for machines
    message  one sentence that names the cause
    fix      one sentence that says what to do, may be empty
    details  facts about the case, JSON-encodable, never a secret
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str, fix: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} Fix: {self.fix}" if self.fix else self.message

    def envelope(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        return {
            "code": self.code,
            "message": self.message,
            "fix": self.fix,
            "details": self.details,
        }


class UsageError(StreamInferError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(StreamInferError):
    """A setting or a pipeline declaration is wrong."""

    exit_code = 2


class NotFoundError(StreamInferError):
    """Something that was named does not exist."""

    exit_code = 3


class ConflictError(StreamInferError):
    """What exists does not fit what is asked for."""

    exit_code = 4


class InvalidDataError(StreamInferError):
    """Input data cannot be used."""

    exit_code = 5


class GateFailedError(StreamInferError):
    """The command ran to its end and the answer is no, or unproven."""

    exit_code = 6


class BrokerError(StreamInferError):
    """Kafka cannot be reached, or refuses what is asked."""


class EmbeddedBrokerError(StreamInferError):
    """The embedded Kafka cannot be installed, started or stopped."""


class StateBudgetError(StreamInferError):
    """The state of one partition needs more memory than it may take."""
