"""A Kafka that goes away ends neither the guard nor what tells it of each version."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from stream_infer.errors import BrokerError
from stream_infer.guarding.again import while_kafka_is_away


class Work:
    """Ends with these errors, one after the other; then it is done."""

    def __init__(self, *codes: str) -> None:
        self._codes = list(codes)
        self.begun = 0

    async def __call__(self) -> None:
        self.begun += 1
        if self._codes:
            raise BrokerError(self._codes.pop(0), "It is away.", "Wait.")


async def test_it_begins_anew_until_kafka_is_there_and_says_each_cause_once() -> None:
    work = Work("broker_refused", "broker_refused", "broker_not_ready")
    with capture_logs() as logs:
        await while_kafka_is_away(work, again_s=0)
    assert work.begun == 4
    assert [line["event"] for line in logs] == ["guard_waits", "guard_waits"]


async def test_a_right_that_is_missing_is_told_at_once() -> None:
    work = Work("denied_topic")
    with pytest.raises(BrokerError):
        await while_kafka_is_away(work, again_s=0)
    assert work.begun == 1
