"""HTTP itself: connections that stay open, bodies of every form, and the end of a server."""

import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from threading import Thread
from typing import Any

import pytest

from local_aws.connections import Server
from local_aws.server import LocalAwsServer

HEAD = "POST /{} HTTP/1.1\r\nHost: x\r\n{}\r\n"


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with what was sent; fail, or answer with a status, where the path says so."""
    path = environ["PATH_INFO"].strip("/")
    if path == "fail":
        raise RuntimeError("as ordered")
    start_response(path or "200 OK", [("X-Method", environ["REQUEST_METHOD"])])
    return [environ["wsgi.input"].read(), environ.get("CONTENT_TYPE", "").encode()]


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    """A connection to a server of `echo`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server("127.0.0.1", listening.getsockname()[1], echo, listening)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connected:
            yield connected
    finally:
        server.shutdown()
        server.close_connections()
        thread.join()
        server.server_close()


def reply_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one reply, by its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536) or pytest.fail(f"closed after {received!r}")
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(status.split()[1]), headers, body


def is_closed(connection: socket.socket) -> bool:
    return connection.recv(1) == b""


def test_one_connection_serves_many_requests(connection: socket.socket) -> None:
    for number in range(3):
        body = b"x" * number
        connection.sendall(HEAD.format("", f"Content-Length: {number}\r\n").encode() + body)
        assert reply_of(connection)[::2] == (200, body)


def test_requests_may_be_sent_ahead_of_replies(connection: socket.socket) -> None:
    request = HEAD.format("", "Content-Length: 1\r\n").encode()
    connection.sendall(request + b"a" + request + b"b")
    received = b""
    while received.count(b"\r\n\r\n") < 2 or not received.endswith(b"b"):
        received += connection.recv(65536)
    assert received.index(b"\r\n\r\na") < received.index(b"\r\n\r\nb")


def test_a_body_that_the_application_does_not_read_is_not_the_next_request(connection: socket.socket) -> None:
    connection.sendall(HEAD.format("fail", "Content-Length: 5\r\n").encode() + b"GET /")
    assert reply_of(connection)[0] == 500
    connection.sendall(HEAD.format("", "Content-Length: 2\r\n").encode() + b"ok")
    assert reply_of(connection)[::2] == (200, b"ok")


def test_a_chunked_body(connection: socket.socket) -> None:
    head = HEAD.format("", "Transfer-Encoding: chunked\r\n").encode()
    connection.sendall(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    status, headers, body = reply_of(connection)
    assert (status, body, headers["connection"]) == (200, b"abcde", "close")


@pytest.mark.parametrize(
    "head",
    ["Content-Length: many\r\n", "Content-Length: -1\r\n", "Transfer-Encoding: chunked\r\n"],
    ids=["no number", "negative", "bad chunk"],
)
def test_a_body_of_no_readable_length_is_refused(connection: socket.socket, head: str) -> None:
    connection.sendall(HEAD.format("", head).encode() + b"no chunk\r\n")
    assert reply_of(connection)[0] == 400


def test_a_client_may_wait_for_leave_to_send_its_body(connection: socket.socket) -> None:
    connection.sendall(HEAD.format("", "Expect: 100-continue\r\nContent-Length: 2\r\n").encode())
    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b"ok")
    assert reply_of(connection)[::2] == (200, b"ok")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_reply_without_a_body_keeps_the_connection_in_step(connection: socket.socket, status: str) -> None:
    connection.sendall(HEAD.format(status.replace(" ", "%20"), "Content-Length: 3\r\n").encode() + b"abc")
    answered, headers, body = reply_of(connection)
    assert (answered, body) == (int(status[:3]), b"")
    assert "content-length" not in headers
    connection.sendall(HEAD.format("", "Content-Length: 2\r\n").encode() + b"ok")
    assert reply_of(connection)[::2] == (200, b"ok")


def test_head_is_answered_without_a_body(connection: socket.socket) -> None:
    connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    assert reply_of(connection)[1]["x-method"] == "HEAD"
    connection.sendall(HEAD.format("", "Content-Length: 2\r\n").encode() + b"ok")
    assert reply_of(connection)[::2] == (200, b"ok")


@pytest.mark.parametrize(
    "request_text",
    ["GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"],
    ids=["asked to", "HTTP/1.0"],
)
def test_a_connection_is_closed_for_a_client_that_wants_it(connection: socket.socket, request_text: str) -> None:
    connection.sendall(request_text.encode())
    assert reply_of(connection)[0] == 200
    assert is_closed(connection)


def test_a_stopped_server_answers_nobody_on_an_open_connection() -> None:
    server = LocalAwsServer(port=0, ticking=False)
    server.start()
    with closing(HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("GET", "/local-aws/health")
        assert client.getresponse().read()
        open_connection = client.sock
        server.stop()
        assert is_closed(open_connection)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
