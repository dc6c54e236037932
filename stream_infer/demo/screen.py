"""Draw a `View` for a terminal: a pure function from values to something rich can print.

Nothing is told by colour alone: cells carry the letter of their level of service, and marks
stand for words. The colours run from blue over yellow to dark red, in steps of lightness and
of blue against red, which people who see no green tell apart too.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stream_infer.demo.drawn_alerts import ALERT_LINES, draw_alerts
from stream_infer.demo.drawn_roads import draw_roads
from stream_infer.demo.ink import GOOD, HEADING, QUIET, WIDE_FROM, bar, both_ends, instant, line
from stream_infer.demo.view import Lane, Tally, View

BARS = "▁▂▃▄▅▆▇"
"""Without the full block, so that bars of two lines do not touch."""
WIDTH_MAX = 132
TRUTH_ROWS_FROM = 32


def draw(view: View, width: int, height: int) -> RenderableType:
    """Return the screen for a terminal of so many columns and rows; it never has more rows."""
    width = min(width, WIDTH_MAX)
    truth_rows = height >= TRUTH_ROWS_FROM
    airy = height >= TRUTH_ROWS_FROM
    top: list[RenderableType] = [_title(view, width), *_gap(airy=airy), _lanes(view, width)]
    if view.corridors:
        top += [*_gap(airy=airy), *draw_roads(view, width, truth_rows=truth_rows)]
    bottom = [*_gap(airy=airy), *_tally(view.tally, width)]
    used = 1 + (1 + len(view.lanes)) + len(bottom) + 2 * airy
    if view.corridors:
        used += 2 + len(view.corridors) * (1 + truth_rows) + airy
    room = max(0, height - used - 1 - 1)
    return Group(*top, *draw_alerts(view, width, room // ALERT_LINES), *bottom)


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
        for number, segments in enumerate(lines[:height]):
            if number:
                yield Segment.line()
            yield from segments


def _gap(*, airy: bool) -> list[RenderableType]:
    return [Text("")] if airy else []


def _title(view: View, width: int) -> RenderableType:
    where = f"  Apache Kafka at {view.bootstrap}," if width >= WIDE_FROM else " "
    left = line(("stream-infer demo", "bold"), (f"{where} {view.phase}", QUIET))
    done = view.share
    clock = f"{view.elapsed_s:.0f} of {view.seconds:.0f} s" if view.elapsed_s else ""
    right = Text(no_wrap=True)
    if done is not None:
        right.append_text(bar(done, 20))
        right.append(f" {clock or f'{done:.0%}'}")
    return both_ends(left, right, width)


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
    wide = width >= WIDE_FROM
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
    there = "" if lane.clock_ms is None else instant(lane.clock_ms, dated=wide)
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
        line(there, (f" {_speed(lane.speed)}" if wide and there else "", QUIET)),
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
            bar(share, 24 if width >= WIDE_FROM else 16),
            Text(f"{caught:,} of {happened:,}" + (f", {share:.0%}" if happened else "")),
            Text(rest, style=QUIET),
        )
    return [line(("what was true", HEADING)), grid]
