"""How aiokafka's fetcher is changed for partitions that are read in batches and held back.

aiokafka has one fetch under way per broker. It leaves partitions out of it whose last
records were not taken yet, and it was made for readers that take them at once. Here
partitions are held back, by alignment and by the budget of bytes in flight, and others
must not wait for them. Decision 10 has the figures. The names are private ones of
aiokafka 0.14, which is why its version is pinned.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from stream_infer.dataplane.beat import LONGEST_SECONDS, Beat, nobody
from stream_infer.kafka.codecs import crc32c, decompress
from stream_infer.records.fetched import CorruptError, is_readable, read_fetched
from stream_infer.records.run import RecordRun

FETCH_MAX_WAIT_MS = round(LONGEST_SECONDS * 1000)
"""How long the broker may hold an empty fetch of all partitions. Data ends the wait at once."""

FETCH_PARTIAL_WAIT_MS = 3
"""The same for a fetch that leaves partitions out: those are not asked for until it ends."""

FETCH_PARTITION_BYTES = 1 << 20
"""Of one partition in one fetch: some thousands of events. Larger fetches arrive later, and
their records take memory while they wait."""

LOOK_AGAIN_SECONDS = 0.002

TAKE_SECONDS = 0.002
"""How long records may lie untaken before the other partitions are asked for without them."""

TAKE_IDLE_SECONDS = 0.1
"""The same where those others brought nothing the last time. A topic of lists, say, would else be
asked for hundreds of times a second, alone, while a busy worker comes to what it has fetched."""

FULL_BYTES = FETCH_PARTITION_BYTES // 2
"""What a fetch of a partition brings at least where there is more. Half: a broker may
leave out the batch that the size would cut."""


class Brings(Protocol):
    """Told of each partition of which something was fetched."""

    def __call__(self, tp: TopicPartition, /, *, is_full: bool) -> None:
        """Take note; `is_full` says whether there is more."""


def pace_fetches(
    fetcher: Any, is_ours: Callable[[str], bool], beat: Beat, begins: Callable[[], None] = nobody
) -> Fetches:
    """Change a started fetcher; return what it has fetched and nobody has taken.

    is_ours  whether a topic's records go to a stage
    beat     says what may be asked for
    begins   called before anything is asked for
    """
    # Not 100 ms of patience with a partition whose records nobody has taken.
    fetcher._prefetch_backoff = 0.0
    fetches = _in_runs(fetcher, is_ours, beat.brings)
    decide = fetcher._get_actions_per_node

    def decide_on_beat(assignment: Any) -> Any:
        begins()
        now_s = time.monotonic()
        part = PartOfAssignment(assignment, beat.askable(assignment.tps, now_s))
        wait_s = beat.wait_s(assignment.tps, part.tps, now_s)
        is_partial = any(tp in fetches for tp in part.tps)
        wait_ms = max(1, int(wait_s * 1000))
        fetcher._fetch_max_wait_ms = min(FETCH_PARTIAL_WAIT_MS, wait_ms) if is_partial else wait_ms
        requests, resets, timeout, *others = decide(part)
        timeout = min(timeout, wait_s)
        age_s = now_s - fetches.last_data_s
        if requests and is_partial:
            # What has just come is about to be taken, which ends this wait. Asked for without
            # those partitions now, the broker would keep them waiting twice as long.
            is_idle = all(beat.is_idle(request.topics) for _, request in requests)
            take_s = TAKE_IDLE_SECONDS if is_idle else TAKE_SECONDS
            if age_s < take_s:
                requests, timeout = [], min(timeout, take_s - age_s)
        for _, request in requests:
            beat.asks(request.topics, now_s)
        ended = all(task.done() for task in fetcher._pending_tasks)
        if not requests and not resets and fetcher._in_flight and ended:
            # The last fetch is over, but the callback that says so has not run yet: aiokafka
            # would look again only after 200 ms.
            timeout = min(timeout, LOOK_AGAIN_SECONDS)
        return requests, resets, timeout, *others

    fetcher._get_actions_per_node = decide_on_beat
    return fetches


def fetch_in_runs(consumer: Any) -> None:
    """Have a started consumer that reads for stages alone hand out each fetch as a `RecordRun`."""

    def brings(_tp: TopicPartition, *, is_full: bool) -> None: ...

    _in_runs(consumer._fetcher, lambda _topic: True, brings)


def _in_runs(fetcher: Any, is_ours: Callable[[str], bool], brings: Brings) -> Fetches:
    client = fetcher._client = ClientWithBytes(fetcher._client)
    fetches = fetcher._records = Fetches(is_ours, client, brings)
    return fetches


class PartOfAssignment:
    """Those partitions of an assignment that may be asked for now; what decides reads no more."""

    __slots__ = ("state_value", "tps")

    def __init__(self, assignment: Any, tps: frozenset[TopicPartition]) -> None:
        self.tps = tps
        self.state_value = assignment.state_value


class ClientWithBytes:
    """The fetcher's client; the bytes of the fetch that was answered last are kept beside it.

    aiokafka's fetcher goes through an answer as soon as it has it, without a wait in between, and
    gives the bytes of each partition to compiled code, which lets nobody see them.
    """

    def __init__(self, client: Any) -> None:
        self._answering = client
        self._bytes: dict[TopicPartition, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answering, name)

    async def send(self, node_id: Any, request: Any, *args: Any, **options: Any) -> Any:
        """Return the answer to a request."""
        answer = await self._answering.send(node_id, request, *args, **options)
        if isinstance(request, FetchRequest):
            self._bytes = {
                TopicPartition(topic, partition): rest[-1]
                for topic, partitions in answer.topics
                for partition, *rest in partitions
            }
        return answer

    def take(self, tp: TopicPartition) -> bytes:
        """Return what was fetched of a partition."""
        return self._bytes.pop(tp)


class Fetches(OrderedDict[TopicPartition, Any]):
    """What was fetched and nobody has taken; what is our stages' is taken as a run.

    aiokafka makes two objects of a record, which costs 1.2 us, or 0.5 us with the second left out;
    a run costs 0.3 us a record.

    last_data_s  when something was fetched last, by the clock that never goes back
    """

    def __init__(
        self, is_ours: Callable[[str], bool], client: ClientWithBytes, brings: Brings
    ) -> None:
        super().__init__()
        self.last_data_s = float("-inf")
        self._is_ours = is_ours
        self._client = client
        self._brings = brings

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        records = getattr(fetched, "_partition_records", None)
        is_full = False
        if records is not None and self._is_ours(tp.topic):
            data = self._client.take(tp)
            is_full = len(data) >= FULL_BYTES
            records._records_iterator = _one_run(records, data)
        self.put(tp, fetched, is_full=is_full)

    def put(self, tp: TopicPartition, fetched: Any, *, is_full: bool = False) -> None:
        """Add what is a run already, or an error; `is_full`: whether there is more to fetch."""
        self.last_data_s = time.monotonic()
        if getattr(fetched, "_partition_records", None) is not None:
            self._brings(tp, is_full=is_full)
        super().__setitem__(tp, fetched)


def _one_run(records: Any, data: bytes) -> Iterator[RecordRun]:
    """Yield what a fetch of a partition brought, if anything counts, and move its position on.

    records  what aiokafka would go through one by one
    """
    if not is_readable(data):
        records._consumer_record = _as_parsed
        if parsed := list(records._unpack_records()):
            yield RecordRun.of(parsed)
        return
    is_committed = records._isolation_level == READ_COMMITTED
    try:
        found = read_fetched(
            data,
            records.next_fetch_offset,
            records._aborted_transactions if is_committed else None,
            decompress,
            crc32c if records._check_crcs else None,
        )
    except CorruptError as error:
        raise CorruptRecordException(f"{records._tp}: {error}") from error
    records.next_fetch_offset = found.next
    if len(found.run):
        yield found.run


def _as_parsed(_tp: TopicPartition, record: Any) -> Any:
    return record
