"""What one look found. A look that could not be taken is *skipped*, which is not passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
