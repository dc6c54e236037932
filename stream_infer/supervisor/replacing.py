"""Replaces processes one after the other, each by one that has loaded all before it is needed.

    waiting ──▶ preparing ──▶ stopping ──old one ended──▶ taking over ──it serves──▶ the next
                    │ ended: the old one goes on, and so do all that wait

So the pause of a partition is a clean stop and a join, without the second or more that a process
takes to load its libraries; and a version or a configuration that cannot be loaded stops nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from stream_infer.supervisor.child import Child
from stream_infer.supervisor.endings import crash_of, in_words
from stream_infer.supervisor.gate import GO, PREPARED, SERVING

log = structlog.get_logger("stream_infer.supervisor")


@dataclass(slots=True)
class _Replacement:
    """One that is being made.

    stopped_s  when the old one was told to stop
    """

    number: int
    child: Child
    stage: Literal["preparing", "stopping", "taking over", "unwanted"] = "preparing"
    stopped_s: float = 0.0


class Replacing:
    """Owns which processes are still to be replaced, and a replacement until it takes over.

    start       starts a replacement of a process, which waits at its gate
    stop_s_max  seconds until one that was told to stop is killed
    """

    def __init__(self, start: Callable[[int], Child], *, stop_s_max: float) -> None:
        self._start = start
        self._stop_s_max = stop_s_max
        self._waiting: list[int] = []
        self._now: _Replacement | None = None

    @property
    def fresh(self) -> Child | None:
        """The replacement that has not taken over yet."""
        now = self._now
        return None if now is None or now.stage == "taking over" else now.child

    @property
    def gate(self) -> int | None:
        """Descriptor at which something may be heard."""
        now = self._now
        return None if now is None or now.child.gate is None else now.child.gate.fileno()

    def ask(self, numbers: Iterable[int]) -> None:
        """Have these processes replaced, after those that wait already."""
        self._waiting += [number for number in numbers if number not in self._waiting]
        log.info("replacing", processes=self._waiting)

    def turn(self, running: Mapping[int, Child]) -> None:
        """Go on as far as it goes now.

        running  the children in their places
        """
        now = self._now
        if now is None:
            self._begin(running)
            return
        gate = now.child.gate
        if now.stage == "preparing" and gate is not None and gate.has_said(PREPARED):
            now.stage, now.stopped_s = "stopping", time.monotonic()
            running[now.number].send(signal.SIGTERM)
        elif now.stage == "stopping" and time.monotonic() - now.stopped_s > self._stop_s_max:
            log.warning("stop_timed_out", seconds=self._stop_s_max, processes=[now.number])
            running[now.number].send(signal.SIGKILL)
        elif now.stage == "taking over" and gate is not None and gate.has_said(SERVING):
            pause_s = time.monotonic() - now.stopped_s
            log.info(
                "process_replaced", process=now.number, pid=now.child.pid, pause_s=round(pause_s, 2)
            )
            self._now = None

    def _begin(self, running: Mapping[int, Child]) -> None:
        while self._waiting and self._now is None:
            number = self._waiting.pop(0)
            # One that is about to be started again begins with what there is to load then.
            if number in running:
                self._now = _Replacement(number, self._start(number))

    def successor(self, number: int, status: int) -> Child | None:
        """Return who takes the place of a process that has ended, None for nobody.

        A crash is looked into before anybody goes on at its record.
        """
        now = self._now
        if now is None or now.number != number:
            return None
        if now.stage == "stopping" and crash_of(status) is None:
            now.stage = "taking over"
            if now.child.gate is not None:
                now.child.gate.say(GO)
            return now.child
        if now.stage == "taking over":
            self._give_up(now, status)
        else:
            # It ended by itself, and what is started in its place is as new.
            self._drop(now)
        return None

    def stop(self) -> None:
        """End: all processes are told to stop."""
        self._waiting.clear()
        if self._now is not None and self._now.stage != "taking over":
            self._drop(self._now)

    def fresh_ended(self, status: int) -> None:
        """Take note that a replacement ended before it took over."""
        now = self._now
        if now is None:
            return
        if now.stage == "unwanted":
            self._now = None
        else:
            self._give_up(now, status)

    def _drop(self, now: _Replacement) -> None:
        now.stage = "unwanted"
        now.child.send(signal.SIGKILL)

    def _give_up(self, now: _Replacement, status: int) -> None:
        self._now = None
        told = now.child.error() or {}
        log.error(
            "replacement_failed",
            process=now.number,
            how=in_words(status),
            not_replaced=[*self._waiting],
            **{key: told[key] for key in ("code", "message", "fix") if told.get(key)},
        )
        self._waiting.clear()
