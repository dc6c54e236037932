"""A supervisor that is asked to replace its processes: one after another, and never by nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.processes import is_gone, wait_until
from support.supervising import supervising


def test_each_is_replaced_after_the_other_by_one_that_begins_when_it_has_ended(
    tmp_path: Path,
) -> None:
    with supervising(tmp_path, "serve") as running:
        running.all_serve(2)
        first = running.starts()
        wait_until(lambda: len(running.turns()) == 2)
        running.process.send_signal(signal.SIGUSR2)
        running.says('"event":"process_replaced"', times=2)
        wait_until(lambda: len(running.turns()) == 6)
        assert sorted(running.turns()[:2]) == ["serves 1", "serves 2"]
        assert running.turns()[2:] == ["ended 1", "serves 1", "ended 2", "serves 2"]
        assert [number for number, _ in running.starts()[2:]] == [1, 2]
        assert all(is_gone(pid) for _, pid in first)
        assert '"process_ended"' not in running.log
        assert running.stop() == 0
        assert all(is_gone(pid) for _, pid in running.starts())


def test_one_that_replaced_another_can_be_replaced(tmp_path: Path) -> None:
    with supervising(tmp_path, "serve", processes=1) as running:
        running.all_serve(1)
        for times in (1, 2):
            running.process.send_signal(signal.SIGUSR2)
            running.says('"event":"process_replaced"', times=times)
        assert [number for number, _ in running.starts()] == [1, 1, 1]
        assert running.stop() == 0


def test_a_replacement_that_cannot_begin_stops_nobody_and_is_told_with_its_fix(
    tmp_path: Path,
) -> None:
    with supervising(tmp_path, "refuse-later") as running:
        running.all_serve(2)
        running.process.send_signal(signal.SIGUSR2)
        running.says('"event":"replacement_failed"')
        assert '"fix":"Mend it."' in running.log
        assert '"not_replaced":[2]' in running.log
        assert [number for number, _ in running.starts()[2:]] == [1]
        assert not any(is_gone(pid) for _, pid in running.starts()[:2])
        assert running.stop() == 0


def test_a_successor_that_ends_before_it_serves_leaves_the_others_alone(tmp_path: Path) -> None:
    with supervising(tmp_path, "serve-not-later") as running:
        running.all_serve(2)
        pids = dict(running.starts())  # either may have begun first
        running.process.send_signal(signal.SIGUSR2)
        running.says('"event":"replacement_failed"')
        # What no restart cures would end all of them, were it not one version among two.
        running.says('"event":"process_started"')
        wait_until(lambda: running.turns().count("serves 1") == 2)
        assert not is_gone(pids[2])
        assert running.turns().count("ended 2") == 0
        assert running.stop() == 0


def test_one_that_is_killed_while_its_successor_prepares_is_started_again(tmp_path: Path) -> None:
    with supervising(tmp_path, "slow-later", processes=1) as running:
        running.all_serve(1)
        running.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: len(running.starts()) == 2)
        os.kill(running.starts()[0][1], signal.SIGKILL)
        running.says('"event":"process_started"')
        wait_until(lambda: running.turns() == ["serves 1", "serves 1"])
        wait_until(lambda: is_gone(running.starts()[1][1]))
        assert '"replacement_failed"' not in running.log
        assert running.stop() == 0


def test_a_stop_ends_the_one_that_prepares_too(tmp_path: Path) -> None:
    with supervising(tmp_path, "slow-later") as running:
        running.all_serve(2)
        running.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: len(running.starts()) == 3)
        assert running.stop() == 0
        assert all(is_gone(pid) for _, pid in running.starts())
        assert '"replacement_failed"' not in running.log
