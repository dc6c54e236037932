"""Where a partition starts is decided from what is committed and what the log still holds."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import (
    Committed,
    LogBounds,
    commit_metadata,
    decide_start,
    declared_start,
)
from stream_infer.dataplane.starts import Starts
from stream_infer.errors import ConflictError
from stream_infer.events.topic_names import lists_topic
from support.dataplane import PIPELINE, SETTINGS, stages
from support.dataplane import SOURCE as INPUT

SOURCE = Partition("transactions", 3)


def test_a_new_group_starts_where_it_was_declared_and_commits_that_first() -> None:
    log = LogBounds(5, 90)
    earliest = decide_start(SOURCE, None, log, start="earliest", when_offset_lost="fail")
    latest = decide_start(SOURCE, None, log, start="latest", when_offset_lost="fail")
    assert (earliest.position, earliest.must_commit) == (5, True)
    assert (latest.position, latest.must_commit) == (90, True)


def test_a_restart_replays_from_the_declared_start_not_from_the_logs_start() -> None:
    committed = Committed(120, commit_metadata(90))
    start = decide_start(
        SOURCE, committed, LogBounds(5, 200), start="latest", when_offset_lost="fail"
    )
    assert (start.replay_from, start.position, start.must_commit) == (90, 120, False)


def test_a_commit_of_another_tool_replays_the_whole_log() -> None:
    for metadata in ("", "note", '{"start": "x"}', "[1]", '{"start": true}'):
        start = decide_start(
            SOURCE,
            Committed(120, metadata),
            LogBounds(5, 200),
            start="earliest",
            when_offset_lost="fail",
        )
        assert start.replay_from == 5


def test_an_offset_below_the_log_is_an_error_with_a_choice() -> None:
    committed = Committed(3, commit_metadata(0))
    with pytest.raises(ConflictError) as caught:
        decide_start(SOURCE, committed, LogBounds(5, 9), start="earliest", when_offset_lost="fail")
    assert caught.value.code == "offset_lost"
    assert "--when-offset-lost earliest" in caught.value.fix
    accepted = decide_start(
        SOURCE, committed, LogBounds(5, 9), start="earliest", when_offset_lost="earliest"
    )
    assert (accepted.position, accepted.must_commit) == (5, True)


def test_an_offset_beyond_the_log_means_that_the_topic_was_made_anew() -> None:
    with pytest.raises(ConflictError) as caught:
        decide_start(
            SOURCE, Committed(50), LogBounds(0, 9), start="earliest", when_offset_lost="fail"
        )
    assert caught.value.code == "offset_beyond_log"


def test_the_declared_start_survives_the_round_trip_through_a_commit() -> None:
    assert declared_start(commit_metadata(17)) == 17


LOG = LogBounds(0, 200)


def starts() -> Starts:
    return Starts({stage.topic: stage for stage in stages()}, SETTINGS)


def test_an_offset_that_another_tool_has_set_is_told_and_followed() -> None:
    with capture_logs() as logs:
        decided = starts().decide({INPUT: Committed(120)}, {INPUT: LOG})
    assert decided[INPUT].position == 120
    assert [(line["event"], line["offset"]) for line in logs] == [("offset_reset", 120)]


def test_an_offset_that_goes_while_the_worker_runs_means_that_the_topic_was_made_anew() -> None:
    of = starts()
    of.decide({INPUT: None}, {INPUT: LOG})
    of.decide({INPUT: None}, {INPUT: LOG})  # its first commit was refused: the group had moved on
    of.decide({INPUT: Committed(5, commit_metadata(0))}, {INPUT: LOG})
    with pytest.raises(ConflictError) as caught:
        of.decide({INPUT: None}, {INPUT: LogBounds(0, 3)})
    assert caught.value.code == "input_made_anew"


def test_lists_that_go_while_the_worker_runs_are_named_as_such() -> None:
    of = starts()
    lists = Partition(lists_topic(PIPELINE) or "", 0)
    of.decide({lists: Committed(5, commit_metadata(0))}, {lists: LOG})
    with pytest.raises(ConflictError) as caught:
        of.decide({lists: None}, {lists: LogBounds(0, 0)})
    assert caught.value.code == "lists_made_anew"
