"""A topic that goes, or gets partitions, while a worker runs: the worker stops and says which."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stream_infer.dataplane.topic_watch import LOOKS, watch_topics
from stream_infer.errors import BrokerError, StreamInferError
from stream_infer.kafka.topic_changes import topic_change
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.pipelines.fraud import pipeline as fraud

KNOWN = {spec.name: spec.partitions for spec in pipeline_topics(fraud, 2)}
INPUT = fraud.events.topic


def without(*names: str) -> dict[str, int]:
    return {name: count for name, count in KNOWN.items() if name not in names}


@pytest.mark.parametrize("name", [INPUT, "fraud-labels", "fraud.by-terminal", fraud.scored])
def test_a_topic_that_is_gone_is_named_with_what_became_of_it(name: str) -> None:
    change = topic_change(fraud, KNOWN, without(name))
    assert change is not None
    assert (change.code, change.exit_code, change.details["topic"]) == ("topic_deleted", 3, name)
    assert "stream-infer topics create fraud" in change.fix
    assert ("another name" in change.fix) is (name != fraud.scored)


@pytest.mark.parametrize("name", [INPUT, "fraud.by-terminal", "fraud.candidates"])
def test_partitions_added_to_a_topic_whose_partitions_hold_state_are_named(name: str) -> None:
    change = topic_change(fraud, KNOWN, KNOWN | {name: 3})
    assert change is not None
    assert (change.code, change.exit_code, change.details["topic"]) == ("partitions_added", 4, name)


@pytest.mark.parametrize("name", ["fraud-labels", fraud.scored, "dead-letters"])
def test_other_topics_may_get_partitions(name: str) -> None:
    assert topic_change(fraud, KNOWN, KNOWN | {name: 3}) is None


def test_an_input_that_is_rekeyed_may_get_partitions() -> None:
    rekeyed = replace(fraud, events=replace(fraud.events, partitioning="rekey"))
    known = {spec.name: spec.partitions for spec in pipeline_topics(rekeyed, 2)}
    assert topic_change(rekeyed, known, known | {INPUT: 3}) is None


def test_checkpoints_may_go_since_the_log_makes_every_state() -> None:
    checkpoints = [spec.name for spec in pipeline_topics(fraud) if spec.role == "checkpoints"]
    assert topic_change(fraud, KNOWN, without(*checkpoints)) is None


class Looks:
    """What each look finds; after the last the watch is at rest."""

    def __init__(self, *found: Mapping[str, int] | None) -> None:
        self._found = list(found)
        self.done = asyncio.Event()

    async def __call__(self) -> Mapping[str, int]:
        if not self._found:
            self.done.set()
            await asyncio.Event().wait()
        found = self._found.pop(0)
        if found is None:
            raise BrokerError("broker_refused", "Nothing listens there.")
        return found


async def test_what_every_look_finds_stops_the_worker() -> None:
    looks = Looks(*[without(INPUT)] * LOOKS)
    with pytest.raises(StreamInferError, match="was deleted while the worker ran"):
        await watch_topics(fraud, KNOWN, looks, every_s=0)


@pytest.mark.parametrize("between", [KNOWN, without("fraud.by-terminal")])
async def test_what_one_look_does_not_find_is_no_reason_to_stop(between: Mapping[str, int]) -> None:
    """A broker that has just started does not know everything."""
    gone = without(INPUT)
    looks = Looks(*[gone] * (LOOKS - 1), between, *[gone] * (LOOKS - 1))
    watch = asyncio.create_task(watch_topics(fraud, KNOWN, looks, every_s=0))
    await looks.done.wait()
    assert not watch.done()
    watch.cancel()


async def test_a_kafka_that_is_away_says_nothing_about_topics() -> None:
    looks = Looks(*[None] * (2 * LOOKS), KNOWN)
    watch = asyncio.create_task(watch_topics(fraud, KNOWN, looks, every_s=0))
    await looks.done.wait()
    assert not watch.done()
    watch.cancel()
