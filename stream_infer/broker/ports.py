"""Free TCP ports on loopback.

A port is chosen here and bound by the JVM a second later. Ports of the range that the
system hands to outgoing connections (32768 and up on Linux, 49152 and up on macOS) could
be taken in between, or while a broker restarts, by any client on this machine; so ours
come from below it.
"""

from __future__ import annotations

import random
import socket

from stream_infer.broker.config import HOST
from stream_infer.errors import EmbeddedBrokerError

PORT_MIN = 20_000
PORT_MAX = 32_000
ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As Java does: a port whose old connections linger (TIME_WAIT) is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """Return a port that is free now and not in `taken`."""
    # Its own generator: a seed set by a test must not send two runs to the same port.
    generator = random.SystemRandom()
    for _ in range(ATTEMPTS):
        port = generator.randrange(PORT_MIN, PORT_MAX)
        if port not in taken and is_free(port):
            return port
    raise EmbeddedBrokerError(
        "no_free_port",
        f"No free port was found on {HOST} between {PORT_MIN} and {PORT_MAX}.",
        "Choose one with --port.",
    )


def require_free(port: int) -> None:
    """Raise EmbeddedBrokerError port_taken when the port is in use."""
    if not is_free(port):
        raise EmbeddedBrokerError(
            "port_taken",
            f"Port {port} on {HOST} is taken by another process.",
            "Leave --port out to get a free one, or choose another.",
            port=port,
        )
