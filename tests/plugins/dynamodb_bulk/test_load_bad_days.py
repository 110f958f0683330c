"""Loads over real connections to a table that has a bad day: the table holds what the file says, at a fair speed."""

import http.server
import io
import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dynamodb_bulk.batches import LoadSettings
from dynamodb_bulk.errors import LoadDeadlineError, LoadStalledError, TableMissingError, WriteRefusedError
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.schema import parse_schema
from dynamodb_bulk.sources import local_source

SCHEMA = parse_schema('{"version": 1, "columns": [{"name": "k", "key": "hash"}, {"name": "v"}]}', "pairs.json")
ROWS, KEYS = 3000, 2000

Requests = list[dict[str, Any]]
Reply = tuple[int, dict[str, Any]]
Day = Callable[[int, Requests], Reply | int]
"""By the number of the request and what is in it: how many items are taken, the rest unprocessed; or an error."""


class Table:
    """A DynamoDB table behind HTTP."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        self.requests = 0
        self.day: Day = lambda _, requests: len(requests)
        self._lock = threading.Lock()
        table = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, answer = table.answer(self.headers["X-Amz-Target"].partition(".")[2], body)
                except ConnectionError:
                    self.close_connection = True
                    return
                data = json.dumps(answer).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\nx-amz-crc32: {zlib.crc32(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data)

            def log_message(self, *_: Any) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, operation: str, body: Any) -> Reply:
        if operation == "DescribeTable":
            key = {"AttributeName": "k"}
            return 200, {
                "Table": {
                    "TableStatus": "ACTIVE",
                    "TableId": "one",
                    "KeySchema": [{**key, "KeyType": "HASH"}],
                    "AttributeDefinitions": [{**key, "AttributeType": "S"}],
                }
            }
        with self._lock:
            self.requests += 1
            sent: Requests = body["RequestItems"]["pairs"]
            found = self.day(self.requests, sent)
            if not isinstance(found, int):
                return found
            for request in sent[:found]:
                item = request["PutRequest"]["Item"]
                self.items[item["k"]["S"]] = item["v"]["S"]
        return 200, {"UnprocessedItems": {"pairs": sent[found:]} if sent[found:] else {}}


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.server.shutdown()
    table.server.server_close()


def refusal(code: str, status: int = 400) -> Reply:
    return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}


def sometimes(share: float, trouble: Callable[[Requests], Reply | int]) -> Day:
    draw = random.Random(5)
    return lambda _, requests: trouble(requests) if draw.random() < share else len(requests)


def cut(requests: Requests) -> Reply:
    raise ConnectionError


def slow(requests: Requests) -> int:
    time.sleep(0.05)
    return len(requests)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    draw = random.Random(2)
    rows = [(str(draw.randrange(KEYS)), f"value {number}") for number in range(ROWS)]
    path = tmp_path_factory.mktemp("file") / "pairs.csv"
    path.write_text("k,v\n" + "".join(f"{key},{value}\n" for key, value in rows))
    return path, dict(rows)


def load(table: Table, file: Path, **limits: Any) -> Any:
    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{table.server.server_port}",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )
    return load_csv(
        client,
        "pairs",
        local_source(file),
        SCHEMA,
        source_name="pairs.csv",
        rejects=io.BytesIO(),
        rejects_name="rejects",
        settings=LoadSettings(**{"deadline_seconds": 60.0, **limits}),
    )


@pytest.mark.parametrize(
    "day",
    [
        sometimes(0.3, lambda _: refusal("ProvisionedThroughputExceededException")),
        sometimes(0.3, lambda _: refusal("ThrottlingException")),
        sometimes(0.3, lambda _: refusal("InternalServerError", 500)),
        sometimes(0.3, cut),
        sometimes(0.2, slow),
        lambda _, requests: (len(requests) + 1) // 2,
    ],
    ids=["throttled", "throttled otherwise", "failing", "cut", "slow", "halved"],
)
def test_what_passes_does_not_show_in_the_table(table: Table, pairs: tuple[Path, dict[str, str]], day: Day) -> None:
    file, expected = pairs
    table.day = day
    report = load(table, file)
    assert table.items == expected
    assert (report.rows_in, report.written, report.duplicates) == (ROWS, len(expected), ROWS - len(expected))
    # Nor does it bring the load to a crawl: half refused needs twice the requests, and a little to find that out.
    assert table.requests <= 2.5 * len(expected) / 25
    assert report.seconds < 30


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal("ResourceNotFoundException"), TableMissingError),
        (refusal("AccessDeniedException"), WriteRefusedError),
        (refusal("ValidationException"), WriteRefusedError),
        (refusal("ExpiredTokenException"), WriteRefusedError),
    ],
)
def test_what_does_not_pass_ends_the_load_and_says_how_far_it_came(
    table: Table, pairs: tuple[Path, dict[str, str]], answer: Reply, error: type[Exception]
) -> None:
    table.day = lambda number, requests: answer if number > 20 else len(requests)
    with pytest.raises(error, match=r"\d+ items had been written"):
        load(table, pairs[0])
    assert table.requests <= 20 + 8
    assert table.items.items() <= pairs[1].items()


@pytest.mark.parametrize(("limits", "error"), [({"deadline_seconds": 2.0}, LoadDeadlineError), ({}, LoadStalledError)])
def test_a_table_that_takes_nothing_more_is_asked_seldom_and_ends_clearly(
    table: Table, pairs: tuple[Path, dict[str, str]], limits: dict[str, float], error: type[Exception]
) -> None:
    table.day = lambda number, requests: 0 if number > 10 else len(requests)
    with pytest.raises(error, match=r"pairs: 250 items are written"):
        load(table, pairs[0], stall_seconds=2.0 if not limits else 60.0, **limits)
    assert table.requests <= 10 + 8 + 20
    assert len(table.items) == 250
