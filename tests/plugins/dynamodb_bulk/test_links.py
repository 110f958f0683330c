import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session

from dynamodb_bulk.links import Answer, SessionLink, SocketLink, open_link

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amzn-RequestId: R\r\n\r\n{}"
Script = Callable[[socket.socket], None]


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class Server:
    """Accepts connections and answers on each by its own script; the last script serves all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection, script), daemon=True).start()

    def serve(self, connection: socket.socket, script: Script) -> None:
        with connection, contextlib.suppress(OSError):
            script(connection)


def answering(*answers: bytes, slices: int | None = None, then_close: bool = True) -> Script:
    """Answer one request after the other; in small pieces if asked for."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            if not read_request(connection):
                return
            for start in range(0, len(answer), slices or max(1, len(answer))):
                connection.sendall(answer[start : start + (slices or len(answer))])
                if slices:
                    time.sleep(0.0005)
        if not then_close:
            read_request(connection)

    return script


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*scripts: Script) -> Server:
        servers.append(Server(*scripts))
        return servers[-1]

    yield start
    for server in servers:
        server.listener.close()


def open_to(server: Server, **timeouts: float) -> SocketLink:
    config = SimpleNamespace(**{"connect_timeout": 2, "read_timeout": 2, **timeouts})
    link = open_link(URLLib3Session(), server.url, pool=2, config=config)
    assert isinstance(link, SocketLink)
    return link


def send(link: Any, url: str, body: bytes = b'{"a":1}', timeout: float = 5) -> Answer:
    headers = {"Host": "x", "Content-Length": str(len(body))}
    head = b"POST / HTTP/1.1\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items()) + b"\r\n"
    answer: Answer = link.send(
        head, lambda: AWSPreparedRequest("POST", url, HeadersDict(headers), body, False), body, timeout
    )
    return answer


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n05\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n"
)


@pytest.mark.parametrize("slices", [None, 1, 7])
@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK, 200, b"{}"),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length:3\r\n\r\nbad", 400, b"bad"),
        (CHUNKED, 200, b"abcdefgh"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n", 500, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"z" * 300_000, 200, b"z" * 300_000),
    ],
    ids=["length", "error", "chunked", "no content", "continue", "no length", "old", "no reason", "large"],
)
def test_answers_of_all_shapes(
    serve: Callable[..., Server], answer: bytes, status: int, body: bytes, slices: int | None
) -> None:
    if slices and len(answer) > 10_000:
        slices *= 5000
    server = serve(answering(answer, slices=slices))
    found = send(open_to(server), server.url)
    assert (found.status, found.body) == (status, body)


def test_a_compressed_answer_is_unpacked(serve: Callable[..., Server]) -> None:
    packed = gzip.compress(b'{"Items":[]}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server = serve(answering(head + packed))
    assert send(open_to(server), server.url).body == b'{"Items":[]}'


def test_names_of_headers_are_in_lower_case(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    assert send(open_to(server), server.url).headers["x-amzn-requestid"] == "R"


def test_a_connection_is_used_again_and_one_that_the_server_closed_is_replaced_unnoticed(
    serve: Callable[..., Server],
) -> None:
    server = serve(answering(OK, OK), answering(OK, OK))
    link = open_to(server)
    for _ in range(4):
        assert send(link, server.url).body == b"{}"
    assert server.connections == 2
    link.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"\r\nX-Amzn", b"\r\nConnection: close\r\nX-Amzn"),
        OK + b"left over",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_connection_that_is_not_clean_is_not_used_again(serve: Callable[..., Server], answer: bytes) -> None:
    server = serve(answering(answer, answer, then_close=False))
    link = open_to(server)
    for _ in range(2):
        assert send(link, server.url).body == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK[:-1],
        CHUNKED[:-20],
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["nothing", "head", "body", "chunks", "length", "chunk", "no HTTP", "endless head", "not packed"],
)
def test_an_answer_that_breaks_off_or_is_none_is_a_lost_connection(serve: Callable[..., Server], answer: bytes) -> None:
    server = serve(answering(answer))
    link = open_to(server)
    with pytest.raises(ConnectionClosedError):
        send(link, server.url)
    assert server.connections == 1


def test_a_kept_connection_that_breaks_within_an_answer_is_not_asked_again(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK, OK[:-1]), answering(OK))
    link = open_to(server)
    send(link, server.url)
    with pytest.raises(ConnectionClosedError):
        send(link, server.url)
    assert server.connections == 1


def test_a_server_that_says_nothing(serve: Callable[..., Server]) -> None:
    server = serve(answering(b"HTTP/1.1 200 OK\r\n", then_close=False))
    with pytest.raises(ReadTimeoutError):
        send(open_to(server, read_timeout=0.1), server.url)


def test_a_server_that_trickles_does_not_outlast_the_request(serve: Callable[..., Server]) -> None:
    server = serve(answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 4000, slices=1))
    began = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        send(open_to(server, read_timeout=1), server.url, timeout=0.3)
    assert time.monotonic() - began < 1.5


def test_nobody_listens(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK))
    # A thread that is waiting in accept() keeps a socket listening that is only closed.
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    with pytest.raises(EndpointConnectionError):
        send(open_to(server), server.url)


def test_many_threads_share_a_link(serve: Callable[..., Server]) -> None:
    def echo(connection: socket.socket) -> None:
        while request := read_request(connection):
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server = serve(echo)
    link = open_to(server)
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(50):
            body = b"%d/%d" % (number, turn) * (number + 1)
            if send(link, server.url, body).body != body:
                wrong.append(body)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= server.connections < 300


def test_through_a_proxy_botocore_itself_goes(serve: Callable[..., Server]) -> None:
    seen: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)

    server = serve(proxy)
    session = URLLib3Session(proxies={"http": server.url})
    link = open_link(session, "http://dynamodb.example/", pool=2, config=SimpleNamespace())
    assert isinstance(link, SessionLink)
    assert send(link, "http://dynamodb.example/").body == b"{}"
    assert seen[0].startswith(b"POST http://dynamodb.example/ HTTP/1.1")
    link.close()


def test_a_session_of_another_kind_is_used_as_it_is() -> None:
    class Session:
        def send(self, request: Any) -> Any:
            return SimpleNamespace(status_code=200, headers={"X-A": "1"}, content=request.body)

    link = open_link(Session(), "http://x/", pool=2, config=SimpleNamespace())
    assert send(link, "http://x/") == Answer(200, {"x-a": "1"}, b'{"a":1}')
