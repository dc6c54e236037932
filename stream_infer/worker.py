"""A worker: one pipeline served by one app in one process, from start to clean stop."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from stream_infer.app import StreamApp, run_until
from stream_infer.events.mapping import FieldMapping
from stream_infer.kafka.connection import Connection, reach, translated
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.model import Model
from stream_infer.settings.worker import WorkerSettings


class Worker:
    """Everything that `stream-infer worker` and the demo run.

    model  a loaded model or its folder; by default the ready model named by the pipeline
    """

    def __init__(
        self,
        pipeline: Pipeline,
        connection: Connection,
        settings: WorkerSettings,
        *,
        model: Model | Path | None = None,
        fields: FieldMapping | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.connection = connection
        self.settings = settings
        self.model = model
        if model is None and pipeline.model is not None:
            self.model = ready_model_dir(pipeline.model)
        self.fields = fields
        self.app: StreamApp | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises what made the worker stop on its own."""
        await reach(self.connection)
        # Faust wants a folder for tables of its own; the stages keep none.
        with tempfile.TemporaryDirectory(prefix="stream-infer-") as folder:
            self.app = StreamApp(self.pipeline.name, connection=self.connection, datadir=folder)
            self.app.serve(
                self.pipeline, model=self.model, settings=self.settings, fields=self.fields
            )
            async with translated(self.connection):
                await run_until(self.app, stop)
