"""Ticks are written by the senders of their partitions; what goes wrong with them is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from stream_infer.dataplane import ticks
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.sender import SENDER_STOPPED
from stream_infer.dataplane.ticks import write_ticks
from stream_infer.errors import BrokerError
from support.dataplane import assigned, senders_on
from support.fake_kafka import FakeSender

LOGS = [Partition("alert-candidates", 0), Partition("alert-candidates", 1)]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeSender], Any]:
    """Return what writes a tick to each log by the sender it is given."""
    monkeypatch.setattr(ticks, "tick_of", lambda task: task)

    def run(sender: FakeSender) -> Any:
        about = assigned(dict.fromkeys(LOGS, 7), lambda *_done: pytest.fail("no input is done"))
        due: Any = {LOGS[0]: None, LOGS[1]: b"tick"}
        return write_ticks(due, senders_on(about, sender))

    return run


async def test_a_tick_goes_to_the_log_that_is_due_one_and_to_no_other(
    write: Callable[[FakeSender], Any],
) -> None:
    sender = FakeSender()
    await write(sender)
    assert sender.delivered == [(LOGS[1], b"tick")]


async def test_a_sender_that_was_stopped_is_no_error(write: Callable[[FakeSender], Any]) -> None:
    sender = FakeSender()
    sender.fails = BrokerError(SENDER_STOPPED, "stopped")
    await write(sender)


async def test_that_writing_is_forbidden_stops_the_worker(
    write: Callable[[FakeSender], Any],
) -> None:
    sender = FakeSender()
    sender.fails = BrokerError("write_forbidden", "may not write")
    with pytest.raises(BrokerError, match="may not write"):
        await write(sender)


async def test_a_tick_that_is_refused_is_logged(write: Callable[[FakeSender], Any]) -> None:
    sender = FakeSender()
    sender.refuses = lambda _topic, _value: True
    with structlog.testing.capture_logs() as logs:
        await write(sender)
    assert [(each["event"], each["cause"]) for each in logs] == [("tick_refused", "TooLarge")]
