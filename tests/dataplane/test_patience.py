"""A worker that starts waits for Kafka for a bounded time; a restore as long as it takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from stream_infer.dataplane import replay
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.patience import Patience
from stream_infer.dataplane.replay import replay_log
from stream_infer.errors import BrokerError, ConfigError
from stream_infer.kafka.causes import MAY_PASS, cause_of
from stream_infer.kafka.connection import Connection
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.records.run import Record, RecordRun
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker

NOWHERE = Connection(bootstrap="127.0.0.1:1")


class Kafka:
    """Is not there for some questions; a second passes with each."""

    def __init__(self, away: int, code: str = "broker_refused") -> None:
        self.asked = 0
        self._away, self._code = away, code

    async def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._away:
            raise BrokerError(self._code, "Nothing listens.", "Start it.")
        return "found"

    def seconds(self) -> float:
        return float(self.asked)


async def test_it_asks_again_until_kafka_is_there_and_says_so_once() -> None:
    kafka = Kafka(away=5)
    told: list[float | None] = []
    patience = Patience(60, tell=told.append, seconds=kafka.seconds, pause_s=0)
    with capture_logs() as logs:
        assert await patience.through(kafka) == "found"
    assert [line["event"] for line in logs] == ["waiting_for_broker", "broker_is_back"]
    assert (logs[0]["cause"], logs[0]["fix"], logs[0]["at_most_s"]) == (
        "Nothing listens.",
        "Start it.",
        60,
    )
    assert told == [1.0] * 5 + [None]


async def test_a_kafka_that_is_there_is_not_spoken_of() -> None:
    with capture_logs() as logs:
        assert await Patience(60).through(Kafka(away=0)) == "found"
    assert logs == []


@pytest.mark.parametrize(("wait_s", "asked"), [(0, 1), (3, 4)])
async def test_its_patience_ends_with_the_cause(wait_s: float, asked: int) -> None:
    kafka = Kafka(away=99)
    with pytest.raises(BrokerError, match="Nothing listens"):
        await Patience(wait_s, seconds=kafka.seconds, pause_s=0).through(kafka)
    assert kafka.asked == asked


@pytest.mark.parametrize("code", ["broker_login", "denied_topic", "broker_needs_tls"])
async def test_what_no_waiting_mends_ends_it_at_once(code: str) -> None:
    kafka = Kafka(away=99, code=code)
    with pytest.raises(BrokerError):
        await Patience(60, seconds=kafka.seconds, pause_s=0).through(kafka)
    assert kafka.asked == 1


async def test_other_errors_are_not_waited_for() -> None:
    async def ask() -> None:
        raise ConfigError("no_pipeline", "None.", "")

    with pytest.raises(ConfigError):
        await Patience(60).through(ask)


def test_a_client_that_found_no_broker_may_find_one_later() -> None:
    # What aiokafka raises when no broker tells the topics: the bare class, which says nothing else.
    error = cause_of(KafkaError("Unable to get cluster metadata over all known brokers"), "h:1")
    assert error.code in MAY_PASS


async def test_a_worker_waits_not_ready_and_is_stopped_meanwhile() -> None:
    worker, stop = Worker(fraud, NOWHERE, WorkerSettings()), asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(worker.run(stop))
        async with asyncio.timeout(30):
            while worker._away_since_s is None:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.01)
        assert not running.done()
        stop.set()
        await running
    assert [line["event"] for line in logs] == ["waiting_for_broker"]


async def test_a_worker_without_patience_ends_with_the_cause() -> None:
    worker = Worker(fraud, NOWHERE, WorkerSettings(connect_wait_ms=0))
    with pytest.raises(BrokerError) as caught:
        await worker.run(asyncio.Event())
    assert caught.value.code == "broker_refused"


# -- a restore ---------------------------------------------------------------------------------


class Consumer:
    """Gives nothing for some polls, answered or not; then all there is."""

    def __init__(self, silent: int, *, answers: bool) -> None:
        self.polls, self._silent, self._answers = 0, silent, answers

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, _partitions: Any) -> None: ...

    def seek(self, _partition: Any, _offset: int) -> None: ...

    async def getmany(self, tp: Any, **_options: Any) -> dict[Any, list[Any]]:
        self.polls += 1
        run = RecordRun.of([Record(at, 0, 0, None, b"x") for at in (0, 1)])
        return {tp: [run]} if self.polls > self._silent else {}

    async def position(self, _tp: Any) -> int:
        return 2 if self.polls > self._silent else 0

    def last_poll_timestamp(self, _tp: Any) -> int | None:
        return self.polls if self._answers else None


async def restored(consumer: Consumer) -> list[int]:
    lengths: list[int] = []
    make: Any = lambda: consumer  # noqa: E731 - stands in for a client's constructor
    await replay_log(Partition("t", 0), 0, 2, lambda batch: lengths.append(len(batch)), make)
    return lengths


@pytest.fixture(autouse=True)
def _in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "fetch_in_runs", lambda _consumer: None)


async def test_a_restore_waits_for_a_kafka_that_is_away_however_long_it_takes() -> None:
    assert await restored(Consumer(50 * replay.STALL_SECONDS, answers=False)) == [2]


async def test_a_restore_ends_by_name_where_kafka_answers_and_gives_nothing() -> None:
    with pytest.raises(BrokerError) as caught:
        await restored(Consumer(50 * replay.STALL_SECONDS, answers=True))
    assert caught.value.code == "restore_stalled"
