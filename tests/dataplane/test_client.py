"""The client on the loop of the stages: what is called, and what is asked for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream_infer.dataplane import client
from stream_infer.dataplane.beat import Fed
from stream_infer.dataplane.client import BatchClient, _polling, tasks_of
from stream_infer.dataplane.handing_on import HandingOn


async def test_a_call_goes_on_when_its_caller_is_cancelled() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def commit() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    calling = asyncio.create_task(BatchClient.call_thread(cast("Any", None), commit))
    await begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    go_on.set()
    async with asyncio.timeout(10):
        await done.wait()


async def test_what_answers_at_once_needs_no_task() -> None:
    assert await BatchClient.call_thread(cast("Any", None), max, 1, 2) == 2


def test_one_who_asks_no_more_is_slow_from_then_on() -> None:
    """By aiokafka's own way one that was cancelled would pass for asking for ever."""
    subscriptions = SimpleNamespace(_fetch_count=0, _last_fetch_ended=0.0)

    def be_cancelled() -> None:
        with _polling(subscriptions):
            assert subscriptions._fetch_count == 1
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        be_cancelled()
    assert subscriptions._fetch_count == 0
    assert subscriptions._last_fetch_ended > 0


async def test_no_task_of_a_client_that_cannot_leave_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A heartbeat that goes on would keep a member in the group that does nothing."""
    monkeypatch.setattr(client, "LEAVE_SECONDS_MAX", 0.01)
    loop = asyncio.get_running_loop()
    beating, fetching = (loop.create_task(asyncio.Event().wait()) for _ in range(2))
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    fed = Fed()
    plane = SimpleNamespace(fed=fed, handing_on=HandingOn(fed))
    leaving = object.__new__(BatchClient)
    leaving.consumer = cast("Any", SimpleNamespace(plane=plane))
    leaving._consumer = SimpleNamespace(
        stop=asyncio.Event().wait,
        _coordinator=SimpleNamespace(_heartbeat_task=beating),
        _fetcher=SimpleNamespace(_fetch_task=fetching, _pending_tasks=set()),
        _client=SimpleNamespace(close=close),
    )
    await leaving.on_thread_stop()
    assert beating.cancelled()
    assert fetching.cancelled()
    assert closed.is_set()


def test_one_that_never_came_up_has_no_tasks() -> None:
    assert tasks_of(SimpleNamespace(_coordinator=None, _fetcher=None)) == []
