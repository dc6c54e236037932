"""The drawn screen on a real terminal: an alternate screen, redrawn as a whole, no flicker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from stream_infer.demo.screen import Screen, draw
from stream_infer.demo.view import View


class TerminalScreen:
    """Shows views on the terminal of stderr, and leaves the last one there at the end."""

    def __init__(self) -> None:
        # NO_COLOR, the terminal's colours and its size are rich's to find out.
        self.console = Console(stderr=True, highlight=False)
        self.live = Live(
            "", console=self.console, screen=True, auto_refresh=False, vertical_overflow="crop"
        )
        self.last: View | None = None

    def show(self, view: View) -> None:
        """Draw the view."""
        self.last = view
        self.live.update(Screen(view), refresh=True)


@contextmanager
def screen_on_terminal() -> Iterator[TerminalScreen]:
    """Take the terminal's alternate screen; give it back however the block ends."""
    screen = TerminalScreen()
    try:
        with screen.live:
            yield screen
    finally:
        if screen.last is not None:
            size = screen.console.size
            screen.console.print(draw(screen.last, size.width, size.height))
