"""What one look found. A look that could not be taken is *skipped*, which is not passed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from stream_infer.errors import StreamInferError

Status = Literal["passed", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check and what it found.

    detail  facts that were looked at, or why nothing was
    fix     how to mend it; empty where nothing needs mending
    """

    name: str
    status: Status
    detail: str
    fix: str = ""


def passed(name: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(name=name, status="passed", detail=detail)


def warning(name: str, detail: str, fix: str) -> Finding:
    """Return that it works, and may not go on to."""
    return Finding(name=name, status="warning", detail=detail, fix=fix)


def failed(name: str, detail: str, fix: str) -> Finding:
    """Return that it does not work."""
    return Finding(name=name, status="failed", detail=detail, fix=fix)


def skipped(name: str, reason: str) -> Finding:
    """Return that it could not be looked at."""
    return Finding(name=name, status="skipped", detail=reason)


def looked(name: str, look: Callable[[], Finding]) -> Finding:
    """Return what a look finds; one of our errors is a failure with its own fix."""
    try:
        return look()
    except StreamInferError as error:
        return failed(name, error.message, error.fix)


async def awaited(name: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    """As `looked`, for a look that talks to Kafka."""
    try:
        return await look()
    except StreamInferError as error:
        return failed(name, error.message, error.fix)
