"""Loads that are killed, with kill -9, and called again."""

import http.server
import io
import json
import multiprocessing
import random
import signal
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dynamodb_bulk.batches import LoadSettings
from dynamodb_bulk.checkpoints import LocalCheckpoints
from dynamodb_bulk.errors import CheckpointMismatchError, LoadDeadlineError, LoadStalledError, SourceChangedError
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.schema import parse_schema
from dynamodb_bulk.shards import (
    LoadJob,
    decide_load,
    finish_load,
    plan_load,
    survey_planned_shard,
    write_planned_shard,
)
from dynamodb_bulk.sources import local_source

SCHEMA = parse_schema('{"version": 1, "columns": [{"name": "k", "key": "hash"}, {"name": "v"}]}', "pairs.json")
ROWS, KEYS = 6000, 4000
SHARD_BYTES = 4000
STEPS = ("survey", "write")


class Table:
    """A DynamoDB table behind HTTP, which outlives the loads; half of each third batch is unprocessed, or of each."""

    def __init__(self) -> None:
        self.forget()
        table = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = table.answer(self.headers["X-Amz-Target"].partition(".")[2], body)
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("x-amz-crc32", str(zlib.crc32(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                return

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                return

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def forget(self) -> None:
        self.lock = threading.Lock()
        self.items: dict[str, str] = {}
        self.puts = 0
        self.requests = 0
        self.accepting = True
        self.halve_each = 3
        self.reached = threading.Condition()

    def answer(self, operation: str, body: Any) -> Any:
        if operation == "DescribeTable":
            return {
                "Table": {
                    "TableStatus": "ACTIVE",
                    "TableId": "one",
                    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
                    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
                }
            }
        with self.lock:
            self.requests += 1
            sent = body["RequestItems"]["pairs"]
            refused = sent[(len(sent) + 1) // 2 :] if self.requests % self.halve_each == 0 else []
            if not self.accepting:
                refused = sent
            for request in sent[: len(sent) - len(refused)]:
                item = request["PutRequest"]["Item"]
                self.items[item["k"]["S"]] = item["v"]["S"]
                self.puts += 1
        with self.reached:
            self.reached.notify_all()
        return {"UnprocessedItems": {"pairs": refused} if refused else {}}

    def wait_for(self, puts: int, seconds: float) -> None:
        with self.reached:
            self.reached.wait_for(lambda: self.puts >= puts, timeout=seconds)


@pytest.fixture(scope="module")
def served() -> Iterator[Table]:
    table = Table()
    yield table
    table.server.shutdown()
    table.server.server_close()


@pytest.fixture
def table(served: Table) -> Table:
    served.forget()
    return served


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    draw = random.Random(11)
    rows = [(str(draw.randrange(KEYS)), f'"value, {number}"') for number in range(ROWS)]
    path = tmp_path_factory.mktemp("file") / "pairs.csv"
    lines = ["k,v", *(f"{key},{value}" for key, value in rows)]
    lines[3000:3000] = ["bad", '"never closed']
    path.write_text("\n".join(lines) + "\n")
    return path, {key: value.strip('"') for key, value in rows}


def load(url: str, file: Path, folder: Path | None, rejects: Any = None, **limits: Any) -> Any:
    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=url,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )
    return load_csv(
        client,
        "pairs",
        local_source(file),
        SCHEMA,
        source_name="pairs.csv",
        rejects=rejects or io.BytesIO(),
        rejects_name="rejects",
        settings=LoadSettings(
            **{"max_reject_ratio": 0.5, "workers": 3, "pause_seconds": 0.001, "checkpoint_seconds": 0.005, **limits}
        ),
        checkpoint=None if folder is None else LocalCheckpoints(folder, durable=False),
        shard_bytes=SHARD_BYTES,
    )


def killed(context: Any, table: Table, file: Path, folder: Path, draw: random.Random) -> bool:
    """Run a load in a process of its own and kill it some time; tell whether it was quicker than that."""
    process = context.Process(target=load, args=(table.url, file, folder))
    process.start()
    if draw.random() < 0.3:
        # While it surveys the file, before anything is written.
        process.join(draw.uniform(0.0, 0.3))
    else:
        table.wait_for(table.puts + draw.randrange(1, 1200), 5)
    process.kill()
    process.join()
    return bool(process.exitcode == 0)


@pytest.mark.parametrize("seed", range(2))
def test_a_load_that_is_killed_again_and_again_ends_right(
    table: Table, pairs: tuple[Path, dict[str, str]], tmp_path: Path, seed: int
) -> None:
    file, expected = pairs
    draw = random.Random(seed)
    context = multiprocessing.get_context("fork")
    kills = 0
    for _ in range(10):
        if killed(context, table, file, tmp_path / "checkpoint", draw):
            break
        kills += 1
    rejects = io.BytesIO()
    report = load(table.url, file, tmp_path / "checkpoint", rejects)
    assert kills >= 3
    assert table.items == expected
    assert (report.rows_in, report.written, report.rejected) == (ROWS + 2, len(expected), 2)
    assert report.duplicates == ROWS - len(expected)
    assert [json.loads(line)["line"] for line in rejects.getvalue().splitlines()] == [3001, 3002]
    # Only what was under way when it was killed, and what was not yet known to be written, is written twice.
    assert table.puts < len(expected) + kills * 1000
    assert LocalCheckpoints(tmp_path / "checkpoint").get("load.json") is None


def few_pairs(path: Path, rows: int, keys: int, seed: int) -> dict[str, str]:
    """Write a file with keys that come again all over it; return what a table must hold after it."""
    draw = random.Random(seed)
    pairs = [(str(draw.randrange(keys)), f"value, {number}") for number in range(rows)]
    path.write_text("k,v\n" + "".join(f'{key},"{value}"\n' for key, value in pairs))
    return dict(pairs)


@pytest.mark.parametrize("moment", range(20))
def test_any_moment_will_do_to_be_killed(table: Table, tmp_path: Path, moment: int) -> None:
    file = tmp_path / "pairs.csv"
    expected = few_pairs(file, rows=1500, keys=1000, seed=moment)
    draw = random.Random(moment)
    process = multiprocessing.get_context("fork").Process(target=load, args=(table.url, file, tmp_path / "checkpoint"))
    process.start()
    if moment < 4:
        # Before anything is written, or hardly later.
        process.join(draw.uniform(0.0, 0.15))
    else:
        table.wait_for(int(len(expected) * (moment - 4) / 16) + draw.randrange(20), 10)
    process.kill()
    process.join()
    report = load(table.url, file, tmp_path / "checkpoint")
    assert table.items == expected
    assert (report.rows_in, report.written, report.rejected) == (1500, len(expected), 0)
    assert report.duplicates == 1500 - len(expected)


def job(file: Path, folder: Path) -> LoadJob:
    return LoadJob(
        table_name="pairs",
        open_source=local_source(file),
        schema=SCHEMA,
        source_name="pairs.csv",
        store=LocalCheckpoints(folder, durable=False),
        settings=LoadSettings(workers=2, pause_seconds=0.001, checkpoint_seconds=0.005),
    )


def client_of(url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, read_timeout=5)
    return boto3.client("dynamodb", region_name="us-east-1", endpoint_url=url, config=config)


def write_shards(url: str, file: Path, folder: Path, indexes: list[int]) -> None:
    client = client_of(url)
    for index in indexes:
        write_planned_shard(client, job(file, folder), index)


@pytest.mark.parametrize("shards", [2, 8, 64])
def test_shards_that_are_killed_and_refused_in_part_leave_the_last_row_of_a_key(
    table: Table, tmp_path: Path, shards: int
) -> None:
    table.halve_each = 1
    file, folder = tmp_path / "pairs.csv", tmp_path / "checkpoint"
    expected = few_pairs(file, rows=1500, keys=700, seed=shards)
    one = job(file, folder)
    count = plan_load(client_of(table.url), one, shard_bytes=file.stat().st_size // shards // 2)
    assert shards * 0.7 <= count <= shards * 1.5
    for index in range(count):
        survey_planned_shard(one, index)
    decide_load(one, rejects=io.BytesIO(), rejects_name="rejects")
    draw = random.Random(shards)
    context = multiprocessing.get_context("fork")
    kills = 0
    for _ in range(4):
        # Two workers at a time with the same shards in another order, so some are written by both at once.
        orders = [draw.sample(range(count), count) for _ in range(2)]
        workers = [context.Process(target=write_shards, args=(table.url, file, folder, order)) for order in orders]
        for worker in workers:
            worker.start()
        table.wait_for(table.puts + draw.randrange(1, 150), 5)
        for worker in workers:
            worker.kill()
            worker.join()
            kills += worker.exitcode == -signal.SIGKILL
    write_shards(table.url, file, folder, draw.sample(range(count), count))
    report = finish_load(one, rejects_name="rejects", seconds=1.0)
    assert kills
    assert table.items == expected
    assert (report.rows_in, report.written, report.rejected) == (1500, len(expected), 0)
    assert report.duplicates == 1500 - len(expected)
    assert report.resent > 0


def test_the_process_is_really_killed_and_does_not_end_by_itself(
    table: Table, pairs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    process = multiprocessing.get_context("fork").Process(target=load, args=(table.url, pairs[0], tmp_path))
    process.start()
    table.wait_for(300, 10)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 300 <= table.puts < len(pairs[1])


def test_a_load_that_met_its_deadline_goes_on_from_there(
    table: Table, pairs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    file, expected = pairs

    def stop_accepting(written: int) -> None:
        table.accepting = written < 2000

    table.accepting = True
    stopper = threading.Thread(target=lambda: (table.wait_for(2000, 20), stop_accepting(2000)))
    stopper.start()
    with pytest.raises((LoadDeadlineError, LoadStalledError), match=r"pairs: \d+ items are written"):
        load(table.url, file, tmp_path, stall_seconds=0.5)
    stopper.join()
    before = table.puts
    table.accepting = True
    report = load(table.url, file, tmp_path)
    assert table.items == expected
    assert report.written == len(expected)
    assert table.puts - before < len(expected) - 1000


def test_a_checkpoint_of_another_version_of_the_file_is_not_used(
    table: Table, pairs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    file, _ = pairs
    copy = tmp_path / "copy.csv"
    copy.write_bytes(file.read_bytes())
    table.accepting = False
    with pytest.raises(LoadStalledError):
        load(table.url, copy, tmp_path / "checkpoint", stall_seconds=0.1)
    (tmp_path / "checkpoint" / "file.json").unlink()
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    copy.write_bytes(content)
    with pytest.raises(CheckpointMismatchError, match=r"pairs\.csv is not the file that the checkpoint was made of"):
        load(table.url, copy, tmp_path / "checkpoint")


def test_a_checkpoint_of_a_file_with_another_header_is_not_used(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    few_pairs(file, rows=500, keys=100, seed=1)
    table.accepting = False
    with pytest.raises(LoadStalledError):
        load(table.url, file, tmp_path / "checkpoint", stall_seconds=0.1)
    # As if it had been killed while it surveyed the file.
    (tmp_path / "checkpoint" / "file.json").unlink()
    (tmp_path / "checkpoint" / "decision.json").unlink()
    file.write_bytes(b"v,k" + file.read_bytes()[3:])
    table.accepting = True
    with pytest.raises(CheckpointMismatchError, match=r"pairs\.csv is not .* its header has changed"):
        load(table.url, file, tmp_path / "checkpoint")
    assert not table.items


def test_what_was_written_of_a_changed_file_does_not_count_for_the_one_surveyed(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    expected = few_pairs(file, rows=1500, keys=1000, seed=1)
    surveyed = file.read_bytes()
    table.accepting = False
    with pytest.raises(LoadStalledError):
        load(table.url, file, tmp_path / "checkpoint", stall_seconds=0.1)
    table.accepting = True
    file.write_bytes(surveyed.replace(b"value", b"wrong"))
    with pytest.raises(SourceChangedError, match="with an empty checkpoint if it stays as it is now"):
        load(table.url, file, tmp_path / "checkpoint", checkpoint_seconds=1e-9)
    assert any(value.startswith("wrong") for value in table.items.values())
    file.write_bytes(surveyed)
    report = load(table.url, file, tmp_path / "checkpoint")
    assert table.items == expected
    assert (report.written, report.duplicates) == (len(expected), 1500 - len(expected))
