"""An event loop whose time passes at once: where all wait, its clock goes to the next timer.

A run takes as long as its work, whatever its time-outs are, and the same seed gives the same run.
A loop in which everybody waits and no timer is set would wait for ever: that is an error here.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import selectors
from collections.abc import Coroutine
from typing import Any

TURNS_MAX = 100_000
"""Turns of the loop in which no time passes: somebody looks again and again without a pause."""

OWNER: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="script")
"""Whose task it is; those that it begins are the same owner's."""


class NothingWillHappenError(AssertionError):
    """Every task waits for another one, or goes round in circles."""


class OwnedTask(asyncio.Task[Any]):
    """A task that knows its owner, and stands in sets in the order in which it was made."""

    _numbers = itertools.count()

    def __init__(self, coroutine: Any, **options: Any) -> None:
        self.number = next(self._numbers)
        self.owner = OWNER.get()
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise NothingWillHappenError
        self._turns = 0 if timeout > 0 else self._turns + 1
        if self._turns > TURNS_MAX:
            raise NothingWillHappenError(f"the loop turned {TURNS_MAX} times at {self.now_s}")
        self.now_s += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; nothing may be asked of a socket or another thread in it."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Return the virtual time."""
        return self._virtual.now_s

    def run_in_executor(  # type: ignore[override] # the arguments are not looked at
        self, _executor: Any, function: Any, *arguments: Any
    ) -> Any:
        """Run at once what is meant for another thread, and let it take a moment."""
        result: asyncio.Future[Any] = self.create_future()

        def run_now() -> None:
            if result.cancelled():
                return
            try:
                result.set_result(function(*arguments))
            except Exception as error:  # noqa: BLE001 - handed to whoever waits
                result.set_exception(error)

        self.call_later(0.001, run_now)
        return result


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> OwnedTask:
    return OwnedTask(coroutine, loop=loop, **options)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in virtual time."""
    OwnedTask._numbers = itertools.count()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)


async def turns(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
