"""The newest alerts: when, how grave, why, and what the simulation knows about them."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from stream_infer.demo.ink import BAD, GOOD, HEADING, OPEN, QUIET, instant, line
from stream_infer.demo.judging import Verdict
from stream_infer.demo.view import ShownAlert, View

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
ALERT_LINES = 2


def draw_alerts(view: View, width: int, many: int) -> list[RenderableType]:
    """Return so many alerts, each pipeline's in places of its own, and empty places."""
    heading = line(("newest alerts", HEADING), (", why, and what the simulation knows", QUIET))
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
        Text(instant(alert.time_ms), style=QUIET),
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
