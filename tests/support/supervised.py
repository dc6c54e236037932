"""A program in place of ``stream-infer``, so that a supervisor can be tested without Kafka.

    python supervised.py worker --member WORD HOW FOLDER

Each start is noted as a line ``number pid`` in ``FOLDER/starts``, and in ``FOLDER/turns`` each time
that one begins to serve or has ended: ``serves number`` or ``ended number``. HOW says what it does:

    serve       waits for SIGTERM and ends well
    stubborn    lets SIGTERM pass
    talk        says two lines, one of them JSON, and serves
    refuse      leaves the error of a wrong declaration and ends with 2
    refuse-later
                serves at first; one that shall replace it refuses
    slow-later  serves at first; one that shall replace it never gets as far
    serve-not-later
                serves at first; one that replaces it refuses after it took over
    fail-once   the first start ends with 1, later ones serve
    segv-at-7   works on offsets 5..9 of t-0; dies by SIGSEGV when it comes to 7, unless the file
                ``FOLDER/skipped`` is there; a probe takes the offsets one by one
    segv-apart  dies by SIGSEGV, at other offsets each time
    killed-at-7 as segv-at-7, by SIGKILL
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from stream_infer.dataplane.at_work import slot_of
from stream_infer.errors import ConfigError
from stream_infer.supervisor.gate import GO, PREPARED, SERVING, Gate
from stream_infer.supervisor.member import Member

PROGRAM = (sys.executable, __file__)


def main(word: str, how: str, folder: Path) -> int:
    """Be the child that was asked for."""
    member = Member.from_word(word)
    member.begin()
    if member.step is not None:
        return _do_step(member, folder)
    with (folder / "starts").open("a") as file:
        file.write(f"{member.number} {os.getpid()}\n")
    starts = len((folder / "starts").read_text().splitlines())
    gate = None if member.gate is None else Gate.inherited(member.gate)
    if how == "refuse" or (gate is not None and not _took_over(gate, how)):
        return _refuse(member)
    if how == "fail-once" and starts == 1:
        return 1
    if how in ("segv-at-7", "killed-at-7") and not (folder / "skipped").exists():
        slot_of("stage", "t").begin([(0, 5, 9), (1, 100 * starts, 100 * starts + 9)])
        _die(signal.SIGSEGV if how == "segv-at-7" else signal.SIGKILL)
    if how == "segv-apart":
        slot_of("stage", "t").begin([(0, 10 * starts, 10 * starts + 9)])
        _die(signal.SIGSEGV)
    if how == "talk":
        sys.stderr.write('plain\n{"event":"a line"}\n')
        sys.stderr.flush()
    _note(folder, f"serves {member.number}")
    _serve(stubborn=how == "stubborn", ready=folder / f"ready-{member.number}")
    _note(folder, f"ended {member.number}")
    return 0


def _took_over(gate: Gate, how: str) -> bool:
    if how == "refuse-later":
        return False
    if how == "slow-later":
        time.sleep(60)
    gate.say(PREPARED)
    if not gate.wait_for(GO) or how == "serve-not-later":
        return False
    gate.say(SERVING)
    return True


def _refuse(member: Member) -> int:
    error = ConfigError("bad_declaration", "The declaration is wrong.", "Mend it.", line=3)
    member.leave_error(error)
    return error.exit_code


def _note(folder: Path, turn: str) -> None:
    with (folder / "turns").open("a") as file:
        file.write(f"{turn}\n")


def _do_step(member: Member, folder: Path) -> int:
    step = member.step
    assert step is not None
    with (folder / "steps").open("a") as file:
        file.write(f"{step.task} {step.span.first} {step.span.last} {step.signal}\n")
    if step.task == "condemn":
        (folder / "skipped").touch()
        return 0
    slot = slot_of("stage", step.span.topic)
    for offset in range(step.span.first, step.span.last + 1):
        slot.begin([(step.span.partition, offset, offset)])
        if offset == 7 and not (folder / "skipped").exists():
            _die(signal.SIGSEGV)
        slot.end()
    return 0


def _serve(*, stubborn: bool, ready: Path) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: None if stubborn else ended.append(number))
    ready.touch()
    while not ended:
        time.sleep(0.02)


def _die(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[3], sys.argv[4], Path(sys.argv[5])))
