"""What a process has in work stands in its record when it dies, and nothing else does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stream_infer.dataplane.at_work import (
    RANGES_MAX,
    SLOTS,
    AtWork,
    Span,
    WorkSlot,
    create,
    read_spans,
    slot_of,
)
from stream_infer.dataplane.skips import without_skipped
from stream_infer.records.run import Record, RecordRun

DIES_AT_WORK = """
import os, signal, sys
from pathlib import Path
from stream_infer.dataplane.at_work import note_into, slot_of
note_into(Path(sys.argv[1]))
done, now = slot_of("rekey", "input"), slot_of("terminal", "fraud.by-terminal")
done.begin([(0, 1, 2)])
done.end()
now.begin([(3, 10, 4105), (5, 2**40, 2**40)])
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_crash_leaves_what_was_in_work(tmp_path: Path) -> None:
    path = tmp_path / "work"
    create(path)
    ended = subprocess.run([sys.executable, "-c", DIES_AT_WORK, str(path)], check=False)
    assert ended.returncode == -signal.SIGSEGV
    assert read_spans(path) == [
        Span("terminal", "fraud.by-terminal", 3, 10, 4105),
        Span("terminal", "fraud.by-terminal", 5, 2**40, 2**40),
    ]


def test_a_new_call_of_a_stage_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "work"
    create(path)
    slot = AtWork(path).slot("customer", "transactions")
    slot.begin([(0, 0, 9), (1, 0, 9)])
    slot.begin([(2, 5, 6)])
    assert read_spans(path) == [Span("customer", "transactions", 2, 5, 6)]
    slot.end()
    assert read_spans(path) == []


def test_no_more_ranges_and_stages_are_noted_than_there_is_room_for(tmp_path: Path) -> None:
    path = tmp_path / "work"
    create(path)
    work = AtWork(path)
    slots = [work.slot(f"stage-{index}", "t" * 249) for index in range(SLOTS + 3)]
    for slot in slots:
        slot.begin([(partition, 0, 1) for partition in range(RANGES_MAX + 40)])
    assert len(read_spans(path)) == SLOTS * RANGES_MAX
    assert {span.topic for span in read_spans(path)} == {"t" * 249}
    assert work.slot("stage-0", "t" * 249) is slots[0]


def test_a_process_without_a_supervisor_notes_nothing() -> None:
    assert type(slot_of("customer", "transactions")) is WorkSlot


def test_what_is_no_record_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "work"
    assert read_spans(path) == []
    path.write_bytes(b"siwork01 and so on")
    assert read_spans(path) == []


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_records_at_skipped_offsets_are_left_out_and_no_others(
    offsets: set[int], skipped: set[int]
) -> None:
    records = [Record(offset, 0, 0, None, b"") for offset in sorted(offsets)]
    kept = without_skipped(records, skipped)
    assert [record.offset for record in kept] == sorted(offsets - skipped)


def test_records_without_a_skip_among_them_are_not_copied() -> None:
    records = RecordRun.of([Record(offset, 0, 0, None, b"") for offset in (5, 6, 9)])
    assert without_skipped(records, frozenset()) is records
    assert without_skipped(records, frozenset({4, 10})) is records
