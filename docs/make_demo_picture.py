"""Make docs/images/demo.svg: the real screen of a real run of the demo, after so many seconds.

    python docs/make_demo_picture.py

The picture is the last view of a run as `stream-infer demo` draws it, with the figures that this
run had on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from pathlib import Path

from rich.console import Console

from stream_infer.broker import EmbeddedBroker
from stream_infer.demo.members import worker_processes
from stream_infer.demo.screen import Screen
from stream_infer.demo.session import run_demo
from stream_infer.demo.view import View
from stream_infer.kafka.connection import Connection
from stream_infer.logs import configure_logs

PICTURE = Path(__file__).parent / "images" / "demo.svg"
# As rich's own, but for its web font: a picture must not load anything from elsewhere.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Run the demo and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=26.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=120)
    parser.add_argument("--height", type=int, default=37)
    parser.add_argument("--to", type=Path, default=PICTURE)
    given = parser.parse_args()
    configure_logs(quiet=True)
    live: list[View] = []

    def keep(view: View) -> None:
        if view.phase.startswith("live"):
            live[:] = [view]

    with worker_processes(("fraud", "traffic")) as members, EmbeddedBroker() as broker:
        summary = asyncio.run(
            run_demo(
                Connection(bootstrap=broker.bootstrap),
                members,
                seconds=given.seconds,
                rate=500,
                seed=given.seed,
                show=keep,
                stop=asyncio.Event(),
                check=broker.check,
            )
        )
    if summary.verdict != "proven" or not live:
        sys.exit(f"error: no picture of a run whose audit says {summary.verdict}")
    given.to.parent.mkdir(exist_ok=True)
    given.to.write_text(picture(live[0], given.width, given.height), encoding="utf-8")


def picture(view: View, width: int, height: int) -> str:
    """Return the view as SVG, drawn for a terminal of so many columns and rows."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(Screen(view))
    return console.export_svg(title="stream-infer demo", code_format=SVG, unique_id="demo")


if __name__ == "__main__":
    main()
