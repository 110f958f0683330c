"""How a request's bytes reach the endpoint: over kept-alive connections, with the client's own TLS settings.

:class:`SocketLink` lets botocore's pool make the connections (so verification, CA bundle, client certificates,
timeouts and socket options are the client's) and speaks HTTP/1.1 on them by itself, which costs a fraction of
what http.client's header parser does. :class:`SessionLink` is botocore's own way, taken through proxies and for
a client whose HTTP session is not botocore's usual one.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import ConnectTimeoutError as Urllib3ConnectTimeoutError
from urllib3.exceptions import HTTPError as Urllib3HTTPError
from urllib3.exceptions import SSLError as Urllib3SSLError

_READ_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_DEFAULT_TIMEOUT = 60.0
_SHORTEST_TIMEOUT = 0.001
_NO_BODY = frozenset({204, 304})
_FIRST_FINAL = 200


class Answer(NamedTuple):
    """An HTTP response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Link(Protocol):
    """Sends a request and returns its answer."""

    def send(self, head: bytes, prepared: Callable[[], AWSPreparedRequest], body: bytes, timeout: float) -> Answer:
        """Send a request once.

        Args:
            head: request line and headers, with the blank line behind them.
            prepared: makes the same request in botocore's form.
            body: the request's body.
            timeout: seconds that all of it may take.
        """
        ...

    def close(self) -> None:
        """Close the connections that idle."""
        ...


class _LostError(Exception):
    """The connection broke; `answered` tells whether a part of the answer had come."""

    def __init__(self, reason: object, *, answered: bool) -> None:
        super().__init__(str(reason))
        self.answered = answered


def open_link(session: Any, url: str, *, pool: int, config: Any) -> Link:
    """Return the cheapest link that keeps to what the client's HTTP session is set to.

    Args:
        session: the client's HTTP session.
        url: the endpoint.
        pool: connections kept open while they idle.
        config: the client's botocore configuration.
    """
    connections = _connections(session, url)
    if connections is None:
        return SessionLink(session)
    return SocketLink(
        url,
        connections,
        keep=pool,
        connect_timeout=config.connect_timeout or _DEFAULT_TIMEOUT,
        read_timeout=config.read_timeout or _DEFAULT_TIMEOUT,
    )


def _connections(session: Any, url: str) -> Callable[[], Any] | None:
    """Return a maker of connections to `url`, or None where only the session itself knows the way."""
    try:
        if session._proxy_config.proxy_url_for(url):
            return None
        pool = session._get_connection_manager(url).connection_from_url(url)
        session._setup_ssl_cert(pool, url, session._verify)
        make: Callable[[], Any] = pool._new_conn
    except AttributeError:
        return None
    return make


