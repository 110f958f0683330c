"""One measurement, in a process of its own: ``python work.py '{"method": "load_ours", ...}'`` prints JSON.

Each method does its work once, between two looks at the process's own CPU time. Imports and the making of the
client are not in it; whatever the first call costs is.
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from made_data import HASH_KEY, KEY_NAMES, RANGE_KEY, SCHEMA_YAML, nasty_files

from dynamodb_bulk.batches import LoadSettings, bulk_client_config
from dynamodb_bulk.csv_blocks import CsvBlocks, Feed
from dynamodb_bulk.csv_rows import Record
from dynamodb_bulk.diff import Side, diff_tables
from dynamodb_bulk.errors import BulkError
from dynamodb_bulk.fingerprint import take_fingerprint
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.schema import parse_schema
from dynamodb_bulk.sources import local_source

Job = dict[str, Any]
Outcome = dict[str, Any]

_REGION = "us-east-1"
# With a session token, as every role's credentials have one: it makes signing dearer.
_CREDENTIALS: dict[str, Any] = {
    "aws_access_key_id": "AKIDBENCH",
    "aws_secret_access_key": "bench-secret",
    "aws_session_token": "t" * 400,
}


class Meter:
    """CPU and wall time of what happens inside :meth:`running`."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.wall = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the body of a with statement."""
        began, wall = _cpu(), time.monotonic()
        try:
            yield
        finally:
            self.cpu, self.wall = _cpu() - began, time.monotonic() - wall


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    # ru_maxrss would count what the parent held when it started this process.
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else used * 1024
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def _client(job: Job, config: Config | None = None) -> Any:
    return boto3.client("dynamodb", region_name=_REGION, endpoint_url=job["endpoint"], config=config, **_CREDENTIALS)


def _table(job: Job) -> Any:
    resource_ = boto3.resource("dynamodb", region_name=_REGION, endpoint_url=job["endpoint"], **_CREDENTIALS)
    return resource_.Table(job["table"])


@contextmanager
def _fresh_table(job: Job) -> Iterator[None]:
    """Make the table where the job asks for it, check in the end how many items are in it, and delete it.

    Raises:
        RuntimeError: there are more or fewer items than the job says.
    """
    if "fresh" not in job:
        yield
        return
    client, name = _client(job), job["table"]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in KEY_NAMES],
        KeySchema=[
            {"AttributeName": key, "KeyType": kind} for key, kind in zip(KEY_NAMES, ("HASH", "RANGE"), strict=True)
        ],
    )
    try:
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        yield
        pages = client.get_paginator("scan").paginate(TableName=name, Select="COUNT", ConsistentRead=True)
        found = sum(page["Count"] for page in pages)
        if found != job["fresh"]:
            raise RuntimeError(f"{job['fresh']} items were loaded into {name}, and {found} are in it.")
    finally:
        client.delete_table(TableName=name)


def load_ours(job: Job, meter: Meter) -> Outcome:
    """Load a file with this project's loader."""
    settings = LoadSettings(deadline_seconds=job.get("deadline", 3600.0))
    client = _client(job, bulk_client_config(settings.workers))
    schema = parse_schema(SCHEMA_YAML, "bench.yaml")
    error = ""
    written = 0
    with _fresh_table(job), tempfile.TemporaryFile() as rejects, meter.running():
        try:
            written = load_csv(
                client,
                job["table"],
                local_source(job["csv"]),
                schema,
                source_name=job["csv"],
                rejects=rejects,
                rejects_name="rejects",
                settings=settings,
            ).written
        except BulkError as problem:
            error = f"{type(problem).__name__}: {problem}"
    return {"items": written, "error": error}


def load_batch_writer(job: Job, meter: Meter) -> Outcome:
    """Load a file with boto3's batch_writer, as its documentation shows it."""
    table = _table(job)
    count = 0
    if "deadline" in job:
        _end_after(job["deadline"], meter)
    error = ""
    with _fresh_table(job), meter.running():
        try:
            with open(job["csv"], encoding="utf-8", newline="") as file, table.batch_writer() as batch:
                for row in csv.DictReader(file):
                    numbers = {"amount": Decimal(row["amount"]), "quantity": Decimal(row["quantity"])}
                    batch.put_item(Item={**row, **numbers})
                    count += 1
        except table.meta.client.exceptions.ClientError as problem:
            error = f"{type(problem).__name__}: {problem}"
    return {"items": count, "error": error}


def _end_after(seconds: float, meter: Meter) -> None:
    """End the process when the time is up, as nothing else ends a batch_writer whose table takes nothing."""

    def end() -> None:
        print(json.dumps({"items": 0, "cpu": _cpu(), "wall": seconds, "peak": _peak_bytes(), "error": "still sending"}))
        sys.stdout.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def fingerprint_ours(job: Job, meter: Meter) -> Outcome:
    """Take a table's fingerprint."""
    client = _client(job)
    with meter.running():
        found = take_fingerprint(client, job["table"], key_names=KEY_NAMES)
    return {"items": found.item_count, "digest": found.digest, "buckets": found.buckets}


