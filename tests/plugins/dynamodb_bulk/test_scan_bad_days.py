"""Scans over HTTP on bad days: the right result or a clear error, never a gap."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamodb_bulk.errors import CallDeadlineError, TableMissingError
from dynamodb_bulk.fingerprint import Fingerprint, FingerprintBuilder, read_manifest, take_fingerprint
from dynamodb_bulk.patience import Effects

ITEMS = [{"id": {"S": f"i-{number}"}, "n": {"N": str(number)}, "t": {"S": "é" * 20}} for number in range(120)]
PAGE = 6
PLUGINS = Path(__file__).resolve().parents[3] / "plugins"

SESSION = boto3.Session()
"""One for all: it keeps what it parsed to make a client."""

Answer = tuple[int, dict[str, Any]]
Fault = Callable[["Server", int], Answer | None]


class Server(ThreadingHTTPServer):
    """A table behind DynamoDB's protocol, with a fault that may take the place of an answer.

    The fault gets the number of the Scan request; it may return an answer, drop the connection by raising, wait,
    or return None for the right answer. DescribeTable has the number 0.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault: Fault = lambda server, number: None
        self.scans = 0
        self.tokens: set[str] = set()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, operation: str, body: dict[str, Any]) -> Answer:
        if operation == "DescribeTable":
            faulty = self.fault(self, 0)
            if faulty is not None:
                return faulty
            schema = [{"AttributeName": "id", "KeyType": "HASH"}]
            return 200, {"Table": {"TableName": body["TableName"], "TableId": "1", "KeySchema": schema}}
        with self.lock:
            self.scans += 1
            number = self.scans
        faulty = self.fault(self, number)
        return faulty if faulty is not None else (200, self.page(body))

    def page(self, body: dict[str, Any]) -> dict[str, Any]:
        own = ITEMS[body["Segment"] :: body["TotalSegments"]]
        keys = [item["id"]["S"] for item in own]
        start = keys.index(body["ExclusiveStartKey"]["id"]["S"]) + 1 if "ExclusiveStartKey" in body else 0
        found = own[start : start + PAGE]
        answer: dict[str, Any] = {"Items": found, "Count": len(found)}
        if start + PAGE < len(own):
            answer["LastEvaluatedKey"] = {"id": found[-1]["id"]}
        return answer


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.add(self.headers.get("X-Amz-Security-Token", ""))
        try:
            status, answer = self.server.answer(self.headers["X-Amz-Target"].split(".")[1], body)
        except ConnectionError:
            self.close_connection = True
            return
        data = json.dumps(answer).encode()
        cut = answer.pop("cut", None)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = bool(cut)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def client_of(server: Server, **options: Any) -> Any:
    config = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}, **options)
    return SESSION.client("dynamodb", endpoint_url=server.url, region_name="us-east-1", config=config)


def quick(draw: float = 0.01) -> Effects:
    """Real time, with short pauses."""
    return Effects(draw=lambda: draw)


def refused(code: str, status: int = 400) -> Answer:
    return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}


def expected() -> Fingerprint:
    builder = FingerprintBuilder(["id"])
    builder.add_items(ITEMS)
    return builder.build()


def drop(server: Server, number: int) -> Answer | None:
    raise ConnectionError


def sometimes(share: float, fault: Fault) -> Fault:
    rng = random.Random(11)
    return lambda server, number: fault(server, number) if rng.random() < share else None


def slow(server: Server, number: int) -> None:
    time.sleep(0.02)


