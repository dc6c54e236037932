from __future__ import annotations

import asyncio
import json

from stream_infer.demo.load import Load
from stream_infer.kafka.connection import Connection
from stream_infer.simulators.fraud import World, generate
from support.kafka import acreate_topics, aread_all
from support.pipelines import own_pipeline

START_MS = 1_767_225_600_000


async def test_the_load_s_truth_is_about_what_it_wrote_and_nothing_else(kafka: str) -> None:
    pipeline = own_pipeline()
    assert pipeline.labels is not None
    topics = {pipeline.events.topic: 2, pipeline.labels.topic: 2}
    await acreate_topics(kafka, topics)
    load = Load(pipeline, Connection(bootstrap=kafka), seed=5, rate=20_000, start_ms=START_MS)
    stop = asyncio.Event()
    running = asyncio.create_task(load.run(stop))
    # Two days: the labels of the first have come by then.
    while not load.truth.labels:
        assert not running.done()
        await asyncio.sleep(0.01)
    stop.set()
    await running
    written = [json.loads(r.value or b"") for r in await aread_all(kafka, pipeline.events.topic)]
    assert len(written) == load.truth.sent
    assert len(await aread_all(kafka, pipeline.labels.topic)) == load.truth.labels
    world = generate(World(seed=5, days=12, start_ms=START_MS)).take(slice(0, len(written)))
    assert {each["transaction_id"] for each in written} == set(world.ids)
    assert load.truth.frauds == set(world.take(world.is_fraud).ids)
