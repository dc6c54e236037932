"""The screen is a pure function of a view; these tests need no terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from stream_infer.demo.judging import Verdict
from stream_infer.demo.lines import plain
from stream_infer.demo.screen import Screen
from stream_infer.demo.view import Cell, Corridor, Lane, ShownAlert, Tally, View

LONG = (
    "Payment of 912.00 at terminal m4711: the amount is 11.2 times this card's usual 81.40; 9"
    " payments of this card within a day, usually 2.0. 31 events so far. And more than fits."
)

VERDICTS: tuple[Verdict | None, ...] = ("right", "wrong", "undecided", None)


def lane(title: str, **changes: Any) -> Lane:
    known = Lane(
        title=title,
        rate=498.4,
        rates=tuple(float(number) for number in range(60)),
        sent=1_234_567,
        scored=1_234_560,
        latency_ms=(8, 31, 160),
        age_ms=22,
        dead_letters=3,
        late=12,
        clock_ms=1_767_225_600_000,
        speed=21_600.0,
    )
    return replace(known, **changes)


def view(**changes: Any) -> View:
    cells = tuple(Cell(level="ABCDEF"[number % 6], share=0.5) for number in range(25))
    known = View(
        phase="live",
        share=0.4,
        elapsed_s=12.0,
        seconds=30.0,
        bootstrap="127.0.0.1:9092",
        lanes=(lane("payments"), lane("roads", speed=300.0)),
        corridors=tuple(
            Corridor(name=f"c{number}", length_km=19.0, cells=cells) for number in range(4)
        ),
        alerts=tuple(
            ShownAlert(
                lane=("payments", "roads")[number % 2],
                time_ms=1_767_225_600_000 + number * 3_600_000,
                kind="card_fraud",
                severity=("critical", "high", "medium", "low")[number % 4],
                text=LONG,
                verdict=VERDICTS[number % 4],
                cleared=number > 2,
            )
            for number in range(12)
        ),
        tally=Tally(frauds=42, frauds_caught=30, incidents=4, incidents_caught=3, alerts_right=9),
    )
    return replace(known, **changes)


def drawn(of: View, width: int = 80, height: int = 24, *, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        height=height,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        highlight=False,
        _environ={},
    )
    console.print(Screen(of), end="")
    return out.getvalue()


SIZES = [(80, 24), (100, 30), (120, 40), (132, 50), (200, 60), (60, 20), (40, 10), (20, 5)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_screen_never_outgrows_the_terminal(width: int, height: int) -> None:
    for of in (view(), view(lanes=(), corridors=(), alerts=(), share=None, elapsed_s=0.0)):
        lines = drawn(of, width, height).split("\n")
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_nothing_moves_up_or_down_when_alerts_come_or_texts_grow(width: int, height: int) -> None:
    def place_of_truth(of: View) -> int:
        lines = drawn(of, width, height).split("\n")
        return next(at for at, line in enumerate(lines) if "what was true" in line)

    short = tuple(replace(each, text="Short.") for each in view().alerts)
    places = {
        place_of_truth(each)
        for each in (view(), view(alerts=()), view(alerts=view().alerts[:2]), view(alerts=short))
    }
    assert len(places) == 1


def test_a_small_terminal_shows_all_parts() -> None:
    text = drawn(view(), 80, 24)
    for part in ("12 of 30 s", "payments", "1,234,560", "c3", "newest alerts", "30 of 42, 71%"):
        assert part in text
    assert text.count("Payment of 912.00") >= 4


def test_times_carry_how_quickly_they_pass() -> None:
    text = drawn(view(), 120, 40)
    assert "6 h a second" in text
    assert "5 min a second" in text


def test_without_colours_every_cell_still_tells_its_level() -> None:
    cells = (
        Cell(level="A", share=1.0),
        Cell(level="F", share=0.1, alert=True),
        Cell(level="E", share=0.3, incident=True),
        Cell(level=None, share=None),
    )
    corridor = Corridor(name="c0", length_km=3.0, cells=cells)
    row = next(
        line for line in drawn(view(corridors=(corridor,))).split("\n") if line.startswith("c0")
    )
    assert row.split() == ["c0", "A", "F!E◆·", "47%", "of", "free", "flow"]


def test_each_level_has_a_colour_of_its_own() -> None:
    cells = tuple(Cell(level=letter, share=0.5) for letter in "ABCDEF")
    text = drawn(view(corridors=(Corridor(name="c0", length_km=3.0, cells=cells),)), colour=True)
    row = next(line for line in text.split("\n") if "c0" in line)
    backgrounds = {part.split("m")[0] for part in row.split("48;2;")[1:]}
    assert len(backgrounds) == 6


@pytest.mark.parametrize(
    ("verdict", "word"), [("right", "✓ true"), ("wrong", "✗ false"), ("undecided", "… open")]
)
def test_what_the_simulation_knows_stands_beside_each_alert(verdict: Verdict, word: str) -> None:
    alert = replace(view().alerts[0], verdict=verdict)
    assert word in drawn(view(alerts=(alert,)))


def test_an_alert_of_the_past_is_not_judged() -> None:
    alert = replace(view().alerts[0], verdict=None)
    lines = drawn(view(alerts=(alert,))).split("\n")
    assert next(line for line in lines if "Payment of" in line).split()[-1] == "past"


def test_a_storm_on_the_roads_leaves_alerts_about_payments_their_places() -> None:
    old = replace(view().alerts[0], lane="payments", text="An old payment.")
    storm = tuple(replace(each, lane="roads", text="A jam.") for each in view().alerts)
    text = drawn(view(alerts=(*storm, old)))
    assert text.count("An old payment.") == 1
    assert text.count("A jam.") == 2


def test_a_text_is_never_taken_for_markup_or_for_commands_to_the_terminal() -> None:
    alert = replace(view().alerts[0], text="[red]Payment[/red] \x1b[2J\x07 of m1")
    text = drawn(view(alerts=(alert,)))
    assert "[red]Payment[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_a_line_says_the_same_where_no_terminal_is() -> None:
    assert plain(view()) == (
        "12 of 30 s: payments 498/s, 1,234,560 scored, p99 31 ms; roads 498/s, 1,234,560 scored,"
        " p99 31 ms; alerts 0; frauds caught 30 of 42; incidents caught 3 of 4"
    )
    assert plain(view(elapsed_s=0.0, phase="scoring the past")) == (
        "scoring the past, 40%: scored 1,234,560 payments, 1,234,560 roads"
    )
