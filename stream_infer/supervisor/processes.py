"""The supervisor: starts worker processes, starts again what ended, stops them all.

    running ──ended──▶ waiting (back-off) ──▶ running ──asked to──▶ replaced (`replacing`)
       │ └──crashed at a suspect range──▶ held until its trial is over ──▶ running
       └──ended with an error that no restart cures──▶ all are stopped, the error is raised

One thread, one loop: it sleeps until a child says or ends something, a signal comes or a time
is due. It knows of no record and no Kafka; a throw-away child finds and condemns records.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from stream_infer.dataplane.at_work import Span
from stream_infer.errors import StreamInferError
from stream_infer.supervisor.backoff import failures_in_a_row, restart_delay_s
from stream_infer.supervisor.child import Child
from stream_infer.supervisor.endings import (
    crash_of,
    in_words,
    is_incurable,
    stopped_cleanly,
    told_error,
)
from stream_infer.supervisor.ledger import CrashLedger, overlap
from stream_infer.supervisor.member import Member, WebPort
from stream_infer.supervisor.ports import web_url
from stream_infer.supervisor.replacing import Replacing
from stream_infer.supervisor.trial import Trial

log = structlog.get_logger("stream_infer.supervisor")

PROGRAM: tuple[str, ...] = (sys.executable, "-c", "from stream_infer.cli import main; main()")
STOP_S_MAX = 30.0
"""A worker gives itself 10 s to drain, 10 s to commit and 10 s to leave its group."""
WAIT_S_MAX = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REPLACE_SIGNAL = signal.SIGUSR2
INTERRUPTED = 130


@dataclass(slots=True)
class _Place:
    """One of the processes that there shall be.

    failures  in a row
    due_s     when it is to be started again; None while it runs, or waits for a trial
    crashed   what it had in work when it crashed, until that is settled
    starts    of processes so far
    replaced  whether it was asked to be another's successor: then an error that no restart cures
              is not one of all processes
    """

    number: int
    web_port: WebPort
    starts: int = 0
    replaced: bool = False
    child: Child | None = None
    failures: int = 0
    due_s: float | None = None
    crashed: tuple[Span, ...] = ()


class Processes:
    """Owns the children, which of them run, and what is known of their crashes.

    words      of the command line of ``stream-infer worker``, as the user gave them
    web_ports  of each process; so many are started
    web_host   where they listen, for the line that names them
    program    how ``stream-infer`` is called
    """

    def __init__(
        self,
        words: Sequence[str],
        web_ports: Sequence[WebPort],
        *,
        web_host: str = "127.0.0.1",
        program: Sequence[str] | None = None,
    ) -> None:
        self._words = list(words)
        self._program = tuple(program or PROGRAM)
        self._web_host = web_host
        self._places = [_Place(number, port) for number, port in enumerate(web_ports, 1)]
        self._ledger = CrashLedger()
        self._trials: list[Trial] = []
        self._trial_child: Child | None = None
        self._replacing = Replacing(self._start_waiting, stop_s_max=STOP_S_MAX)
        self._is_replacing_asked = False
        self._signals: list[int] = []
        self._stop_by_s: float | None = None
        self._killed = False
        self._failure: StreamInferError | None = None
        self._unclean: list[int] = []

    def run(self) -> int:
        """Run until a signal stops them all; return the exit code.

        Returns  0 when all stopped cleanly, 1 when one did not, 130 when a second signal came
        Raises   the error of a child that a restart would end in as well
        """
        with tempfile.TemporaryDirectory(prefix="stream-infer-") as folder, self._listening():
            leash, end = os.pipe()
            try:
                self._folder, self._leash = Path(folder), leash
                for place in self._places:
                    self._start(place)
                self._tell_all()
                while not self._is_over():
                    self._turn()
            finally:
                self._kill_all()
                os.close(leash)
                os.close(end)
        if self._failure is not None:
            raise self._failure
        if len(self._signals) > 1:
            return INTERRUPTED
        log.info("processes_stopped", processes=len(self._places), unclean=self._unclean)
        return 1 if self._unclean else 0

    # -- the loop ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Have signals noted, and wake the loop; afterwards all is as it was before."""
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        before: dict[int, Any] = {}
        for number in (*STOP_SIGNALS, REPLACE_SIGNAL, signal.SIGCHLD):
            if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGCHLD:
                continue  # nohup, for one
            before[number] = signal.signal(number, self._note_signal)
        wakeup_before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._wake = wake
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for known, handler in before.items():
                signal.signal(known, handler)
            os.close(wake)
            os.close(woken)

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == REPLACE_SIGNAL:
            self._is_replacing_asked = True
        elif number != signal.SIGCHLD:
            self._signals.append(number)

    def _turn(self) -> None:
        self._wait()
        for child in self._children():
            _say(child.lines())
        if self._signals and self._stop_by_s is None:
            log.info("stopping", signal=in_words(-self._signals[0]))
            self._stop_all()
        self._kill_overdue()
        self._reap()
        if self._stop_by_s is None:
            self._start_due()
            self._replace()

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for child in self._children():
                selector.register(child.pipe, selectors.EVENT_READ)
            if self._replacing.gate is not None:
                selector.register(self._replacing.gate, selectors.EVENT_READ)
            times = [place.due_s for place in self._places if place.due_s is not None]
            times += [] if self._stop_by_s is None or self._killed else [self._stop_by_s]
            wait_s = min([WAIT_S_MAX, *(due - time.monotonic() for due in times)])
            selector.select(max(0.0, wait_s))
        with contextlib.suppress(BlockingIOError):  # it was not a signal that woke us
            os.read(self._wake, 4096)

    def _children(self) -> list[Child]:
        running = [place.child for place in self._places]
        others = (self._replacing.fresh, self._trial_child)
        return [child for child in (*running, *others) if child is not None]

    def _is_over(self) -> bool:
        return self._stop_by_s is not None and not self._children()

    # -- starts -----------------------------------------------------------------------------

    def _start(self, place: _Place) -> None:
        place.due_s, place.crashed = None, ()
        place.child = Child(self._member(place), self._program, self._words)

    def _start_waiting(self, number: int) -> Child:
        place = next(place for place in self._places if place.number == number)
        return Child(self._member(place), self._program, self._words, waits=True)

    def _member(self, place: _Place) -> Member:
        place.starts += 1
        return Member(
            number=place.number,
            folder=self._folder,
            leash=self._leash,
            web_port=place.web_port,
            start=place.starts,
        )

    def _replace(self) -> None:
        if self._is_replacing_asked:
            self._is_replacing_asked = False
            self._replacing.ask(place.number for place in self._places)
        running = {place.number: place.child for place in self._places if place.child is not None}
        self._replacing.turn(running)

    def _tell_all(self) -> None:
        facts = {
            place.number: {
                "pid": place.child.pid if place.child else None,
                "web": web_url(self._web_host, place.web_port),
            }
            for place in self._places
        }
        log.info("processes", running=len(self._children()), each=facts)

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.due_s is not None and place.due_s <= now:
                self._start(place)
                pid = place.child.pid if place.child else None
                log.info("process_started", process=place.number, pid=pid)
        if self._trials and self._trial_child is None:
            self._start_step(self._trials[0])

    def _start_step(self, trial: Trial) -> None:
        step = trial.step
        if step is None:
            return
        log.info("trying", task=step.task, **_place_of(step.span))
        member = Member(number=0, folder=self._folder, leash=self._leash, step=step)
        self._trial_child = Child(member, self._program, self._words)

    # -- ends -------------------------------------------------------------------------------

    def _reap(self) -> None:
        for place in self._places:
            child = place.child
            status = None if child is None else child.poll()
            if child is None or status is None:
                continue
            place.child = None
            _say(child.lines(last=True))
            self._ended(place, child, status)
            child.close()
        child = self._replacing.fresh
        if child is not None and (status := child.poll()) is not None:
            _say(child.lines(last=True))
            self._replacing.fresh_ended(status)
            child.close()
        child = self._trial_child
        if child is not None and (status := child.poll()) is not None:
            self._trial_child = None
            _say(child.lines(last=True))
            if self._stop_by_s is None:
                self._after_step(self._trials[0], child, status)
            child.close()

    def _ended(self, place: _Place, child: Child, status: int) -> None:
        """Decide what becomes of a process that ended."""
        if self._stop_by_s is not None:
            if not stopped_cleanly(status):
                self._unclean.append(place.number)
            return
        place.child = self._replacing.successor(place.number, status)
        if place.child is not None:
            place.failures, place.replaced = 0, True
            return
        if is_incurable(status) and not place.replaced:
            self._failure = told_error(status, child.error(), place.number)
            self._stop_all()
            return
        lived_s = time.monotonic() - child.started_s
        # One that was told to stop, by somebody else, has not failed.
        place.failures = failures_in_a_row(place.failures, lived_s) if status else 0
        delay_s = restart_delay_s(place.failures, random.random()) if status else 0.0  # noqa: S311
        place.due_s = time.monotonic() + delay_s
        told = child.error() or {}
        log.warning(
            "process_ended",
            process=place.number,
            pid=child.pid,
            how=in_words(status),
            again_in_s=round(delay_s, 2),
            **{key: told[key] for key in ("code", "message", "fix") if told.get(key)},
        )
        if crash_of(status) is not None:
            self._crashed(place, child.spans())

    # -- crashes ----------------------------------------------------------------------------

    def _crashed(self, place: _Place, spans: list[Span]) -> None:
        """Note a crash; hold the process back while what it had in work is suspect."""
        for span in spans:
            log.warning("crashed_at", process=place.number, **_place_of(span))
        place.crashed = tuple(spans)
        suspects = self._ledger.note(spans)
        tried = [trial.suspect for trial in self._trials]
        fresh = [each for each in suspects if not any(overlap(each, other) for other in tried)]
        self._trials += [Trial(span) for span in fresh]
        if any(overlap(span, trial.suspect) for span in spans for trial in self._trials):
            place.due_s = None  # it would only crash again

    def _after_step(self, trial: Trial, child: Child, status: int) -> None:
        if trial.step is not None and trial.step.task == "condemn" and status == 0:
            log.error(
                "poison_record",
                signal=trial.step.signal,
                dead_letter="poison",
                **_place_of(trial.step.span),
            )
        trial.ended(status, child.spans())
        if trial.outcome is None:
            return
        told = child.error() or {}
        log.info(
            "tried",
            outcome=trial.outcome,
            poison=len(trial.poison),
            cause=told.get("message") or trial.cause,
            **_place_of(trial.suspect),
        )
        self._settle(trial)

    def _settle(self, trial: Trial) -> None:
        """End a trial, and let those go on that waited for it."""
        self._trials.remove(trial)
        if trial.outcome != "failed":
            self._ledger.forget([trial.suspect])
        if trial.outcome == "poison":
            # What was in work beside a poison record is suspect no more.
            others = [span for place in self._places for span in place.crashed]
            self._ledger.forget(others)
            self._trials = [
                each for each in self._trials if not any(overlap(each.suspect, s) for s in others)
            ]
        now = time.monotonic()
        waits = [trial.suspect for trial in self._trials]
        for place in self._places:
            held = place.child is None and place.due_s is None
            if held and not any(overlap(a, b) for a in place.crashed for b in waits):
                known = trial.outcome == "poison"
                place.failures = 0 if known else place.failures
                delay_s = 0.0 if known else restart_delay_s(place.failures, random.random())  # noqa: S311
                place.due_s = now + delay_s

    # -- the end ----------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Tell all to stop; a trial is broken off, and loses nothing by it."""
        self._stop_by_s = time.monotonic() + STOP_S_MAX
        for place in self._places:
            place.due_s = None
            if place.child is not None:
                place.child.send(signal.SIGTERM)
        self._replacing.stop()
        if self._trial_child is not None:
            self._trial_child.send(signal.SIGKILL)

    def _kill_overdue(self) -> None:
        """Kill what has not stopped in time, or when a second signal came."""
        if self._stop_by_s is None or self._killed:
            return
        late = time.monotonic() >= self._stop_by_s
        if late:
            running = [place.number for place in self._places if place.child is not None]
            log.warning("stop_timed_out", seconds=STOP_S_MAX, processes=running)
        if late or len(self._signals) > 1:
            self._killed = True
            self._kill_all()

    def _kill_all(self) -> None:
        for child in self._children():
            child.send(signal.SIGKILL)


def _place_of(span: Span) -> dict[str, Any]:
    return {
        "stage": span.stage,
        "source": f"{span.topic}-{span.partition}",
        "first": span.first,
        "last": span.last,
    }


def _say(lines: Sequence[bytes]) -> None:
    if lines:
        sys.stderr.buffer.write(b"".join(line + b"\n" for line in lines))
        sys.stderr.buffer.flush()
