"""The few strokes that every part of the screen is drawn with."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

HEADING = "bold #7fb2d9"
QUIET = "#8a8a8a"
GOOD, BAD, OPEN = "#6fb7e6", "bold #f09a3e", "#8a8a8a"
WIDE_FROM = 100
"""Columns from which on there is room for words that a narrow terminal does without."""


def line(*parts: tuple[str, str] | str) -> Text:
    """Return one line of parts, each with its style, cut off where the terminal ends."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for part in parts:
        text.append(*part) if isinstance(part, tuple) else text.append(part)
    return text


def both_ends(left: Text, right: Text, width: int) -> RenderableType:
    """Return one line with something at each end."""
    grid = Table.grid(expand=False)
    grid.width = width
    grid.add_column(ratio=1, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(left, right)
    return grid


def bar(share: float, cells: int) -> Text:
    """Return a bar that is full only when all is done."""
    full = int(max(0.0, min(share, 1.0)) * cells)
    return Text.assemble(("━" * full, GOOD), ("─" * (cells - full), QUIET))


def instant(ms: int, *, dated: bool = False) -> str:
    """Return a time of a simulated world, as people say it."""
    pattern = "%a %d %b %H:%M" if dated else "%a %H:%M"
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime(pattern)
