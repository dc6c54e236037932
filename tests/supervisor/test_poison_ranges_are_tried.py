"""Crashes at one range lead to a trial; kills, and crashes at others, do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.processes import wait_until
from support.supervising import Supervising, supervising


def events(running: Supervising, name: str) -> list[dict[str, Any]]:
    """Return the lines of one kind."""
    lines = [json.loads(line) for line in running.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def test_after_two_crashes_the_record_that_kills_is_found_and_condemned(tmp_path: Path) -> None:
    with supervising(tmp_path, "segv-at-7", processes=1) as running:
        running.all_serve(1)
        assert running.steps() == ["probe 5 9 ", "condemn 7 7 SIGSEGV", "probe 5 9 "]
        assert len(running.starts()) == 3
        assert running.stop() == 0
        [first, *_] = events(running, "crashed_at")
        assert (first["source"], first["first"], first["last"]) == ("t-0", 5, 9)
        [poison] = events(running, "poison_record")
        assert (poison["source"], poison["first"], poison["signal"]) == ("t-0", 7, "SIGSEGV")
        [tried] = events(running, "tried")
        assert tried["outcome"] == "poison"


@pytest.mark.parametrize("how", ["killed-at-7", "segv-apart"])
def test_kills_and_crashes_at_other_ranges_are_never_tried(tmp_path: Path, how: str) -> None:
    with supervising(tmp_path, how, processes=1) as running:
        wait_until(lambda: len(running.starts()) >= 4)
        running.stop()  # clean or not: a child may be about to die
        assert running.steps() == []
