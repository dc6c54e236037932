"""A `View` as one line of text, for where no terminal is. Pure, and without a library."""

from __future__ import annotations

from stream_infer.demo.view import View


def plain(view: View) -> str:
    """Return a view as one line, such as ``12 of 30 s: payments 498/s, p99 18 ms; ...``."""
    lanes = "; ".join(
        f"{lane.title} {lane.rate:,.0f}/s, {lane.scored:,} scored"
        + (f", p99 {lane.latency_ms[1]} ms" if lane.latency_ms[1] is not None else "")
        for lane in view.lanes
    )
    tally = view.tally
    where = f"{view.elapsed_s:.0f} of {view.seconds:.0f} s" if view.elapsed_s else view.phase
    return (
        f"{where}: {lanes}; alerts {tally.alerts}; frauds caught {tally.frauds_caught} of"
        f" {tally.frauds}; incidents caught {tally.incidents_caught} of {tally.incidents}"
    )
