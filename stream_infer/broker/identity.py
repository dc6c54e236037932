"""Tell one process from a later one with the same pid.

A pid alone may come to mean another process, after a reboot for certain. With the moment
of the process's start it is unique. Linux: ``/proc/PID/stat`` field 22, clock ticks since
boot, with the boot's id. Elsewhere: what ``ps -o lstart`` prints, to the second.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def started_at(pid: int) -> str | None:
    """Return a text that names the process's start, None when no such process runs.

    A process that has ended and was not yet collected by its parent does not run.
    """
    if _BOOT_ID.exists():
        return _started_at_linux(pid)
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    state, _, moment = result.stdout.strip().partition(" ")
    return moment.strip() or None if not state.startswith("Z") else None


def _started_at_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2 is the command in parentheses and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return f"{_BOOT_ID.read_text().strip()}:{fields[19]}"


def terminate(pid: int, moment: str) -> bool:
    """Send SIGTERM to the process that started at `moment`; say whether it was there.

    On Linux the signal goes through a descriptor of the process, taken before its start is
    looked at, so that no other process can be hit however pids are reused in between.
    """
    if not hasattr(os, "pidfd_open"):
        return started_at(pid) == moment and _signalled(pid)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if started_at(pid) != moment:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _signalled(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True
