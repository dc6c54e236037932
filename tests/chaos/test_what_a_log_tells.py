"""Which tracebacks in a worker's log make a run red."""

from __future__ import annotations

from chaos.workers import has_traceback

RETRIEVED = "[error] Future exception was never retrieved\\nfuture: <Future finished exception={}>"
TRACEBACK = "\nTraceback (most recent call last):\n  File ..."


def test_a_log_without_a_traceback_tells_of_no_fault() -> None:
    assert not has_traceback("")
    assert not has_traceback("reading from 127.0.0.1:9092\n[info] assigned")


def test_a_cut_connection_is_no_fault() -> None:
    assert not has_traceback(RETRIEVED.format("ConnectionResetError(104, '')") + TRACEBACK)


def test_any_other_traceback_is_a_fault() -> None:
    assert has_traceback(RETRIEVED.format("ProducerFenced()") + TRACEBACK)
    assert has_traceback("[error] ConnectionResetError" + TRACEBACK)
    assert has_traceback(TRACEBACK)
    cut = RETRIEVED.format("ConnectionResetError(104, '')") + TRACEBACK
    assert has_traceback(cut + "\n[error] Exception in callback" + TRACEBACK)
