"""Draw a `View` for a terminal: a pure function from values to something rich can print.

Nothing is told by colour alone: cells carry the letter of their level of service, and marks
stand for words. The colours run from blue over yellow to dark red, in steps of lightness and
of blue against red, which people who see no green tell apart too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stream_infer.demo.judging import Verdict
from stream_infer.demo.view import Cell, Corridor, Lane, ShownAlert, Tally, View

LEVEL_STYLES = {
    "A": "white on #1d4e7a",
    "B": "white on #2f73a6",
    "C": "black on #8fbfd6",
    "D": "black on #f2dc7c",
    "E": "black on #f09a3e",
    "F": "bold white on #b3202c",
}
SILENT_STYLE = "#8a8a8a on #303030"
HEADING = "bold #7fb2d9"
QUIET = "#8a8a8a"
GOOD, BAD, OPEN = "#6fb7e6", "bold #f09a3e", "#8a8a8a"
SEVERITIES = {
    "low": ("·", "#b0b0b0"),
    "medium": ("▲", "#f2dc7c"),
    "high": ("▲", "#f09a3e"),
    "critical": ("▲▲", "bold #ff6b5e"),
}
VERDICTS: dict[Verdict | None, tuple[str, str]] = {
    "right": ("✓ true", GOOD),
    "wrong": ("✗ false", BAD),
    "undecided": ("… open", OPEN),
    None: ("past", OPEN),
}
BARS = "▁▂▃▄▅▆▇"
"""Without the full block, so that bars of two lines do not touch."""
WIDTH_MAX = 132
CELLS_WIDE_FROM = 100
TRUTH_ROWS_FROM = 32
ALERT_LINES = 2


def draw(view: View, width: int, height: int) -> RenderableType:
    """Return the screen for a terminal of so many columns and rows; it never has more rows."""
    width = min(width, WIDTH_MAX)
    truth_rows = height >= TRUTH_ROWS_FROM
    airy = height >= TRUTH_ROWS_FROM
    top: list[RenderableType] = [_title(view, width), *_gap(airy=airy), _lanes(view, width)]
    if view.corridors:
        top += [*_gap(airy=airy), *_roads(view, width, truth_rows=truth_rows)]
    bottom = [*_gap(airy=airy), *_tally(view.tally, width)]
    used = 1 + (1 + len(view.lanes)) + len(bottom) + 2 * airy
    if view.corridors:
        used += 2 + len(view.corridors) * (1 + truth_rows) + airy
    room = max(0, height - used - 1 - 1)
    return Group(*top, *_alerts(view, width, room // ALERT_LINES), *bottom)


class Screen:
    """A view that is drawn anew for whatever size the terminal has."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the size that the console has now."""
        width, height = options.max_width, options.height or console.height
        lines = console.render_lines(
            draw(self.view, width, height), options.update(height=None), pad=False
        )
        for number, line in enumerate(lines[:height]):
            if number:
                yield Segment.line()
            yield from line


def _gap(*, airy: bool) -> list[RenderableType]:
    return [Text("")] if airy else []


