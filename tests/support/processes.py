"""Wait for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest

PATIENCE_S = 90.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come true within {PATIENCE_S:g} s")
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Say whether the process has ended, collected by its parent or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
