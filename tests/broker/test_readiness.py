"""Asking a broker whether it serves."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stream_infer.broker.ports import free_port
from stream_infer.broker.readiness import BrokerFacts, ask_broker, parse_metadata


def text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">h", -1)
    return struct.pack(">h", len(value.encode())) + value.encode()


def answer(*nodes: tuple[str, int, str | None], cluster: str | None = "c1") -> bytes:
    body = struct.pack(">ii", 1, len(nodes))
    for number, (host, port, rack) in enumerate(nodes):
        body += struct.pack(">i", number) + text(host) + struct.pack(">i", port) + text(rack)
    return body + text(cluster) + struct.pack(">ii", 1, 0)


@contextmanager
def server(*parts: bytes) -> Iterator[int]:
    """Answer the first connection with these parts, one a packet, and close it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.recv(4096)
                for part in parts:
                    connection.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def test_nodes_and_cluster_are_read_from_an_answer() -> None:
    body = answer(("127.0.0.1", 9092, None), ("höst", 9093, "rack"))
    facts = BrokerFacts("c1", (("127.0.0.1", 9092), ("höst", 9093)))
    assert parse_metadata(body) == facts
    with server(framed(body)) as port:
        assert ask_broker("127.0.0.1", port, 10) == facts


def test_a_fenced_broker_has_no_nodes() -> None:
    assert parse_metadata(answer(cluster=None)) == BrokerFacts(None, ())


def test_an_answer_in_single_bytes_is_put_together() -> None:
    data = framed(answer(("127.0.0.1", 9092, None)))
    with server(*(data[at : at + 1] for at in range(len(data)))) as port:
        facts = ask_broker("127.0.0.1", port, 10)
    assert facts == BrokerFacts("c1", (("127.0.0.1", 9092),))


@pytest.mark.parametrize("cut", range(28))
def test_an_answer_cut_short_is_no_answer(cut: int) -> None:
    data = framed(answer(("127.0.0.1", 9092, None)))
    with server(data[:cut]) as port:
        assert ask_broker("127.0.0.1", port, 10) is None


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        framed(b"\0" * 40),  # another request's answer
        framed(struct.pack(">ii", 1, 1 << 30)),
        framed(b""),
    ],
)
def test_another_server_is_no_broker(data: bytes) -> None:
    with server(data) as port:
        assert ask_broker("127.0.0.1", port, 10) is None


def test_nobody_there_is_no_broker() -> None:
    assert ask_broker("127.0.0.1", free_port(), 1) is None


def test_a_silent_server_is_no_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert ask_broker("127.0.0.1", listening.getsockname()[1], 0.05) is None
