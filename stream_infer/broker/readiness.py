"""Ask a broker whether it serves, with two Kafka requests on a bare socket.

A TCP connection is not enough: the port is open before the broker may serve. A broker
names itself in a Metadata answer only when it is registered and unfenced (KIP-631), so
its own port and cluster id in that answer mean that clients can work now, and that it is
our broker and no other process that took the port.
Source: Kafka protocol guide, Metadata request version 2, request header version 1.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_METADATA = 3
_METADATA_VERSION = 2
_RESPONSE_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class BrokerFacts:
    """What a broker says of its cluster: its id, and (host, port) of each live node."""

    cluster_id: str | None
    nodes: tuple[tuple[str, int], ...]


def ask_broker(host: str, port: int, timeout_s: float = 1.0) -> BrokerFacts | None:
    """Return what the broker answers, or None when no Kafka answers there in time."""
    header = struct.pack(">hhih12s", _METADATA, _METADATA_VERSION, 1, 12, b"stream-infer")
    request = header + struct.pack(">i", 0)  # an empty list of topics: none
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            if not 0 < size <= _RESPONSE_BYTES_MAX:
                return None
            return parse_metadata(_read(connection, size))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def parse_metadata(body: bytes) -> BrokerFacts:
    """Read the start of a Metadata response of version 2.

    Layout: correlation id int32; nodes [int32 count, each: id int32, host string, port
    int32, rack nullable string]; cluster id nullable string; controller id; topics.
    A string is an int16 length, -1 for null, and UTF-8.
    Raises struct.error or UnicodeDecodeError when the bytes are not such a response.
    """
    correlation, count = struct.unpack_from(">ii", body, 0)
    if correlation != 1:
        raise struct.error("not an answer to our request")
    at = 8
    nodes: list[tuple[str, int]] = []
    for _ in range(count):
        host, at = _string(body, at + 4)
        (port,) = struct.unpack_from(">i", body, at)
        _, at = _string(body, at + 4)
        nodes.append((host or "", port))
    cluster_id, _ = _string(body, at)
    return BrokerFacts(cluster_id, tuple(nodes))


def _string(body: bytes, at: int) -> tuple[str | None, int]:
    (length,) = struct.unpack_from(">h", body, at)
    if length < 0:
        return None, at + 2
    (text,) = struct.unpack_from(f">{length}s", body, at + 2)
    return text.decode(), at + 2 + length


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise OSError("the broker closed the connection")
        data += part
    return data
