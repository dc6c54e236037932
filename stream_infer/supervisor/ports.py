"""A web port for each process, known before they start, so that one line can name them all."""

from __future__ import annotations

from stream_infer.errors import UsageError
from stream_infer.observability.web import Address, WebServer
from stream_infer.settings.web import DEFAULT_PORT, WebSettings
from stream_infer.supervisor.member import WebPort

PORT_MAX = 65_535


def web_ports(settings: WebSettings, processes: int) -> list[WebPort]:
    """Return a port for each process: one behind the other from the one that was asked for.

    ``auto`` takes any free one where the next is taken; 0 takes any free one for each.
    Raises  UsageError ``web_ports_beyond``; as `WebServer.start` for one that is taken or that
            may not be used. Between this look and a process's start another program may take it:
            then the process ends with that error, and is started again.
    """
    if settings.port == "off":
        return ["off"] * processes
    asked = settings.port if isinstance(settings.port, int) else DEFAULT_PORT
    if asked and asked + processes - 1 > PORT_MAX:
        raise UsageError(
            "web_ports_beyond",
            f"There are no {processes} ports from {asked} on.",
            "Give a lower --web-port, 0 for any free ones, or off.",
            port=asked,
        )
    # All are held until all are chosen, or the same free one would be chosen twice.
    held: list[WebServer] = []
    try:
        for index in range(processes):
            port = asked + index if asked else 0
            server = WebServer(Address(settings.host, port, settings.port == "auto"), {})
            server.start()
            held.append(server)
        return [server.port for server in held]
    finally:
        for server in held:
            server.stop()


def web_url(host: str, port: WebPort) -> str | None:
    """Return where a process can be asked, None where it cannot.

    >>> web_url("127.0.0.1", 6066), web_url("::1", 80), web_url("127.0.0.1", "off")
    ('http://127.0.0.1:6066', 'http://[::1]:80', None)
    """
    if port == "off":
        return None
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
