"""An operator's hand on a topic under a running worker: it stops with one cause and one fix."""

from __future__ import annotations

from functools import partial

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.new_partitions import NewPartitions

from stream_infer import app as app_module
from stream_infer.dataplane.committed import read_committed_by_group
from stream_infer.dataplane.partitions_added import partitions_said
from stream_infer.dataplane.topic_watch import watch_topics
from stream_infer.errors import StreamInferError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_changes import state_partitions
from support.load import make_load, send_transactions
from support.pipelines import own_pipeline
from support.worker import make_topics, serving

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "watch_topics", partial(watch_topics, every_s=0.1))


@pytest.mark.parametrize("code", ["topic_deleted", "partitions_added"])
async def test_the_input_is_changed(kafka: str, code: str) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 2)
    await send_transactions(kafka, pipeline, make_load(days=1).transactions)
    async with serving(kafka, pipeline) as serves:
        await serves.settle()
        commits = await read_committed_by_group(Connection(bootstrap=kafka), pipeline.name)
        said = partitions_said(commits)
        assert said == state_partitions(pipeline, dict.fromkeys(said, 2))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            if code == "topic_deleted":
                await admin.delete_topics([pipeline.events.topic])
            else:
                await admin.create_partitions({pipeline.events.topic: NewPartitions(3)})
        finally:
            await admin.close()
        with pytest.raises(StreamInferError) as caught:
            await serves.ended()
    assert caught.value.code == code
    assert caught.value.details["topic"] == pipeline.events.topic
    assert caught.value.fix
