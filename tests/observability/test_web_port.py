"""The web port, asked over real connections."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest

from stream_infer.errors import ConfigError, StreamInferError
from stream_infer.observability import web
from stream_infer.observability.facts import PlaneFacts
from stream_infer.observability.serving import observing
from stream_infer.observability.web import Address, Answer, Page, WebServer
from stream_infer.settings.web import WebSettings
from support.plane_facts import busy_facts

ANY = WebSettings(port=0)


def hello(accept: str) -> Answer:
    return Answer(HTTPStatus.OK, "text/plain", f"hello {accept}".encode())


@contextmanager
def serving(page: Page = hello, address: Address | None = None) -> Iterator[WebServer]:
    server = WebServer(address or Address(), {"/hello": page})
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(
    port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read()
    finally:
        connection.close()


def talk(port: int, *pieces: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            return b"".join(iter(lambda: connection.recv(4096), b""))
        except ConnectionError:
            return b""


def test_a_page_is_served_and_everything_else_is_not_there() -> None:
    with serving() as server:
        assert ask(server.port, "/hello", headers={"Accept": "x"}) == (
            200,
            "text/plain",
            b"hello x",
        )
        assert ask(server.port, "/hello?a=1")[0] == 200
        for path in ("/", "/hello/", "/../etc/passwd", "/metrics.py", "/%68ello"):
            assert ask(server.port, path)[0] == 404, path


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "NONSENSE"]
)
def test_only_get_is_allowed(method: str) -> None:
    with serving() as server:
        assert ask(server.port, "/hello", method)[0] == 405


@pytest.mark.parametrize(
    "request_bytes",
    [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\xfc\n\n", b"GET / HTTP/9.9\r\n\r\n"],
)
def test_nonsense_is_answered_or_dropped_and_the_port_goes_on(request_bytes: bytes) -> None:
    with serving() as server:
        answer = talk(server.port, request_bytes)
        assert answer == b"" or b" 400 " in answer or b" 505 " in answer
        assert ask(server.port, "/hello")[0] == 200


def test_a_request_may_come_in_pieces() -> None:
    with serving() as server:
        pieces = [bytes([byte]) for byte in b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"]
        assert b" 200 " in talk(server.port, *pieces)


def test_a_head_that_does_not_end_is_refused_at_its_bound() -> None:
    with serving() as server:
        head = b"GET /hello HTTP/1.1\r\nX: " + b"x" * (web.REQUEST_BYTES_MAX + 1)
        assert b" 431 " in talk(server.port, head)
        assert ask(server.port, "/hello")[0] == 200


def test_a_request_that_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS_MAX", 0.05)
    with serving() as server:
        assert talk(server.port, b"GET /hello HTTP/1.1\r\n") == b""


def test_too_many_connections_at_once_are_dropped_and_room_comes_back() -> None:
    with serving() as server:
        address = ("127.0.0.1", server.port)
        held = [socket.create_connection(address) for _ in range(web.CONNECTIONS_MAX)]
        try:
            # Those that were accepted hold all the room; the server drops the next at once.
            assert talk(server.port, b"GET /hello HTTP/1.1\r\n\r\n") == b""
        finally:
            for connection in held:
                connection.close()
        assert _eventually(lambda: talk(server.port, b"GET /hello HTTP/1.1\r\n\r\n") != b"")


def _eventually(condition: Callable[[], bool], patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_page_that_fails_costs_its_own_request_only() -> None:
    def broken(_accept: str) -> Answer:
        raise ValueError("broken")

    with serving(broken) as server:
        assert ask(server.port, "/hello")[::2] == (500, b"500 Internal Server Error\n")
        assert ask(server.port, "/nowhere")[0] == 404


def test_a_port_that_is_taken_is_an_error_with_a_cure() -> None:
    with serving() as first:
        second = WebServer(Address(port=first.port), {})
        with pytest.raises(StreamInferError, match=f"Port {first.port} of 127.0.0.1 is taken") as e:
            second.start()
        assert e.value.code == "web_port_taken"
        assert "--web-port" in e.value.fix
        second.stop()


def test_the_default_port_gives_way_to_a_worker_beside() -> None:
    with (
        serving() as first,
        serving(address=Address(port=first.port, fallback=True)) as second,
    ):
        assert second.port != first.port
        assert ask(second.port, "/hello")[0] == 200


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_of_no_interface_is_an_error_with_a_cure(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen") as caught:
        WebServer(Address(host=host), {}).start()
    assert caught.value.code == "web_address"
    assert "--web-host" in caught.value.fix


def test_the_port_is_free_again_after_a_stop() -> None:
    with serving() as first:
        port = first.port
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with serving(address=Address(port=port)) as again:
        assert again.port == port


# -- what a worker serves there ---------------------------------------------------------------


@contextmanager
def noted_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WebServer]]:
    servers: list[WebServer] = []
    start = WebServer.start

    def noting(server: WebServer) -> None:
        start(server)
        servers.append(server)

    monkeypatch.setattr(WebServer, "start", noting)
    yield servers


async def answers(
    monkeypatch: pytest.MonkeyPatch, facts: PlaneFacts, settings: WebSettings = ANY
) -> dict[str, tuple[int, Any]]:
    found = {}
    with noted_servers(monkeypatch) as servers:
        async with observing(settings, pipeline="fraud", version="0.1.0") as pulse:
            pulse.gather = lambda: facts
            pulse.beat()
            # The event loop stands still while it asks: the port must not need it.
            for path in ("/health/live", "/health/ready", "/metrics"):
                status, kind, body = ask(servers[0].port, path)
                found[path] = status, json.loads(body) if "json" in kind else body.decode()
    return found


async def test_a_worker_that_is_well_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await answers(monkeypatch, busy_facts())
    assert found["/health/live"] == (
        200,
        {"pipeline": "fraud", "live": True, "reasons": [], "partitions": 4},
    )
    status, body = found["/health/ready"]
    assert (status, body["ready"], body["reasons"]) == (200, True, [])
    # What a worker is ready in spite of.
    assert [each["code"] for each in body["details"]] == [
        "model_not_loaded",
        "fast_model_serves",
        "features_drifted",
    ]
    assert "version_not_found" in body["details"][0]["message"]
    assert "amount" in body["details"][2]["message"]
    status, text = found["/metrics"]
    assert status == 200
    assert 'stream_infer_events_total{pipeline="fraud",stage="customer"} 1.0' in text
    assert "process_cpu_seconds_total" in text


async def test_a_worker_that_starts_is_alive_and_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await answers(monkeypatch, PlaneFacts())
    assert found["/health/live"][0] == 200
    status, body = found["/health/ready"]
    assert status == 503
    assert body["ready"] is False
    assert [reason["code"] for reason in body["reasons"]] == ["starting"]
    assert body["reasons"][0]["message"].endswith(".")


async def test_a_stuck_event_loop_is_reported_by_its_own_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with noted_servers(monkeypatch) as servers:
        async with observing(ANY, pipeline="fraud", version="0.1.0") as pulse:
            real = pulse.seconds
            # The loop last turned now; whoever asks a minute later is not answered by it.
            pulse.seconds = lambda: real() + 60
            status, _, body = ask(servers[0].port, "/health/live")
    assert status == 503
    assert [each["code"] for each in json.loads(body)["reasons"]] == ["loop_stalled"]


async def test_limits_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = WebSettings(port=0, lag_max=9, stuck_after_ms=1_000, partition_metrics=False)
    found = await answers(monkeypatch, busy_facts(), settings)
    assert [each["code"] for each in found["/health/ready"][1]["reasons"]] == ["stuck", "lag"]
    assert "partition_lag_records" not in found["/metrics"][1]


@pytest.mark.parametrize("settings", [None, WebSettings(port="off")])
async def test_a_port_that_is_off_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, settings: WebSettings | None
) -> None:
    with noted_servers(monkeypatch) as servers:
        async with observing(settings, pipeline="fraud", version="0.1.0") as pulse:
            pulse.beat()
    assert servers == []


async def test_a_port_that_was_asked_for_and_is_taken_stops_the_worker() -> None:
    with serving() as first:
        taken = WebSettings(port=first.port)
        with pytest.raises(StreamInferError, match="is taken"):
            async with observing(taken, pipeline="fraud", version="0.1.0"):
                pass


def test_by_default_only_this_machine_can_ask() -> None:
    assert WebSettings().host == Address().host == "127.0.0.1"
