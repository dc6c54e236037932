"""Ordinary Faust agents beside a pipeline's stages, in one app.

    stream-infer topics create fraud
    faust -A examples.agents_beside:app worker

The stages run on record batches; the agent below is Faust as Faust's own
documentation has it, and reads what the pipeline publishes.
"""

import os

import faust

from stream_infer import Connection, StreamApp
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline

app = StreamApp(
    pipeline.name,
    connection=Connection(bootstrap=os.environ.get("STREAM_INFER_BOOTSTRAP", "127.0.0.1:9092")),
)
app.serve(pipeline, model=ready_model_dir("fraud"))

scored = app.topic(pipeline.scored, value_serializer="json")
declined: list[str] = []


@app.agent(scored)
async def watch(stream: faust.StreamT[dict[str, str]]) -> None:
    """Keep the ids of declined transactions."""
    async for event in stream:
        if event["decision"] == "decline":
            declined.append(event["transaction_id"])
            print(f"declined {event['transaction_id']}")  # noqa: T201 - an example may print
