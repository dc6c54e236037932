"""The life of a partition goes by the table, and nowhere else."""

from __future__ import annotations

import itertools

import pytest

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.faust_settings import FAUST_DEFAULTS
from stream_infer.dataplane.lifecycle import (
    REBALANCE_SECONDS,
    TRANSITIONS,
    Cause,
    Deadline,
    Ending,
    Life,
    Phase,
    TransitionError,
    ending,
    keeps_state,
    revoke_seconds,
)
from stream_infer.observability.facts import PHASES

SOURCE = Partition("transactions", 3)


def lived(*causes: Cause) -> Life:
    life = Life(SOURCE)
    for cause in causes:
        life.move(cause)
    return life


WAYS = {
    Phase.ASSIGNED: (),
    Phase.RESTORING: (Cause.STARTED,),
    Phase.RUNNING: (Cause.STARTED, Cause.RESTORED),
    Phase.DRAINING: (Cause.REVOKED,),
    Phase.FENCED: (Cause.MOVED_ON,),
    Phase.CLOSED: (Cause.REVOKED, Cause.ENDED),
    Phase.LOST: (Cause.REVOKED, Cause.ENDED, Cause.NOT_ASSIGNED_AGAIN),
}


def test_every_phase_is_reached_from_the_assignment() -> None:
    assert {phase: lived(*way).phase for phase, way in WAYS.items()} == {p: p for p in Phase}


@pytest.mark.parametrize(("phase", "cause"), list(itertools.product(Phase, Cause)))
def test_what_the_table_does_not_name_is_refused_and_changes_nothing(
    phase: Phase, cause: Cause
) -> None:
    life = lived(*WAYS[phase])
    following = TRANSITIONS.get((phase, cause))
    if following is not None:
        life.move(cause)
        assert life.phase is following
        return
    with pytest.raises(TransitionError) as raised:
        life.move(cause)
    assert raised.value.details["phase"] == phase.value
    assert life.phase is phase


def test_no_way_leads_back_to_work() -> None:
    """A partition that comes back begins a new life, with a state that is checked anew."""
    order = list(Phase)
    for (phase, _), following in TRANSITIONS.items():
        assert order.index(following) >= order.index(phase)


def test_from_everywhere_a_revocation_leads_to_the_end() -> None:
    for phase in (Phase.ASSIGNED, Phase.RESTORING, Phase.RUNNING, Phase.FENCED):
        life = lived(*WAYS[phase], Cause.REVOKED, Cause.ENDED)
        assert life.phase is Phase.CLOSED


def test_what_was_fenced_once_counts_as_fenced_to_the_end() -> None:
    life = lived(Cause.STARTED, Cause.MOVED_ON, Cause.REVOKED, Cause.ENDED)
    assert life.was_fenced
    assert not lived(*WAYS[Phase.CLOSED]).was_fenced


def test_every_phase_of_a_partition_that_is_here_is_shown() -> None:
    assert set(PHASES) == {phase.value for phase in Phase} - {Phase.LOST.value}


def test_only_what_is_answered_and_not_fenced_is_committed() -> None:
    assert ending(was_fenced=False, is_answered=True) is Ending.COMMIT
    assert ending(was_fenced=False, is_answered=False) is Ending.GIVE_UP
    assert ending(was_fenced=True, is_answered=True) is Ending.GIVE_UP
    assert ending(was_fenced=True, is_answered=False) is Ending.GIVE_UP


def test_only_a_state_that_is_the_fold_of_what_is_committed_is_kept() -> None:
    assert keeps_state(was_fenced=False, folded_to=7, committed=7)
    assert not keeps_state(was_fenced=False, folded_to=8, committed=7)
    assert not keeps_state(was_fenced=True, folded_to=7, committed=7)


def test_a_revocation_ends_before_the_group_stops_waiting_and_leaves_time_to_commit() -> None:
    whole_s = revoke_seconds()
    assert whole_s < REBALANCE_SECONDS == FAUST_DEFAULTS["broker_rebalance_timeout"]
    deadline = Deadline(100.0, whole_s)
    assert deadline.drain_s(100.0) < deadline.left_s(100.0) == whole_s
    drained_at = 100.0 + deadline.drain_s(100.0)
    assert deadline.drain_s(drained_at) == 0.0
    assert deadline.left_s(drained_at) == pytest.approx(whole_s / 2)
    assert deadline.left_s(200.0) == 0.0
