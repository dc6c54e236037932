"""Pictures of a report as SVG: lines, points and bars, readable without colour.

Plain text of a few kilobytes, so that a report is one file that any browser shows and that a diff
can compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 28, 40
INKS = ("#1b4f72", "#b9770e", "#7b7d7d", "#922b21")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """Points that are joined, in order of x; `marks` shows each as a dot."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: bool = False


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_name: str,
    y_name: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Return a chart of lines with a legend; ranges come from the points unless given."""
    points = [point for line in lines for point in line.points]
    x_low, x_high = x_range or _range([x for x, _ in points])
    y_low, y_high = y_range or _range([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        up = (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    drawn = [*_frame(title, x_name, y_name)]
    for step in range(TICKS):
        share = step / (TICKS - 1)
        x, y = place(x_low + share * (x_high - x_low), y_low + share * (y_high - y_low))
        drawn.append(_text(x, HEIGHT - BOTTOM + 14, _number(x_low + share * (x_high - x_low))))
        drawn.append(_text(LEFT - 6, y + 4, _number(y_low + share * (y_high - y_low)), "end"))
    for at, line in enumerate(lines):
        ink, dash = INKS[at % len(INKS)], DASHES[at % len(DASHES)]
        path = " ".join("{},{}".format(*place(x, y)) for x, y in line.points)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.8" '
            f'stroke-dasharray="{dash}"/>'
        )
        if line.marks:
            drawn += [
                '<circle cx="{}" cy="{}" r="3" fill="{}"/>'.format(*place(x, y), ink)
                for x, y in line.points
            ]
        y = TOP + 12 + 15 * at
        drawn.append(
            f'<line x1="{WIDTH - 150}" x2="{WIDTH - 126}" y1="{y - 4}" y2="{y - 4}" '
            f'stroke="{ink}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
        )
        drawn.append(_text(WIDTH - 120, y, line.name, "start"))
    return _svg(drawn, HEIGHT)


def bar_chart(title: str, bars: Sequence[tuple[str, float]], unit: str) -> str:
    """Return horizontal bars with their names and values, in the order given."""
    row, left = 18, 250
    height = TOP + row * len(bars) + 14
    longest = max((abs(value) for _, value in bars), default=0.0) or 1.0
    drawn = [_text(8, 18, title, "start", "bold")]
    for at, (name, value) in enumerate(bars):
        y = TOP + row * at
        width = max(0.0, value) / longest * (WIDTH - left - 60)
        drawn.append(_text(left - 6, y + 12, name, "end"))
        drawn.append(
            f'<rect x="{left}" y="{y + 2}" width="{width:.1f}" height="{row - 5}" '
            f'fill="{INKS[0]}"/>'
        )
        drawn.append(_text(left + width + 4, y + 12, f"{_number(value)}{unit}", "start"))
    return _svg(drawn, height)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _text(x: float, y: float, text: str, anchor: str = "middle", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _frame(title: str, x_name: str, y_name: str) -> list[str]:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    return [
        _text(8, 18, title, "start", "bold"),
        (
            f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
            f'height="{HEIGHT - TOP - BOTTOM}" fill="none" stroke="#999"/>'
        ),
        _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8, x_name),
        f'<g transform="rotate(-90 12 {middle})">{_text(12, middle, y_name)}</g>',
    ]


def _svg(drawn: Sequence[str], height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" font-family="sans-serif" role="img">' + "".join(drawn) + "</svg>"
    )


@dataclass(frozen=True, slots=True)
class Point:
    """A named point; `joined` ones are joined by a line, by rising x."""

    name: str
    x: float
    y: float
    joined: bool = False


def point_chart(title: str, points: Sequence[Point], x_name: str, y_name: str) -> str:
    """Return a chart of named points whose x, above 0, is drawn by its logarithm."""
    low, high = _widened([math.log10(point.x) for point in points])
    bottom, top = _widened([point.y for point in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        up = (y - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    drawn = [*_frame(title, x_name, y_name)]
    for step in range(TICKS):
        share = step / (TICKS - 1)
        x, y = 10 ** (low + share * (high - low)), bottom + share * (top - bottom)
        across, up = place(x, y)
        drawn.append(_text(across, HEIGHT - BOTTOM + 14, _short(x)))
        drawn.append(_text(LEFT - 6, up + 4, _number(y), "end"))
    joined = sorted((point for point in points if point.joined), key=lambda point: point.x)
    path = " ".join("{},{}".format(*place(point.x, point.y)) for point in joined)
    drawn.append(f'<polyline points="{path}" fill="none" stroke="{INKS[0]}" stroke-width="1.2"/>')
    for at, point in enumerate(points):
        x, y = place(point.x, point.y)
        fill = INKS[0] if point.joined else "none"
        drawn.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{fill}" stroke="{INKS[0]}"/>')
        # Numbers, since names of points that lie close would cover each other.
        drawn.append(_text(x + 6, y - 5, str(at), "start"))
    return _svg(drawn, HEIGHT)


def _widened(values: Sequence[float]) -> tuple[float, float]:
    low, high = _range(values)
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def _short(value: float) -> str:
    return f"{value / 1e6:.2g} M" if value >= 1e6 else f"{value / 1e3:.3g} k"
