from __future__ import annotations

import pytest

from stream_infer.audit.report import AuditReport
from stream_infer.audit.scope import audit_scope, parse_ranges
from stream_infer.errors import UsageError
from stream_infer.kafka.stretch import Stretch


def report(**changes: object) -> AuditReport:
    facts: dict[str, object] = {
        "pipeline": "p",
        "topic": "t",
        "ranges": {0: (0, 10)},
        "records": 10,
        "scored": 10,
        "dead_letters": 0,
        "missing": 0,
        "scored_twice": 0,
        "dead_letters_twice": 0,
        "scored_and_dead": 0,
        "in_flight": 0,
        "outputs_beyond": 0,
        "outputs_foreign": 0,
    }
    return AuditReport(**(facts | changes))  # type: ignore[arg-type]


def test_everything_out_exactly_once_is_proven() -> None:
    assert report().verdict == "proven"


@pytest.mark.parametrize(
    "finding", ["missing", "scored_twice", "dead_letters_twice", "scored_and_dead"]
)
def test_one_lost_or_doubled_record_fails(finding: str) -> None:
    assert report(**{finding: 1}).verdict == "failed"


def test_a_cut_output_log_leaves_losses_open_and_is_never_zero() -> None:
    cut = report(missing=3, outputs_cut=True, unproven=["gone"])
    assert (cut.verdict, cut.lost, cut.as_json()["missing"]) == ("unproven", None, 3)
    assert report(outputs_cut=True, unproven=["gone"]).verdict == "unproven"


def test_what_was_seen_twice_fails_even_when_a_log_is_cut() -> None:
    assert report(scored_twice=1, outputs_cut=True, unproven=["gone"]).verdict == "failed"


def scope_of(
    log: Stretch, committed: int | None, ranges: dict[int, Stretch] | None = None
) -> tuple[Stretch, int, int]:
    offsets = {} if committed is None else {0: committed}
    scope = audit_scope("t", "g", {0: log}, offsets, ranges or {})
    return scope.audited[0], scope.waiting, len(scope.unproven)


def test_everything_committed_is_audited_and_the_rest_is_in_flight() -> None:
    #  0        6     10
    #  |audited |wait |
    assert scope_of(Stretch(0, 10), 6) == (Stretch(0, 6), 4, 0)


def test_a_log_that_was_cut_is_unproven_unless_the_range_lies_in_what_is_left() -> None:
    assert scope_of(Stretch(4, 10), 10) == (Stretch(4, 10), 0, 1)
    assert scope_of(Stretch(4, 10), 10, {0: Stretch(5, 8)}) == (Stretch(5, 8), 0, 0)
    assert scope_of(Stretch(4, 10), 10, {0: Stretch(2, 8)}) == (Stretch(4, 8), 0, 1)


def test_a_range_beyond_what_was_committed_is_in_flight() -> None:
    assert scope_of(Stretch(0, 10), 3, {0: Stretch(2, 8)}) == (Stretch(2, 3), 5, 0)
    assert scope_of(Stretch(0, 10), 3, {0: Stretch(5, 8)}) == (Stretch(5, 5), 3, 0)


def test_a_group_that_committed_nothing_or_too_much_proves_nothing() -> None:
    assert scope_of(Stretch(0, 10), None) == (Stretch(0, 0), 10, 1)
    assert scope_of(Stretch(0, 10), 11) == (Stretch(0, 10), 0, 1)
    assert scope_of(Stretch(0, 0), None) == (Stretch(0, 0), 0, 0)


def test_a_range_of_a_partition_that_does_not_exist_is_unproven() -> None:
    scope = audit_scope("t", "g", {0: Stretch(0, 5)}, {0: 5}, {7: Stretch(0, 2)})
    assert scope.unproven == ["t has no partition 7."]


@pytest.mark.parametrize("text", ["", "0", "0:5", "0:5-2", "x:1-2", "0:1-2-3", "0:-1-2"])
def test_a_malformed_range_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ranges((text,))


def test_a_partition_named_twice_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        parse_ranges(("0:1-2", "0:3-4"))
