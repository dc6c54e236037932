"""Logs of a running worker: one line an event, on stderr."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(*, quiet: bool = False) -> None:
    """Send our own events, and warnings of the libraries below, to stderr.

    quiet  only warnings of our own too, for commands that show progress themselves
    """
    level = logging.WARNING if quiet else logging.INFO
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")
    # The client reports each failed attempt as an error; the worker says once that it waits.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # What stops a worker is raised, and said once with cause and fix by whoever runs it. Faust
    # says it too, with a traceback, in the name of the module that defines the service.
    for name in ("faust", "mode", "stream_infer"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
