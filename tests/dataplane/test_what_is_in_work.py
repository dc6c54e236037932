"""What was handed out is in work until its outputs are answered; the end of it is told."""

from __future__ import annotations

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.ledger import Ledger
from stream_infer.dataplane.offsets import StartPoint
from support.dataplane import record

P0, P1 = Partition("payments", 0), Partition("payments", 1)


class Work:
    """A ledger of two partitions, and how often it said that nothing is in work."""

    def __init__(self) -> None:
        self.told = 0
        self.ledger = Ledger(
            1_000_000, lambda _partition, _offset: None, tell_answered=self._note_answered
        )
        start = StartPoint(0, 0, 0, must_commit=False, end=0)
        self.ledger.assign({P0: start, P1: start})

    def _note_answered(self) -> None:
        assert not self.ledger.is_in_work()
        self.told += 1

    def hand_out(self, partition: Partition, first: int, end: int) -> RecordBatch:
        """Hand out the records of some offsets."""
        records = [record(offset) for offset in range(first, end)]
        [batch] = self.ledger.open(partition, records, lambda: True)
        return batch


def test_nothing_is_in_work_once_the_last_batch_is_answered() -> None:
    work = Work()
    assert not work.ledger.is_in_work()
    work.hand_out(P0, 0, 3)
    work.hand_out(P1, 0, 2)
    work.ledger.done(P0, 3)
    assert (work.ledger.is_in_work(), work.told) == (True, 0)
    work.ledger.done(P1, 2)
    assert (work.ledger.is_in_work(), work.told) == (False, 1)


def test_what_is_acknowledged_within_a_transaction_is_in_work_no_more() -> None:
    work = Work()
    work.hand_out(P0, 0, 3)
    work.ledger.acknowledged(P0, 3)
    assert (work.ledger.is_in_work(), work.told) == (False, 1)
    work.ledger.done(P0, 3)
    assert work.told == 1, "its commit frees nothing more"


def test_what_another_member_got_is_in_work_no_more() -> None:
    work = Work()
    work.hand_out(P0, 0, 3)
    work.ledger.revoked()
    assert not work.ledger.is_in_work()
