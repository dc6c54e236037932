"""The roads as cells, one a sensor: how the traffic is, where an alert is open, what is true."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from stream_infer.demo.ink import BAD, HEADING, QUIET, WIDE_FROM, both_ends, line
from stream_infer.demo.view import Cell, Corridor, View

LEVEL_STYLES = {
    "A": "white on #1d4e7a",
    "B": "white on #2f73a6",
    "C": "black on #8fbfd6",
    "D": "black on #f2dc7c",
    "E": "black on #f09a3e",
    "F": "bold white on #b3202c",
}
SILENT_STYLE = "#8a8a8a on #303030"


def draw_roads(view: View, width: int, *, truth_rows: bool) -> list[RenderableType]:
    """Return a heading and a line a corridor; with `truth_rows` another below it."""
    wide = width >= WIDE_FROM
    heading = line(
        ("roads", HEADING),
        (", each cell a sensor, in the direction of travel", QUIET) if wide else "",
    )
    lines: list[RenderableType] = [both_ends(heading, _legend(wide=wide), width)]
    for corridor in view.corridors:
        lines += _corridor(corridor, 3 if wide else 2, truth_rows=truth_rows)
    return lines


def _legend(*, wide: bool) -> Text:
    legend = Text(no_wrap=True)
    legend.append("free " if wide else "", QUIET)
    for level, style in LEVEL_STYLES.items():
        legend.append(f" {level} ", style)
    legend.append(" jam  ! alert  ◆ true incident" if wide else " ! alert ◆ incident", QUIET)
    return legend


def _corridor(corridor: Corridor, cell_width: int, *, truth_rows: bool) -> list[RenderableType]:
    row = line((f"{corridor.name:<5}", "bold"))
    below = line("     ")
    for cell in corridor.cells:
        row.append_text(_cell(cell, cell_width, marks_truth=not truth_rows))
        below.append(("◆" if cell.incident else " ").center(cell_width), BAD)
    shares = [cell.share for cell in corridor.cells if cell.share is not None]
    if shares:
        row.append(f" {sum(shares) / len(shares):4.0%} of free flow", QUIET)
    return [row, below] if truth_rows else [row]


def _cell(cell: Cell, width: int, *, marks_truth: bool) -> Text:
    letter = cell.level or "·"
    mark = "◆" if cell.incident and marks_truth else "!" if cell.alert else " "
    style = LEVEL_STYLES.get(letter, SILENT_STYLE)
    return Text(f"{letter}{mark}".center(width)[:width], style=style)
