"""What is known of other workers' partitions, through words, silence and rebalances."""

from __future__ import annotations

from stream_infer.dataplane.alignment import NO_LIMIT, AlignmentGroup
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.progress_board import LOOK_SECONDS_MAX, Board
from stream_infer.events.progress import Place, Progress, decode_progress, encode_progress

OURS, THEIRS, THIRD = (Partition("in", number) for number in range(3))
HOUR = 3_600_000
SILENT_S_MAX = 20.0


def word(
    place: Place, head: int | None = None, *, of: Partition = THEIRS, generation: int = 1
) -> Progress:
    return Progress(
        topic=of.topic,
        partition=of.partition,
        place=place,
        head=head,
        generation=generation,
        instance="other",
    )


def assigned(
    board: Board,
    ours: tuple[Partition, ...] = (OURS,),
    others: tuple[Partition, ...] = (THEIRS,),
    generation: int = 1,
) -> AlignmentGroup:
    """Begin an assignment in which our partition stands at 100 hours."""
    group = AlignmentGroup(HOUR)
    group.assign(ours)
    board.assigned(generation, dict.fromkeys(others, group), 0.0)
    if OURS in ours:
        group.set_head(OURS, 100 * HOUR)
    return group


def reassigned(
    board: Board, group: AlignmentGroup, **changed: tuple[Partition, ...]
) -> AlignmentGroup:
    board.revoked([group])
    return assigned(board, generation=2, **changed)


def listen(board: Board, seconds: float) -> list[Partition]:
    """Let so much time pass, from 0 on, and nothing be heard."""
    looks = range(1, int(seconds / LOOK_SECONDS_MAX) + 1)
    return [each for look in looks for each in board.look(look * LOOK_SECONDS_MAX)]


def test_a_partition_of_which_nothing_is_known_holds_everybody() -> None:
    assert assigned(Board(SILENT_S_MAX)).limit(OURS) is None


def test_a_head_elsewhere_holds_like_one_of_ours() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    assert board.hear(word("head", 7 * HOUR))
    assert group.limit(OURS) == 8 * HOUR
    assert group.holder(OURS) == THEIRS
    assert not board.hear(word("head", 7 * HOUR))
    assert board.hear(word("end"))
    assert group.limit(OURS) == NO_LIMIT


def test_the_lowest_head_may_do_half_a_skew_although_others_are_known_late() -> None:
    """A head is told when it has moved by a fourth of the skew."""
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    board.hear(word("head", 100 * HOUR - HOUR // 4 + 1))
    limit = group.limit(OURS)
    assert limit is not None
    assert limit - 100 * HOUR >= HOUR // 2


def test_words_of_partitions_that_are_ours_or_unknown_are_not_for_us() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    assert not board.hear(word("end", of=OURS))
    assert not board.hear(word("end", of=Partition("elsewhere", 0)))
    assert group.standing(OURS).head == 100 * HOUR


def test_a_worker_that_lost_its_partitions_is_not_heard() -> None:
    board = Board(SILENT_S_MAX)
    group = reassigned(board, assigned(board))
    assert not board.hear(word("end", generation=1))
    assert group.limit(OURS) is None
    assert board.hear(word("end", generation=2))


def test_a_word_that_came_before_the_assignment_was_opened_counts() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    board.revoked([group])
    board.hear(word("end", generation=2))
    assert assigned(board, generation=2).limit(OURS) == NO_LIMIT


def test_a_head_stays_true_when_its_partition_changes_hands() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    board.hear(word("head", 7 * HOUR))
    group = reassigned(board, group)
    assert group.limit(OURS) == 8 * HOUR
    board.hear(word("restoring", generation=2))
    assert group.limit(OURS) == 8 * HOUR


def test_a_partition_that_leaves_us_at_its_end_holds_nobody_while_it_is_restored() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board, ours=(OURS, THIRD))
    board.hear(word("end"))
    group.set_read_to_end(THIRD)
    group = reassigned(board, group, others=(THEIRS, THIRD))
    board.hear(word("restoring", of=THIRD, generation=2))
    assert group.limit(OURS) == NO_LIMIT
    assert not board.is_restoring()


def test_a_partition_that_becomes_ours_is_told_by_our_own_task() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    board.hear(word("end"))
    group = reassigned(board, group, ours=(OURS, THEIRS), others=())
    assert group.limit(OURS) is None
    group.set_head(THEIRS, 3 * HOUR)
    board.hear(word("end", generation=2))
    assert group.limit(OURS) == 4 * HOUR


def test_a_partition_of_which_nothing_is_heard_holds_for_a_bounded_time() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    assert listen(board, SILENT_S_MAX) == []
    assert group.limit(OURS) is None
    assert board.look(SILENT_S_MAX + LOOK_SECONDS_MAX) == [THEIRS]
    assert group.limit(OURS) == NO_LIMIT
    assert board.look(SILENT_S_MAX + 2 * LOOK_SECONDS_MAX) == []
    board.hear(word("unread"))
    assert group.limit(OURS) is None, "it holds again once it is heard"


def test_a_dead_workers_last_word_holds_for_a_bounded_time() -> None:
    board = Board(SILENT_S_MAX)
    group = assigned(board)
    board.hear(word("head", 7 * HOUR))
    assert listen(board, SILENT_S_MAX + 1) == [THEIRS]
    assert group.limit(OURS) == NO_LIMIT


def test_a_partition_at_its_end_may_be_silent() -> None:
    board = Board(SILENT_S_MAX)
    assigned(board)
    board.hear(word("end"))
    assert listen(board, 10 * SILENT_S_MAX) == []


def test_a_process_that_stood_still_does_not_take_it_for_silence() -> None:
    board = Board(SILENT_S_MAX)
    assigned(board)
    assert board.look(1_000.0) == []


def test_patience_does_not_run_out_during_a_restore_elsewhere() -> None:
    board = Board(SILENT_S_MAX)
    assigned(board)
    assert not board.is_restoring()
    board.hear(word("restoring"))
    assert board.is_restoring()
    board.hear(word("unread"))
    assert not board.is_restoring()


def test_a_word_is_read_as_it_was_written() -> None:
    said = word("head", 7 * HOUR)
    key, value = encode_progress(said)
    assert key == b"in-1"
    assert decode_progress(value) == said
