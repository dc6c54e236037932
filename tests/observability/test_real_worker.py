"""What a real worker on a real Kafka tells about itself."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_infer.broker import EmbeddedBroker
from stream_infer.dataplane.counters import Counters
from stream_infer.kafka.connection import Connection
from stream_infer.observability.metrics import COUNTERS
from stream_infer.observability.web import Address, WebServer
from stream_infer.settings.web import WebSettings
from stream_infer.worker import Worker
from support.kafka import BROKER_CONFIG, aproduce
from support.load import make_load, send_labels, send_transactions
from support.pipelines import own_pipeline, written
from support.worker import TESTED, Serving, WorkerProcess, make_topics, settle, until

pytestmark = pytest.mark.kafka

SETTINGS = {"align_wait_max": "1h", "commit_interval_ms": "100"}
JSON_LOG = ("--web-port", "0", "--log-format", "json")


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:  # noqa: S310 - our own port
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Port:
    """The web port of a worker process."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process

    async def url(self) -> str:
        await self._process.says("web_port_open")
        found = re.search(r"http://127\.0\.0\.1:\d+", self._process.log)
        assert found is not None
        return found.group()

    async def health(self, word: str) -> tuple[int, list[str]]:
        status, body = await asyncio.to_thread(ask, f"{await self.url()}/health/{word}")
        return status, [reason["code"] for reason in json.loads(body)["reasons"]]

    async def is_ready(self) -> bool:
        return (await self.health("ready"))[0] == 200

    async def text(self) -> str:
        return (await asyncio.to_thread(ask, f"{await self.url()}/metrics"))[1]

    async def sum_of(self, sample: str, **labels: str) -> float:
        return sum(
            each.value
            for family in text_string_to_metric_families(await self.text())
            for each in family.samples
            if each.name == sample and labels.items() <= each.labels.items()
        )


def test_every_counter_of_a_task_is_a_metric() -> None:
    # Dead letters are counted by code, in the meter.
    assert {field.name for field in fields(Counters)} - {"dead_letters"} <= set(COUNTERS)


async def test_the_metrics_of_a_worker_agree_with_what_it_was_given(
    kafka: str, tmp_path: Path
) -> None:
    pipeline, load = own_pipeline(), make_load(days=5, customers=80)
    await make_topics(kafka, pipeline, partitions=2)
    await send_labels(kafka, pipeline, load.labels)
    await send_transactions(kafka, pipeline, load.transactions)
    bad = [(b"nobody", b"no json", 0, ())] * 3
    await aproduce(kafka, pipeline.events.topic, bad)
    process = WorkerProcess(written(pipeline, tmp_path), kafka, *JSON_LOG, settings=SETTINGS)
    port = Port(process)
    try:
        assert (await port.health("live"))[0] == 200
        await until(port.is_ready, alive=process.alive)
        await settle(kafka, pipeline, process.alive)

        async def counted() -> bool:
            return await port.sum_of("stream_infer_scores_total") == len(load)

        await until(counted, alive=process.alive)
        assert await port.sum_of("stream_infer_dead_letters_total") == 3
        assert await port.sum_of("stream_infer_events_total", stage="customer") == len(load)
        assert await port.sum_of("stream_infer_window_entries") > 0
        assert await port.sum_of("stream_infer_window_bytes") > 0
        assert await port.sum_of("stream_infer_step_seconds_total", step="fold") > 0
        assert await port.sum_of("stream_infer_step_seconds_total", step="send") > 0
        # Of a catch-up no ages are told.
        assert await port.sum_of("stream_infer_event_age_seconds_count") == 0

        now_ms = int(time.time() * 1000)
        live = load.transactions.take(np.arange(len(load) - 5, len(load)))
        just_now = np.full(len(live), now_ms)
        await send_transactions(
            kafka, pipeline, replace(live, event_time=just_now, id_prefix="live-")
        )

        async def aged() -> bool:
            return await port.sum_of("stream_infer_event_age_seconds_count") == len(live)

        await until(aged, alive=process.alive)
        await settle(kafka, pipeline, process.alive)

        async def caught_up() -> bool:
            return await port.sum_of("stream_infer_lag_records") == 0

        await until(caught_up, alive=process.alive)
        customer = load.transactions.customer_ids[0]
        assert f'"{customer}"' not in await port.text()
        assert await process.stop() == 0
        for line in process.log.splitlines():
            if line.startswith("{"):
                assert json.loads(line)["pipeline"] == pipeline.name
    finally:
        process.kill()


