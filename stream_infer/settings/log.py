"""How a worker logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a worker logs, on stderr.

    format  ``console``: a line for people; ``json``: one object a line, for machines
    level   the least that is logged
    """

    format: LogFormat = "console"
    level: LogLevel = "info"
