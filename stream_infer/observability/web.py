"""The web port of a worker: ``/metrics``, ``/health/live``, ``/health/ready``, nothing else.

It runs in threads of its own, on the standard library's server. Served by the worker's event
loop it would be silent exactly when that loop is stuck, and a probe could not tell "stuck" from
"network". The threads only read the newest snapshot, so they cannot hold up the work either.

What comes in is not trusted: GET only, no body is read, a request's head has a size and a
deadline, and so many connections at once. It listens on loopback unless told otherwise, and
says nothing about what events hold.
"""

from __future__ import annotations

import errno
import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, cast

import structlog

from stream_infer.errors import ConfigError, StreamInferError

log = structlog.get_logger("stream_infer.observability")

REQUEST_BYTES_MAX = 8192
REQUEST_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 16
STOP_POLL_SECONDS = 0.1
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    content_type: str
    body: bytes


Page = Callable[[str], Answer]
"""Makes the answer, given the request's Accept header."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens.

    host      name or address of an interface of this machine
    port      0 takes any free one
    fallback  whether any free port will do when this one is taken
    """

    host: str = "127.0.0.1"
    port: int = 0
    fallback: bool = False


class WebServer:
    """Serves pages from `start` until `stop`.

    address  where to listen
    pages    path -> what makes its answer, called in a thread of the server
    """

    def __init__(self, address: Address, pages: Mapping[str, Page]) -> None:
        self._address = address
        self._pages = pages
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it can be asked, once it has started."""
        host = self._address.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises  StreamInferError ``web_port_taken``, ConfigError ``web_address``
        """
        self._server = self._bind()
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(STOP_POLL_SECONDS,),
            name="stream-infer-web",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; requests under way may still be answered. Safe to repeat."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        server.server_close()
        self._thread.join()

    def _bind(self) -> _Server:
        address = self._address
        try:
            return self._listen(address.port)
        except StreamInferError as error:
            if not address.fallback or error.code != "web_port_taken":
                raise
            log.info("web_port_taken", port=address.port, instead="any free one")
            return self._listen(0)

    def _listen(self, port: int) -> _Server:
        host = self._address.host
        try:
            return _Server(host, port, self._pages)
        except socket.gaierror as error:
            raise _bad_address(host, "the name has no address") from error
        except PermissionError as error:
            raise ConfigError(
                "web_address",
                f"Port {port} may not be used: {error.strerror}.",
                "Take a port above 1023 with --web-port.",
                host=host,
                port=port,
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StreamInferError(
                    "web_port_taken",
                    f"Port {port} of {host} is taken by another program.",
                    "Give the worker another one with --web-port, `0` for any free one, or `off`.",
                    host=host,
                    port=port,
                ) from error
            raise _bad_address(host, error.strerror or str(error)) from error


def _bad_address(host: str, cause: str) -> ConfigError:
    return ConfigError(
        "web_address",
        f"The worker cannot listen on {host!r}: {cause}.",
        "Give --web-host an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them.",
        host=host,
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # With it two workers would listen on one port, and each probe would ask either.
    allow_reuse_port = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: that asks the resolver for this machine's full name, for seconds
        # where there is none.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The standard one prints a traceback. A peer that hangs up is no news.
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("web_request_failed", cause=repr(error))


class _Handler(BaseHTTPRequestHandler):
    server_version = "stream-infer"
    sys_version = ""

    def handle(self) -> None:
        head = self._read_head()
        if head is None:
            return
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if not self.parse_request():
            return
        self.close_connection = True
        self._send(self._answer())

    def _read_head(self) -> bytes | None:
        """Return the request up to its empty line; None when it is too long or too slow."""
        deadline = time.monotonic() + REQUEST_SECONDS_MAX
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.connection.settimeout(left)
            try:
                more = self.connection.recv(4096)
            except TimeoutError:
                return None
            if not more:
                return None
            head += more
            if len(head) > REQUEST_BYTES_MAX:
                self.raw_requestline = b""
                self.requestline, self.request_version = "", "HTTP/1.1"
                self._send(_plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
                return None
        return head

    def _answer(self) -> Answer:
        if self.command != "GET":
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        page = cast("_Server", self.server).pages.get(self.path.partition("?")[0])
        if page is None:
            return _plain(HTTPStatus.NOT_FOUND)
        try:
            return page(self.headers.get("Accept", ""))
        except Exception as error:
            log.exception("web_page_failed", path=self.path, cause=str(error))
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: a probe comes every few seconds, and what it sends is not ours to print."""


def _plain(status: HTTPStatus) -> Answer:
    return Answer(status, TEXT, f"{status.value} {status.phrase}\n".encode())
