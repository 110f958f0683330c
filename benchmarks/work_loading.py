"""Loads: this project's, boto3's, and one whose result is held against the file."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from made_data import HASH_KEY, KEY_NAMES, MIXED_SCHEMA_YAML, RANGE_KEY, SCHEMA_YAML, mixed_item
from metering import CREDENTIALS, REGION, Job, Meter, Outcome, fresh_table, make_client, make_table, own_cpu, peak_bytes

from dynamodb_bulk.batches import LoadSettings, bulk_client_config
from dynamodb_bulk.errors import BulkError
from dynamodb_bulk.fingerprint import FingerprintBuilder, take_fingerprint
from dynamodb_bulk.load import load_csv
from dynamodb_bulk.schema import parse_schema
from dynamodb_bulk.sources import local_source

_BATCH = 25
_NUMBERS = ("amount", "quantity")


def load_ours(job: Job, meter: Meter) -> Outcome:
    """Load a file with this project's loader."""
    settings = LoadSettings(deadline_seconds=job.get("deadline", 3600.0))
    client = make_client(job, bulk_client_config(settings.workers))
    error = ""
    written = 0
    with fresh_table(job) as table, meter.running():
        try:
            written = _load(client, table, job, SCHEMA_YAML, settings)
        except BulkError as problem:
            error = f"{type(problem).__name__}: {problem}"
    return {"items": written, "error": error}


def _load(client: Any, table: str, job: Job, schema: str, settings: LoadSettings) -> int:
    with tempfile.TemporaryFile() as rejects:
        report = load_csv(
            client,
            table,
            local_source(job["csv"]),
            parse_schema(schema, "bench.yaml"),
            source_name=job["csv"],
            rejects=rejects,
            rejects_name="rejects",
            settings=settings,
        )
    return report.written


def load_batch_writer(job: Job, meter: Meter) -> Outcome:
    """Load a file with boto3's batch_writer, as its documentation shows it."""
    count = 0
    if "deadline" in job:
        _end_after(job["deadline"], meter)
    error = ""
    with fresh_table(job) as name:
        table = make_table(job, name)
        with meter.running():
            try:
                with open(job["csv"], encoding="utf-8", newline="") as file, table.batch_writer() as batch:
                    for row in csv.DictReader(file):
                        numbers = {"amount": Decimal(row["amount"]), "quantity": Decimal(row["quantity"])}
                        batch.put_item(Item={**row, **numbers})
                        count += 1
            except table.meta.client.exceptions.ClientError as problem:
                error = f"{type(problem).__name__}: {problem}"
    return {"items": count, "error": error}


def load_prepared(job: Job, meter: Meter) -> Outcome:
    """Send requests that were made and signed beforehand, over as many connections as the loader has.

    All that is left is sending and waiting, so no client gets more into the server: the baseline's ceiling.
    """
    settings = LoadSettings()
    client = make_client(job)
    with fresh_table(job) as table:
        with open(job["csv"], encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        requests = [_signed(client, table, rows[at : at + _BATCH]) for at in range(0, len(rows), _BATCH)]
        host = urlsplit(client.meta.endpoint_url)
        with ThreadPoolExecutor(settings.workers) as pool, meter.running():
            shares = [requests[number :: settings.workers] for number in range(settings.workers)]
            refused = [count for count in pool.map(partial(_send, host.hostname, host.port), shares) if count]
    return {"items": len(rows), "error": f"{sum(refused)} requests were not taken whole" if refused else ""}


def _signed(client: Any, table: str, rows: list[dict[str, str]]) -> AWSRequest:
    items = [{name: {"N" if name in _NUMBERS else "S": value} for name, value in row.items()} for row in rows]
    request = AWSRequest(
        method="POST",
        url=client.meta.endpoint_url + "/",
        data=json.dumps({"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in items]}}),
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
        },
    )
    SigV4Auth(Credentials(*CREDENTIALS.values()), "dynamodb", REGION).add_auth(request)
    return request


def _send(host: str, port: int, requests: list[AWSRequest]) -> int:
    """Send requests over one connection; return how many of them were not taken whole."""
    refused = 0
    connection = HTTPConnection(host, port)
    for request in requests:
        connection.request("POST", "/", request.data, dict(request.headers))
        response = connection.getresponse()
        answer = response.read()
        refused += response.status != HTTPStatus.OK or bool(json.loads(answer).get("UnprocessedItems"))
    connection.close()
    return refused


def _end_after(seconds: float, meter: Meter) -> None:
    """End the process when the time is up, as nothing else ends a batch_writer whose table takes nothing."""

    def end() -> None:
        found = {"items": 0, "cpu": own_cpu(), "wall": seconds, "peak": peak_bytes(), "server_cpu": 0.0}
        print(json.dumps({**found, "error": "still sending"}))
        sys.stdout.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def load_and_fingerprint(job: Job, meter: Meter) -> Outcome:
    """Load a file of mixed values into a new table, and take the table's fingerprint."""
    settings = LoadSettings(max_reject_ratio=1.0)
    client = make_client(job, bulk_client_config(settings.workers))
    with fresh_table(job, range_key="N") as table, meter.running():
        written = _load(client, table, job, MIXED_SCHEMA_YAML, settings)
        found = take_fingerprint(client, table, key_names=KEY_NAMES)
    return {"items": found.item_count, "written": written, "digest": found.digest}


def file_fingerprint(job: Job, meter: Meter) -> Outcome:
    """Take the fingerprint of the items that a file of mixed values stands for, without a loader or a table."""
    items: dict[tuple[str, Decimal], Any] = {}
    builder = FingerprintBuilder(KEY_NAMES)
    with meter.running():
        with open(job["csv"], encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                item = mixed_item(row)
                if item is not None:
                    items[item[HASH_KEY]["S"], Decimal(item[RANGE_KEY]["N"])] = item
        for item in items.values():
            builder.add(item)
        found = builder.build()
    return {"items": found.item_count, "written": len(items), "digest": found.digest}