PASSING: dict[str, Fault] = {
    "throttled": sometimes(0.3, lambda *_: refused("ProvisionedThroughputExceededException")),
    "throttled otherwise": sometimes(0.3, lambda *_: refused("ThrottlingException")),
    "failing": sometimes(0.3, lambda *_: refused("InternalServerError", 500)),
    "connections lost": sometimes(0.3, drop),
    "answers cut off": sometimes(0.3, lambda server, _: (200, {"Items": [], "cut": True})),
    "slow": slow,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("segments", [1, 4])
def test_what_passes_does_not_show_in_the_result(server: Server, fault: Fault, segments: int) -> None:
    server.fault = fault
    sink = io.BytesIO()
    taken = take_fingerprint(
        client_of(server), "t", key_names=["id"], segments=segments, manifest_sink=sink, effects=quick()
    )
    assert taken == expected()
    assert len(list(read_manifest(io.BytesIO(sink.getvalue()), like=taken))) == len(ITEMS)
    assert server.scans >= len(ITEMS) // PAGE


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (refused("ResourceNotFoundException"), TableMissingError, "no DynamoDB table 't'"),
        (refused("AccessDeniedException"), ClientError, "AccessDenied"),
        (refused("ExpiredTokenException"), ClientError, "ExpiredToken"),
        (refused("ValidationException"), ClientError, "Validation"),
    ],
)
@pytest.mark.parametrize("at", [1, 7])
def test_what_does_not_pass_ends_the_scan_at_once(
    server: Server, answer: Answer, error: type[Exception], message: str, at: int
) -> None:
    server.fault = lambda server, number: answer if number >= at else None
    with pytest.raises(error, match=message):
        take_fingerprint(client_of(server), "t", key_names=["id"], segments=3, effects=quick())
    assert server.scans < at + 8


@pytest.mark.parametrize("fault", [lambda *_: refused("ThrottlingException"), drop], ids=["throttled", "dead"])
def test_what_never_passes_ends_at_the_deadline(server: Server, fault: Fault) -> None:
    server.fault = lambda server, number: fault(server, number) if number > 5 else None
    began = time.monotonic()
    with pytest.raises(CallDeadlineError, match="Scan did not come through"):
        take_fingerprint(
            client_of(server),
            "t",
            key_names=["id"],
            segments=2,
            patience_seconds=0.6,
            effects=Effects(draw=lambda: 0.5),
        )
    assert time.monotonic() - began < 10
    assert server.scans < 60


def test_credentials_that_expire_are_renewed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.credentials import RefreshableCredentials
    from botocore.session import get_session

    calls = iter(range(100))

    def renew() -> dict[str, str]:
        number = next(calls)
        return {
            "access_key": "a",
            "secret_key": "s",
            "token": f"token-{number}",
            "expiry_time": "2099-01-01T00:00:00Z",
        }

    session = get_session()
    session._credentials = RefreshableCredentials.create_from_metadata(  # type: ignore[attr-defined]
        metadata=renew(), refresh_using=renew, method="test"
    )
    client = boto3.Session(botocore_session=session).client(
        "dynamodb", endpoint_url=server.url, region_name="us-east-1"
    )

    def expire(server: Server, number: int) -> Answer | None:
        return refused("ExpiredTokenException") if number >= 8 and len(server.tokens) == 1 else None

    server.fault = expire
    assert take_fingerprint(client, "t", key_names=["id"], segments=2, effects=quick()) == expected()
    assert {"token-0", "token-1"} <= server.tokens


RESUMED = """
import sys
import boto3
from dynamodb_bulk import fingerprint
from dynamodb_bulk.checkpoints import LocalCheckpoints
fingerprint.SAVE_SECONDS = 0.0
client = boto3.client("dynamodb", endpoint_url=sys.argv[1], region_name="us-east-1")
folder = sys.argv[2]
with open(folder + "/manifest", "wb") as sink:
    taken = fingerprint.take_fingerprint(
        client, "t", key_names=["id"], segments=2, manifest_sink=sink,
        checkpoint=LocalCheckpoints(folder + "/state"),
    )
with open(folder + "/taken", "wb") as file:
    file.write(taken.to_bytes())
"""


def test_a_process_that_is_killed_is_continued_by_the_next(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RESUMED, server.url, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS)}
    processes: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def kill(server: Server, number: int) -> None:
        if len(asked) < 2 and number - sum(asked) == 9:
            asked.append(9)
            os.kill(processes[-1].pid, signal.SIGKILL)

    server.fault = kill
    for _ in range(3):
        processes.append(subprocess.Popen(command, env=environment))
        processes[-1].wait()
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2 + [0]
    taken = Fingerprint.from_bytes((tmp_path / "taken").read_bytes())
    assert taken == expected()
    with (tmp_path / "manifest").open("rb") as source:
        assert len(list(read_manifest(source, like=taken))) == len(ITEMS)
    # Each kill costs the pages that were under way, not the whole scan.
    assert server.scans < 2 * len(ITEMS) // PAGE