class SocketLink:
    """Speaks HTTP/1.1 on connections that botocore's pool makes; may be used by many threads at once.

    Args:
        url: the endpoint, for messages.
        connections: makes a connection that is not yet open.
        keep: connections kept open while they idle.
        connect_timeout: seconds.
        read_timeout: seconds without a byte.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        connections: Callable[[], Any],
        *,
        keep: int,
        connect_timeout: float,
        read_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._make = connections
        self._idle: deque[Any] = deque()
        self._keep = keep
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._clock = clock

    def send(self, head: bytes, prepared: Callable[[], AWSPreparedRequest], body: bytes, timeout: float) -> Answer:
        """Send a request once; a kept connection that the server had closed meanwhile does not count.

        Raises:
            botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError: the connection failed.
        """
        until = self._clock() + timeout
        data = head + body
        while True:
            connection, kept = self._take(until)
            try:
                answer, reusable = self._exchange(connection.sock, data, until)
            except _LostError as error:
                connection.close()
                if kept and not error.answered:
                    continue
                raise ConnectionClosedError(error=error, endpoint_url=self._url) from error
            except TimeoutError as error:
                connection.close()
                raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
            except BaseException:
                # Whatever came of it, an answer may still be on its way on this connection.
                connection.close()
                raise
            self._give_back(connection, reusable)
            return answer

    def close(self) -> None:
        """Close the connections that idle."""
        while self._idle:
            self._idle.pop().close()

    def _take(self, until: float) -> tuple[Any, bool]:
        try:
            # The one used last is the one least likely to have been closed by the server.
            return self._idle.pop(), True
        except IndexError:
            return self._connect(until), False

    def _give_back(self, connection: Any, reusable: bool) -> None:
        if reusable and len(self._idle) < self._keep:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self, until: float) -> Any:
        connection = self._make()
        connection.timeout = max(_SHORTEST_TIMEOUT, min(self._connect_timeout, until - self._clock()))
        try:
            connection.connect()
        except Urllib3ConnectTimeoutError as error:
            # urllib3 derives "no route", "refused" and "no such name" from its timeout error.
            connection.close()
            timed_out = type(error) is Urllib3ConnectTimeoutError
            kind = ConnectTimeoutError if timed_out else EndpointConnectionError
            raise kind(endpoint_url=self._url, error=error) from error
        except (ssl.SSLError, Urllib3SSLError) as error:
            connection.close()
            raise SSLError(endpoint_url=self._url, error=error) from error
        except (OSError, Urllib3HTTPError) as error:
            connection.close()
            raise EndpointConnectionError(endpoint_url=self._url, error=error) from error
        return connection

    def _exchange(self, sock: socket.socket, data: bytes, until: float) -> tuple[Answer, bool]:
        """Send a request and read its answer; also tell whether the connection can serve another one."""
        reader = _Reader(sock, self._url, read_timeout=self._read_timeout, until=until, clock=self._clock)
        try:
            reader.set_timeout()
            sock.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise _LostError(error, answered=False) from error
        return reader.read_answer()


class _Reader:
    """Reads one answer off a socket."""

    def __init__(
        self, sock: socket.socket, url: str, *, read_timeout: float, until: float, clock: Callable[[], float]
    ) -> None:
        self._sock = sock
        self._url = url
        self._read_timeout = read_timeout
        self._until = until
        self._clock = clock
        self._buffer = b""
        self._answered = False

    def set_timeout(self) -> None:
        """Allow the next operation as much time as there is left."""
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError("the request took all the time it had")
        self._sock.settimeout(min(left, self._read_timeout))

    def read_answer(self) -> tuple[Answer, bool]:
        """Return the answer, and whether the connection can serve another request."""
        while True:
            status, version, headers = self._read_head()
            if status >= _FIRST_FINAL:
                break
        body, delimited = self._read_body(status, headers)
        encoding = headers.get("content-encoding", "identity")
        if encoding != "identity":
            body = self._decode(body, encoding)
        connection = headers.get("connection", "").lower()
        lasting = version == b"HTTP/1.1" and "close" not in connection
        return Answer(status, headers, body), delimited and lasting and not self._buffer

    def _receive(self) -> bytes:
        try:
            data = self._sock.recv(_READ_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise _LostError(error, answered=self._answered) from error
        if data:
            self._answered = True
        return data

    def _more(self) -> bytes:
        data = self._receive()
        if not data:
            raise _LostError("the server closed the connection", answered=self._answered)
        if self._until - self._clock() < self._read_timeout:
            self.set_timeout()
        return data

    def _read_head(self) -> tuple[int, bytes, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise _LostError(f"the answer's header has no end within {_MAX_HEAD_BYTES} bytes", answered=True)
            self._buffer += self._more()
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise _LostError(f"the answer is not HTTP: {lines[0][:80]!r}", answered=True)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(rest[:3]), version.encode(), headers

    def _read_body(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """Return the body, and whether its end was marked."""
        if status in _NO_BODY:
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._read_chunks(), True
        length = headers.get("content-length")
        if length is None:
            return self._read_to_the_end(), False
        if not length.isdigit():
            raise _LostError(f"the answer's Content-Length is {length[:40]!r}", answered=True)
        return self._read_exactly(int(length)), True

    def _read_exactly(self, length: int) -> bytes:
        have = len(self._buffer)
        if have < length:
            pieces = [self._buffer]
            while have < length:
                pieces.append(self._more())
                have += len(pieces[-1])
            self._buffer = b"".join(pieces)
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        return data

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise _LostError("a chunk's length has no end", answered=True)
            self._buffer += self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _read_chunks(self) -> bytes:
        pieces = []
        while True:
            line = self._read_line().partition(b";")[0].strip()
            try:
                length = int(line, 16)
            except ValueError as error:
                raise _LostError(f"a chunk's length is {line[:40]!r}", answered=True) from error
            if not length:
                break
            pieces.append(self._read_exactly(length))
            self._read_line()
        while self._read_line():
            # Trailers, which nobody asked for.
            continue
        return b"".join(pieces)

    def _read_to_the_end(self) -> bytes:
        pieces = [self._buffer]
        while data := self._receive():
            pieces.append(data)
            self.set_timeout()
        self._buffer = b""
        return b"".join(pieces)

    def _decode(self, body: bytes, encoding: str) -> bytes:
        try:
            # 47: zlib and gzip, told apart by their first bytes.
            return zlib.decompress(body, 47)
        except zlib.error as error:
            raise _LostError(f"the answer's body is no {encoding}: {error}", answered=True) from error


class SessionLink:
    """Sends through botocore's own HTTP session, proxies and all.

    Args:
        session: the client's HTTP session.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def send(self, head: bytes, prepared: Callable[[], AWSPreparedRequest], body: bytes, timeout: float) -> Answer:
        """Send a request once, within the session's own timeouts."""
        answer = self._session.send(prepared())
        return Answer(
            answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content
        )

    def close(self) -> None:
        """Leave the connections to the client, which may still use them."""
