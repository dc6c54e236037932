from __future__ import annotations

from dataclasses import replace

import pytest

from stream_infer.observability.facts import PHASES, PartitionFacts, PlaneFacts
from stream_infer.observability.health import HealthLimits, liveness, readiness
from stream_infer.observability.progress import ProgressWatch

NOW = 1000.0
LIMITS = HealthLimits(stalled_after_s=30, poll_after_s=60, stuck_after_s=60)
RUNNING = PartitionFacts(
    stage="customer", topic="transactions", partition=0, phase="running", position=5, log_end=5
)
WELL = PlaneFacts(opened=True, joined=True, partitions=(RUNNING,))


def live_codes(facts: PlaneFacts, turned_s: float = NOW) -> list[str]:
    verdict = liveness(facts, turned_s, NOW, LIMITS)
    assert verdict.ok == (not verdict.reasons)
    return [reason.code for reason in verdict.reasons]


def ready_codes(
    facts: PlaneFacts, limits: HealthLimits = LIMITS, taken_s: float = NOW
) -> list[str]:
    live = liveness(facts, NOW, NOW, limits)
    return [reason.code for reason in readiness(facts, taken_s, live, NOW, limits).reasons]


def ready_message(*partitions: PartitionFacts, limits: HealthLimits = LIMITS) -> str:
    facts = replace(WELL, partitions=partitions)
    live = liveness(facts, NOW, NOW, limits)
    [reason] = readiness(facts, NOW, live, NOW, limits).reasons
    return reason.message


def test_a_worker_at_work_is_alive_and_ready() -> None:
    assert live_codes(WELL) == []
    assert ready_codes(WELL) == []


def test_an_event_loop_that_does_not_turn_is_not_alive_and_not_ready() -> None:
    live = liveness(WELL, NOW - 31, NOW, LIMITS)
    assert [tuple(reason) for reason in live.reasons] == [
        ("loop_stalled", "The event loop has not turned for 31 s.")
    ]
    ready = readiness(WELL, NOW - 31, live, NOW, LIMITS)
    assert [reason.code for reason in ready.reasons] == ["loop_stalled"]


def test_input_that_waits_for_an_open_transaction_is_not_ready_and_its_id_is_told() -> None:
    stalled = replace(RUNNING, stalled_s=12.3, stalled_by="loader-1")
    assert ready_message(stalled) == (
        "Stalled by open transaction of loader-1 for 12 s: transactions-0."
    )
    assert "of an unknown producer for" in ready_message(replace(stalled, stalled_by=""))
    assert ready_codes(replace(WELL, partitions=(stalled,))) == ["open_transaction"]
    assert ready_codes(replace(WELL, partitions=(replace(stalled, stalled_s=4.9),))) == []


def test_a_loop_that_has_not_turned_for_long_is_not_alive() -> None:
    assert live_codes(WELL, NOW - 31) == ["loop_stalled"]
    assert live_codes(WELL, NOW - 29) == []


def test_a_consumer_that_does_not_ask_for_records_is_not_alive_unless_it_rebalances() -> None:
    silent = replace(WELL, polled_s=NOW - 61)
    assert live_codes(silent) == ["poll_stalled"]
    assert live_codes(replace(silent, polled_s=NOW - 59)) == []
    assert live_codes(replace(silent, joined=False)) == []


def test_what_a_restart_would_not_cure_leaves_a_worker_alive() -> None:
    restoring = replace(RUNNING, phase="restoring")
    stuck = replace(RUNNING, unmoved_s=9999.0)
    facts = replace(WELL, partitions=(restoring, stuck), broker_away_since_s=NOW - 500)
    assert live_codes(facts) == []
    assert ready_codes(facts) == ["broker_away", "not_running", "stuck"]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (PlaneFacts(), "starting"),
        (PlaneFacts(opened=True), "assigning"),
        (replace(WELL, stopping=True), "stopping"),
        (replace(WELL, broker_away_since_s=NOW - 4), "broker_away"),
    ],
)
def test_a_worker_is_not_ready_while(facts: PlaneFacts, code: str) -> None:
    assert ready_codes(facts) == [code]


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "running"])
def test_a_partition_that_is_not_running_is_named(phase: str) -> None:
    message = ready_message(RUNNING, replace(RUNNING, partition=7, phase=phase))
    assert message == f"1 of 2 partitions are not running ({phase}): transactions-7."


def test_a_reason_stays_short_however_many_partitions_there_are() -> None:
    message = ready_message(
        *(replace(RUNNING, partition=number, phase="restoring") for number in range(500))
    )
    assert "500 of 500" in message
    assert message.endswith("and 497 more.")
    assert len(message) < 200


def test_a_worker_without_partitions_is_ready_once_the_group_has_said_so() -> None:
    # There are more workers than partitions: it stands by.
    assert ready_codes(PlaneFacts(opened=True, joined=True)) == []


def test_a_stuck_batch_is_not_ready_unless_it_waits_for_another_partition() -> None:
    stuck = replace(RUNNING, unmoved_s=61.0)
    assert ready_codes(replace(WELL, partitions=(stuck,))) == ["stuck"]
    assert "transactions-0" in ready_message(stuck)
    assert ready_codes(replace(WELL, partitions=(replace(stuck, held=True),))) == []
    assert ready_codes(replace(WELL, partitions=(replace(stuck, unmoved_s=59.0),))) == []


def test_lag_counts_only_where_a_bound_is_set() -> None:
    behind = replace(WELL, partitions=(replace(RUNNING, log_end=505),))
    assert ready_codes(behind) == []
    assert ready_codes(behind, replace(LIMITS, lag_max=499)) == ["lag"]
    assert ready_codes(behind, replace(LIMITS, lag_max=500)) == []


def test_an_end_that_is_not_known_is_no_lag() -> None:
    unknown = replace(WELL, partitions=(replace(RUNNING, log_end=None),))
    assert ready_codes(unknown, replace(LIMITS, lag_max=0)) == []


def test_old_facts_do_not_pass_for_new_ones() -> None:
    assert ready_codes(WELL, taken_s=NOW - 31) == ["facts_stale"]


def test_a_partition_is_stuck_from_when_its_commit_stopped_moving() -> None:
    watch = ProgressWatch[str]()
    at = [(0, 0), (0, 0), (0, 5), (0, 9), (5, 9), (5, 12), (12, 12), (12, 12), (12, 13)]
    #     idle            from here on in work, one commit          idle again
    waited = [watch.look({"p": offsets}, float(second))["p"] for second, offsets in enumerate(at)]
    assert waited == [0.0, 0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 1.0]


def test_a_partition_that_was_given_up_and_comes_back_begins_anew() -> None:
    watch = ProgressWatch[str]()
    watch.look({"p": (0, 5)}, 0.0)
    assert watch.look({}, 10.0) == {}
    assert watch.look({"p": (0, 5)}, 20.0) == {"p": 0.0}
