"""Logs of a running worker: one line an event, on stderr, for people or for machines.

Three rules hold for every line, whoever writes it:

- what looks like a secret by its name, a password inside an address and the fields that the
  caller calls sensitive are masked;
- bytes are never shown: keys and values of records are bytes, and hold what people paid;
- a line is one line: control characters in what came from outside would forge lines or reach
  the terminal as commands.

One line of a library is said in other words: that a connection to Kafka broke, which asyncio may
report as an error that nobody looked at.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import orjson
import structlog

from stream_infer.settings.log import LogSettings

MASK = "***"
DEPTH_MAX = 4
SECRET_WORDS = (
    *("password", "passwd", "passphrase", "secret", "token", "credential"),
    *("authorization", "cookie", "api_key", "apikey", "private_key", "sasl"),
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_SECRET_NAME = rf"[\w.-]*(?:{'|'.join(SECRET_WORDS)})[\w.-]*"
_TO_VALUE = r"""["']?\s*[=:]\s*"""
_VALUE = r"""("[^"]*"|'[^']*'|[^\s,;&]+)"""
_ASSIGNED_SECRET = re.compile(f"({_SECRET_NAME})({_TO_VALUE}){_VALUE}", re.IGNORECASE)
"""``sasl.jaas.config`` and query strings bring ``password="..."`` into the texts of errors."""
_NEVER_RETRIEVED = "Future exception was never retrieved"
_CLIENT_CONNECTION = str(Path("aiokafka", "conn.py"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Event = MutableMapping[str, Any]


class Masking:
    """A processor that masks secrets and keeps a line one line.

    sensitive  names of further fields, of the user's own
    """

    def __init__(self, sensitive: Collection[str] = ()) -> None:
        self._sensitive = {name.lower() for name in sensitive}

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """Return the event as it may be shown."""
        for name, value in event.items():
            event[name] = self._shown(name, value, DEPTH_MAX)
        return event

    def _shown(self, name: str, value: Any, depth: int) -> Any:
        low = name.lower()
        if low in self._sensitive or any(word in low for word in SECRET_WORDS):
            return MASK
        if isinstance(value, str) and name == "exception":
            # The traceback is ours, and unreadable in one line.
            return _without_secrets(value)
        if depth > 0 and isinstance(value, Mapping):
            return {str(k): self._shown(str(k), v, depth - 1) for k, v in value.items()}
        if depth > 0 and isinstance(value, list | tuple | set | frozenset):
            return [self._shown("", each, depth - 1) for each in value]
        return _plain(value)


def configure_logs(
    settings: LogSettings | None = None,
    *,
    quiet: bool = False,
    facts: Mapping[str, str] | None = None,
    sensitive: Collection[str] = (),
) -> None:
    """Send our own events, and warnings of the libraries below, to stderr.

    quiet      only warnings of our own too, for commands that show progress themselves
    facts      what stands on every JSON line, such as the pipeline; a terminal shows one worker,
               and each line would only grow longer
    sensitive  names of fields whose values are never shown
    """
    settings = settings or LogSettings()
    level = logging.WARNING if quiet else logging.getLevelNamesMapping()[settings.level.upper()]
    as_json = settings.format == "json"
    constant = {"worker": worker_id(), **(facts or {})} if as_json else {}

    def add_facts(_logger: Any, _method: str, event: Event) -> Event:
        return {**constant, **event}

    before: list[Any] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.add_log_level,
        add_facts,
        structlog.processors.ExceptionRenderer(),
        Masking(sensitive),
    ]
    render: Any = (
        structlog.processors.JSONRenderer(serializer=_json_line)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*before, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    _configure_libraries([*before, render], level)
    # Python's own warnings would be the one line that is no JSON.
    logging.captureWarnings(as_json)


def worker_id() -> str:
    """Return a name for this process that differs between workers: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _configure_libraries(processors: list[Any], level: int) -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler(processors, level))
    root.setLevel(logging.WARNING)
    # The client reports each failed attempt as an error; the worker says once that it waits.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # What stops a worker is raised, and said once with cause and fix by whoever runs it. Faust
    # says it too, with a traceback, in the name of the module that defines the service.
    for name in ("faust", "mode", "stream_infer"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class _LibraryHandler(logging.Handler):
    """Gives the lines of other libraries the form of ours."""

    def __init__(self, processors: list[Any], own_level: int) -> None:
        super().__init__()
        self._processors = processors
        self._own_level = own_level

    def emit(self, record: logging.LogRecord) -> None:
        try:
            broken = _broken_connection(record)
            if broken is not None:
                if self._own_level <= logging.INFO:
                    self._say("info", {"event": "connection_lost", "cause": str(broken)})
                return
            event = {"event": record.getMessage(), "logger": record.name}
            self._say(record.levelname.lower(), event, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - logging's own way to say that a line was lost
            self.handleError(record)

    def _say(self, level: str, event: Any, *, exc_info: Any = None) -> None:
        if exc_info:
            event["exc_info"] = exc_info
        for processor in self._processors:
            event = processor(None, level, event)
        sys.stderr.write(f"{event}\n")


def _broken_connection(record: logging.LogRecord) -> OSError | None:
    """Return why a connection of the Kafka client broke, if that is all that a line says.

    The client takes it up itself: it fails what waits for an answer and connects again. But the
    future by which asyncio would also tell it (`StreamWriter.wait_closed`) it never looks at. The
    protocol that holds the future looks instead, when it is collected; in a cycle of garbage the
    future may be collected before, and reports, with a traceback, an error that was dealt with.
    """
    if record.name != "asyncio" or not record.exc_info:
        return None
    _, error, trace = record.exc_info
    if not isinstance(error, OSError) or not record.getMessage().startswith(_NEVER_RETRIEVED):
        return None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(_CLIENT_CONNECTION):
            return error
        trace = trace.tb_next
    return None


def _plain(value: Any) -> Any:
    """Return a value as a number, a flag, None or one line of text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return _one_line(str(value))


def _json_line(event: Any, **_options: Any) -> str:
    try:
        return orjson.dumps(event).decode()
    except (TypeError, orjson.JSONEncodeError):
        # Whole numbers beyond 64 bits, for one.
        return json.dumps(event, default=str)


def _without_secrets(text: str) -> str:
    text = _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", text)
    return _ASSIGNED_SECRET.sub(rf"\1\2{MASK}", text)


def _one_line(text: str) -> str:
    if not text.isprintable():
        text = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
    return _without_secrets(text)