def fingerprint_resource(job: Job, meter: Meter) -> Outcome:
    """Read a table into a dict with boto3's resource, as a comparison by hand does."""
    table = _table(job)
    with meter.running():
        items = _read_all(table)
    return {"items": len(items)}


def _read_all(table: Any) -> dict[tuple[Any, Any], Any]:
    items = {}
    start: dict[str, Any] = {}
    while True:
        page = table.scan(ConsistentRead=True, **start)
        for item in page["Items"]:
            items[item[HASH_KEY], item[RANGE_KEY]] = item
        if "LastEvaluatedKey" not in page:
            return items
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def diff_ours(job: Job, meter: Meter) -> Outcome:
    """Find every difference of two tables."""
    client = _client(job)
    with meter.running():
        found = diff_tables(Side(client, job["table"]), Side(client, job["other"]))
    kinds = [found.missing, found.extra, found.changed]
    return {"items": found.items_left, "differences": found.total, "kinds": kinds, "looked_at": found.looked_at}


def diff_resource(job: Job, meter: Meter) -> Outcome:
    """Read two tables into dicts and compare those."""
    tables = [_table({**job, "table": name}) for name in (job["table"], job["other"])]
    with meter.running():
        left, right = (_read_all(table) for table in tables)
        missing = sum(key not in right for key in left)
        extra = sum(key not in left for key in right)
        changed = sum(key in right and right[key] != item for key, item in left.items())
    total = missing + extra + changed
    return {"items": len(left), "differences": total, "kinds": [missing, extra, changed], "looked_at": 0}


def shards(job: Job, meter: Meter) -> Outcome:
    """Cut nasty files into shards, read each by range requests, and compare with one pass of csv.reader."""
    s3 = boto3.client(
        "s3",
        region_name=_REGION,
        endpoint_url=job["endpoint"],
        config=Config(s3={"addressing_style": "path"}),
        **_CREDENTIALS,
    )
    runs = wrong = most = 0
    with meter.running():
        for number, (_, content) in enumerate(nasty_files(job["rows"])):
            expected = [row for row in csv.reader(_text(content)) if row][1:]
            for wanted in job["shards"]:
                rows: list[list[str]] = []
                cuts = _cut(content, wanted)
                for start, end, line in cuts:
                    answer = s3.get_object(Bucket="files", Key=f"nasty-{number}.csv", Range=f"bytes={start}-{end - 1}")
                    feed = Feed(answer["Body"], length=end - start, used_up=_ignore)
                    rows += _rows(CsvBlocks(feed, ",", next_line=line))
                runs += 1
                wrong += rows != expected
                most = max(most, len(cuts))
    return {"items": runs, "wrong": wrong, "most_shards": most}


class _Sips(io.BytesIO):
    """Hands out little at a time, so that a small file is cut as a large one would be."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


def _cut(content: bytes, wanted: int) -> list[tuple[int, int, int]]:
    """Return start, end and first line of about so many shards: cut where a block's last record ends."""
    size = max(1, -(-len(content) // wanted))
    feed = Feed(_Sips(content, size), used_up=_ignore)
    reader = CsvBlocks(feed, ",", block_bytes=size)
    reader.read_header(parse_schema("{version: 1, columns: [{name: a, key: hash}, {name: b}, {name: c}]}", "n"), "n")
    cuts = []
    start, line = feed.position, reader.next_line
    for _ in reader:
        if feed.position - start >= size or not feed.holds_more():
            cuts.append((start, feed.position, line))
            start, line = feed.position, reader.next_line
    if feed.position > start:
        cuts.append((start, feed.position, line))
    return cuts


def _rows(reader: CsvBlocks) -> list[list[str]]:
    rows: list[list[str]] = []
    for found in reader:
        records: Iterator[Record] = iter(found) if isinstance(found, list) else found.records()
        rows += [record.fields for record in records]
    return rows


def _text(content: bytes) -> io.TextIOBase:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")


def _ignore(_: bytes) -> None:
    """Take no note of bytes that were used up."""


METHODS: dict[str, Callable[[Job, Meter], Outcome]] = {
    method.__name__: method
    for method in (
        load_ours,
        load_batch_writer,
        fingerprint_ours,
        fingerprint_resource,
        diff_ours,
        diff_resource,
        shards,
    )
}


def main(text: str) -> None:
    """Do one job and print what came of it."""
    job = json.loads(text)
    meter = Meter()
    outcome = METHODS[job["method"]](job, meter)
    print(json.dumps({"error": "", **outcome, "cpu": meter.cpu, "wall": meter.wall, "peak": _peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1])