async def test_counters_do_not_fall_when_partitions_move(kafka: str, tmp_path: Path) -> None:
    pipeline, load = own_pipeline(), make_load(days=5, customers=80)
    await make_topics(kafka, pipeline, partitions=2)
    await send_labels(kafka, pipeline, load.labels)
    await send_transactions(kafka, pipeline, load.transactions)
    file = written(pipeline, tmp_path)
    first = WorkerProcess(file, kafka, *JSON_LOG, settings=SETTINGS)
    second = None
    port = Port(first)
    try:
        await settle(kafka, pipeline, first.alive)

        async def counted() -> bool:
            return await port.sum_of("stream_infer_scores_total") == len(load)

        await until(counted, alive=first.alive)
        all_of = await port.sum_of("stream_infer_partitions")
        second = WorkerProcess(
            file, kafka, *JSON_LOG, settings=SETTINGS, log=tmp_path / "second.log"
        )
        await until(Port(second).is_ready, alive=second.alive)

        async def shared() -> bool:
            return 0 < await port.sum_of("stream_infer_partitions") < all_of

        await until(shared, alive=first.alive)
        assert await port.sum_of("stream_infer_scores_total") == len(load)
        assert await second.stop() == 0

        async def alone() -> bool:
            return await port.sum_of("stream_infer_partitions") == all_of

        await until(alone, alive=first.alive)
        await until(port.is_ready, alive=first.alive)
        assert await port.sum_of("stream_infer_scores_total") == len(load)
    finally:
        first.kill()
        if second is not None:
            second.kill()


async def test_a_worker_whose_kafka_is_away_is_alive_and_not_ready(tmp_path: Path) -> None:
    pipeline = own_pipeline()
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        await make_topics(broker.bootstrap, pipeline, partitions=1)
        process = WorkerProcess(
            written(pipeline, tmp_path), broker.bootstrap, *JSON_LOG, settings=SETTINGS
        )
        port = Port(process)
        try:
            await until(port.is_ready, alive=process.alive)
            await asyncio.to_thread(broker.kill)

            async def says_away() -> bool:
                return "broker_away" in (await port.health("ready"))[1]

            await until(says_away, alive=process.alive)
            assert (await port.health("live"))[0] == 200
            assert await port.sum_of("stream_infer_broker_reachable") == 0
            await asyncio.to_thread(broker.restart)
            await until(port.is_ready, alive=process.alive)
            assert await process.stop() == 0
        finally:
            process.kill()


async def test_a_worker_whose_event_loop_is_stuck_says_that_it_is_not_alive(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[WebServer] = []
    start = WebServer.start

    def noting(server: WebServer) -> None:
        start(server)
        servers.append(server)

    monkeypatch.setattr(WebServer, "start", noting)
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=1)
    web = WebSettings(port=0, stalled_after_ms=1_000)
    worker = Worker(pipeline, Connection(bootstrap=kafka), TESTED, web=web)
    serving = Serving(kafka, worker)
    try:
        await until(lambda: bool(servers), alive=serving.alive)
        url = f"{servers[0].url}/health"

        async def ready() -> bool:
            return (await asyncio.to_thread(ask, f"{url}/ready"))[0] == 200

        await until(ready, alive=serving.alive)
        # From here the loop, which is the worker's too, does nothing but ask.
        while (answer := ask(f"{url}/live"))[0] == 200:
            time.sleep(0.05)  # noqa: ASYNC251 - the loop is to be stuck
        codes: list[Any] = [reason["code"] for reason in json.loads(answer[1])["reasons"]]
        assert "loop_stalled" in codes
        await until(ready, alive=serving.alive)
    finally:
        await serving.stop()
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(ask, f"{url}/live")


async def test_a_worker_whose_port_is_taken_says_so_and_ends(kafka: str, tmp_path: Path) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=1)
    beside = WebServer(Address(), {})
    beside.start()
    try:
        process = WorkerProcess(
            written(pipeline, tmp_path), kafka, "--web-port", str(beside.port), settings=SETTINGS
        )
        try:
            assert await process.exit_code() == 1
            assert f"Port {beside.port} of 127.0.0.1 is taken" in process.log
            assert "fix:" in process.log
        finally:
            process.kill()
    finally:
        beside.stop()