def _line(*parts: tuple[str, str] | str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for part in parts:
        text.append(*part) if isinstance(part, tuple) else text.append(part)
    return text


def _title(view: View, width: int) -> RenderableType:
    where = f"  Apache Kafka at {view.bootstrap}," if width >= CELLS_WIDE_FROM else " "
    left = _line(("stream-infer demo", "bold"), (f"{where} {view.phase}", QUIET))
    done = view.share
    clock = f"{view.elapsed_s:.0f} of {view.seconds:.0f} s" if view.elapsed_s else ""
    right = Text(no_wrap=True)
    if done is not None:
        right.append_text(_bar(done, 20))
        right.append(f" {clock or f'{done:.0%}'}")
    return _two(left, right, width)


def _two(left: Text, right: Text, width: int) -> RenderableType:
    grid = Table.grid(expand=False)
    grid.width = width
    grid.add_column(ratio=1, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(left, right)
    return grid


def _bar(share: float, cells: int) -> Text:
    full = round(max(0.0, min(share, 1.0)) * cells)
    return Text.assemble(("━" * full, GOOD), ("─" * (cells - full), QUIET))


class _Column(NamedTuple):
    """A column of the table of pipelines; widths are fixed, so that nothing moves."""

    name: str
    width: int
    width_wide: int


_COLUMNS = (
    _Column("", 8, 9),
    _Column("events/s", 8, 9),
    _Column("", 8, 14),
    _Column("scored", 9, 9),
    _Column("p50 ms", 6, 6),
    _Column("p99 ms", 6, 6),
    _Column("age ms", 6, 6),
    _Column("late", 5, 6),
    _Column("dead", 4, 5),
    _Column("time there", 10, 32),
)


def _lanes(view: View, width: int) -> RenderableType:
    """Return one row a pipeline: rates, counts, latency, age, and what time it is there."""
    wide = width >= CELLS_WIDE_FROM
    grid = Table.grid(padding=(0, 2 if wide else 1, 0, 0))
    for column in _COLUMNS:
        left = column.name in ("", "time there")
        grid.add_column(
            no_wrap=True,
            justify="left" if left else "right",
            width=column.width_wide if wide else column.width,
        )
    grid.add_row(*(Text(column.name, style=HEADING) for column in _COLUMNS))
    for lane in view.lanes:
        grid.add_row(*_lane(lane, wide=wide))
    return grid


def _lane(lane: Lane, *, wide: bool) -> list[Text]:
    p50, p99, _p999 = lane.latency_ms
    there = "" if lane.clock_ms is None else _instant(lane.clock_ms, dated=wide)
    spark = _COLUMNS[2].width_wide if wide else _COLUMNS[2].width
    return [
        Text(lane.title, style="bold"),
        Text(f"{lane.rate:,.0f}"),
        Text(_sparkline(lane.rates, spark), style=GOOD),
        Text(f"{lane.scored:,}"),
        Text(_number(p50)),
        Text(_number(p99)),
        Text(_number(lane.age_ms)),
        Text(f"{lane.late:,}"),
        Text(f"{lane.dead_letters:,}"),
        _line(there, (f" {_speed(lane.speed)}" if wide and there else "", QUIET)),
    ]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _sparkline(rates: tuple[float, ...], cells: int) -> str:
    shown = rates[-cells:]
    most = max(shown, default=0.0)
    if most <= 0:
        return " " * cells
    steps = (BARS[min(int(rate / most * len(BARS)), len(BARS) - 1)] for rate in shown)
    return "".join(steps).rjust(cells)


def _speed(speed: float) -> str:
    """Return how much time passes there in a second.

    >>> _speed(300.0), _speed(21_600.0)
    ('5 min a second', '6 h a second')
    """
    if speed >= 5_400:
        return f"{speed / 3_600:.3g} h a second"
    return f"{speed / 60:.3g} min a second"


def _instant(ms: int, *, dated: bool = False) -> str:
    pattern = "%a %d %b %H:%M" if dated else "%a %H:%M"
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime(pattern)


def _roads(view: View, width: int, *, truth_rows: bool) -> list[RenderableType]:
    wide = width >= CELLS_WIDE_FROM
    heading = _line(
        ("roads", HEADING),
        (", each cell a sensor, in the direction of travel", QUIET) if wide else "",
    )
    lines: list[RenderableType] = [_two(heading, _legend(wide=wide), width)]
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
    row = _line((f"{corridor.name:<5}", "bold"))
    below = _line("     ")
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


def _alerts(view: View, width: int, many: int) -> list[RenderableType]:
    """Return so many alerts, each pipeline's in places of its own, and empty places."""
    heading = _line(("newest alerts", HEADING), (", why, and what the simulation knows", QUIET))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.width = width
    grid.add_column(no_wrap=True, width=9)
    grid.add_column(no_wrap=True, width=11)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, width=8)
    places = 0
    for number, lane in enumerate(view.lanes):
        places_of_lane = (many + len(view.lanes) - 1 - number) // len(view.lanes)
        own = [alert for alert in view.alerts if alert.lane == lane.title][:places_of_lane]
        for alert in own:
            grid.add_row(*_alert(alert, width - 9 - 11 - 8 - 8))
        for _ in range(places_of_lane - len(own)):
            grid.add_row(*(Text("\n") for _column in range(4)))
        places += places_of_lane
    return [heading, *([grid] if places else [])]


def _alert(alert: ShownAlert, width: int) -> list[Text]:
    mark, style = SEVERITIES.get(alert.severity, ("▲", ""))
    word, verdict_style = VERDICTS[alert.verdict]
    return [
        Text(_instant(alert.time_ms), style=QUIET),
        Text(f"{mark:<2} {alert.severity}", style=style),
        _two_lines(alert.text, width, QUIET if alert.cleared else ""),
        Text(word, style=verdict_style),
    ]


def _two_lines(text: str, width: int, style: str) -> Text:
    """Return a text as exactly two lines, so that nothing on the screen moves up and down."""
    # Values of events are in it; none of them may command the terminal.
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    first, second = text, ""
    if len(text) > width:
        cut = text.rfind(" ", 0, width + 1)
        cut = cut if cut > 0 else width
        first, second = text[:cut], text[cut:].strip()
    if len(second) > width:
        second = second[: width - 1].rstrip() + "…"
    return Text(f"{first}\n{second}", style=style, no_wrap=True, overflow="ellipsis")


def _tally(tally: Tally, width: int) -> list[RenderableType]:
    judged = tally.alerts_right + tally.alerts_wrong
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        grid.add_column(no_wrap=True)
    for name, caught, happened, rest in (
        ("frauds caught", tally.frauds_caught, tally.frauds, ""),
        (
            "incidents caught",
            tally.incidents_caught,
            tally.incidents,
            f"{tally.incidents_undecided} just begun" if tally.incidents_undecided else "",
        ),
        (
            "alerts right",
            tally.alerts_right,
            judged,
            f"{tally.alerts_wrong} false, {tally.alerts_undecided} open",
        ),
    ):
        share = caught / happened if happened else 0.0
        grid.add_row(
            Text(name, style="bold"),
            _bar(share, 24 if width >= CELLS_WIDE_FROM else 16),
            Text(f"{caught:,} of {happened:,}" + (f", {share:.0%}" if happened else "")),
            Text(rest, style=QUIET),
        )
    return [_line(("what was true", HEADING)), grid]
