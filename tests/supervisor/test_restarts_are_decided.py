"""How long a supervisor waits before it starts a process again, and what ends mean."""

from __future__ import annotations

import signal
import socket

import pytest

from stream_infer.supervisor.backoff import (
    DELAY_S_MAX,
    FIRST_DELAY_S,
    STABLE_S,
    failures_in_a_row,
    restart_delay_s,
)
from stream_infer.supervisor.endings import crash_of, in_words, is_incurable, stopped_cleanly
from support.commands import run_command


def test_the_delay_doubles_with_each_failure_up_to_a_bound() -> None:
    delays = [restart_delay_s(failures, 1.0) for failures in range(1, 9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, DELAY_S_MAX, DELAY_S_MAX]
    assert restart_delay_s(100_000, 1.0) == DELAY_S_MAX


@pytest.mark.parametrize("draw", [0.0, 0.25, 1.0])
def test_the_draw_moves_the_delay_within_its_upper_half(draw: float) -> None:
    assert restart_delay_s(1, draw) == FIRST_DELAY_S * (0.5 + draw / 2)


def test_a_process_that_lived_long_begins_to_count_anew() -> None:
    assert failures_in_a_row(7, STABLE_S) == 1
    assert failures_in_a_row(7, STABLE_S - 1) == 8
    assert failures_in_a_row(0, 0.1) == 1


def test_only_signals_that_a_process_brings_on_itself_are_crashes() -> None:
    own = [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT]
    assert [crash_of(-number) for number in own] == [number.name for number in own]
    others = [-signal.SIGKILL, -signal.SIGTERM, -signal.SIGXCPU, 0, 1, 137, 139, -64]
    assert [crash_of(status) for status in others] == [None] * len(others)


def test_exit_codes_2_to_5_are_not_cured_by_a_restart() -> None:
    assert [code for code in range(-20, 140) if is_incurable(code)] == [2, 3, 4, 5]


def test_a_process_that_was_stopped_before_it_listened_has_stopped_cleanly() -> None:
    assert stopped_cleanly(0)
    assert stopped_cleanly(-signal.SIGTERM)
    assert not stopped_cleanly(1)
    assert not stopped_cleanly(-signal.SIGKILL)


def test_a_signal_without_a_name_has_a_number() -> None:
    assert in_words(-40) == "signal 40"
    assert in_words(-signal.SIGBUS) == "SIGBUS"


def test_what_only_a_supervisor_gives_is_refused_from_others() -> None:
    ran = run_command("worker", "fraud", "--member", "{}")
    assert ran.code == 2
    assert "only a supervisor gives this option" in ran.err


def test_more_ports_than_there_are_is_one_message() -> None:
    ran = run_command("worker", "fraud", "--processes", 4, "--web-port", 65_533)
    assert ran.code == 2
    assert "no 4 ports from 65533 on" in ran.err


def test_a_port_that_is_taken_is_said_before_any_process_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run_command("worker", "fraud", "--processes", 1, "--web-port", port)
    assert ran.code == 1
    assert f"Port {port} of 127.0.0.1 is taken" in ran.err
