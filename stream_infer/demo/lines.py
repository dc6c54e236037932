"""A `View` as one line of text, for where no terminal is. Pure, and without a library."""

from __future__ import annotations

from stream_infer.demo.view import View


def plain(view: View) -> str:
    """Return a view as one line, such as ``12 of 30 s: payments 498/s, p99 18 ms; ...``."""
    if not view.elapsed_s:
        done = "" if view.share is None else f", {view.share:.0%}"
        lanes = ", ".join(f"{lane.scored:,} {lane.title}" for lane in view.lanes)
        return f"{view.phase}{done}: scored {lanes}"
    lanes = "; ".join(
        f"{lane.title} {lane.rate:,.0f}/s, {lane.scored:,} scored"
        + (f", p99 {lane.latency_ms[1]} ms" if lane.latency_ms[1] is not None else "")
        for lane in view.lanes
    )
    tally = view.tally
    return (
        f"{view.elapsed_s:.0f} of {view.seconds:.0f} s: {lanes}; alerts {tally.alerts};"
        f" frauds caught {tally.frauds_caught} of {tally.frauds};"
        f" incidents caught {tally.incidents_caught} of {tally.incidents}"
    )
