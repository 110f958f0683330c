"""HTTP/1.1 connections that stay open: a client pays for a connection once, not for each call.

werkzeug's own handler closes the connection after every reply, since it cannot tell where a request ends that
its application has not read. Here a request is read whole before the application sees it, and the reply is
sent whole, in one piece; both fit into memory, as everything does that this AWS holds.
"""

import logging
import socket
from collections.abc import Iterable
from io import BytesIO
from threading import Lock
from typing import Any, Final

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.exceptions import InternalServerError
from werkzeug.serving import ThreadedWSGIServer

from local_aws.clock import CLOCK
from local_aws.request_faults import DROP

LISTEN_QUEUE: Final = 128
_NO_BODY: Final = frozenset({204, 304})
log = logging.getLogger(__name__)


class BadBody(ValueError):
    """A request whose body has no readable length."""


class Server(ThreadedWSGIServer):
    """One thread a connection; connections that wait for a request are closed with the server."""

    request_queue_size = LISTEN_QUEUE

    def __init__(self, host: str, port: int, application: Any, listening: socket.socket) -> None:
        self._connections: set[socket.socket] = set()
        self._connections_lock = Lock()
        self.closing = False
        super().__init__(host, port, application, handler=RequestHandler, fd=listening.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a new connection."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End every connection: one that waits for a request at once, another after its reply."""
        self.closing = True
        with self._connections_lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    log.debug("A connection was closed by its client just now.")


class RequestHandler(MotoRequestHandler):
    """moto's handler on connections that stay open, with its log in ours: quiet, but for errors."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def run_wsgi(self) -> None:
        """Read one request, let the application answer it, and send the reply."""
        self.environ = environ = self.make_environ()
        try:
            body = self._read_body(environ)
        except BadBody as error:
            self.close_connection = True
            self.send_error(400, str(error))
            return
        environ["wsgi.input"] = BytesIO(body)
        environ["wsgi.input_terminated"] = True
        environ["CONTENT_LENGTH"] = str(len(body))
        try:
            status, headers, content = _call(self.server.app, environ)
        except Exception:
            log.exception("%s failed", self.requestline)
            status, headers, content = _call(InternalServerError(), environ)
        if DROP in environ:
            self.close_connection = True
            return
        self._send(status, headers, content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` of replies by our clock: it is how callers learn what time it is at AWS."""
        return super().date_time_string(CLOCK.now().timestamp() if timestamp is None else timestamp)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        log.debug("%s %s", self.requestline, code)

    def log(self, type: str, message: str, *args: Any) -> None:
        log.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        log.debug("A client went away: %s", error)

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        if environ.get("wsgi.input_terminated"):
            # Chunked. werkzeug reads to the last chunk, and leaves trailers behind it unread.
            self.close_connection = True
            try:
                return bytes(environ["wsgi.input"].read())
            except OSError as error:
                raise BadBody(str(error)) from error
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal():
            raise BadBody(f"Content-Length is {length!r}")
        body: bytes = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError(f"{len(body)} of {length} bytes of a request came")
        return body

    def _send(self, status: str, headers: list[tuple[str, str]], content: bytes) -> None:
        code = int(status.split(None, 1)[0])
        self.log_request(code)
        names = {name.lower() for name, _ in headers}
        bodiless = self.command == "HEAD" or code in _NO_BODY or code < 200
        ours = {"Server": self.version_string(), "Date": self.date_time_string()}
        if not bodiless:
            ours["Content-Length"] = str(len(content))
        if self.server.closing:
            self.close_connection = True
        lines = [f"{self.protocol_version} {status}"]
        lines += [f"{name}: {value}" for name, value in ours.items() if name.lower() not in names]
        lines += [f"{name}: {value}" for name, value in headers]
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(head if bodiless else head + content)


def _call(application: Any, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = (status, headers)
        return None

    parts: Iterable[bytes] = application(environ, start_response)
    try:
        content = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = started
    return status, headers, content
