"""The local AWS under load: many clients at once for a minute, or a table of a million items.

    python benchmarks/emulator_load.py soak
    python benchmarks/emulator_load.py million --items 1000000
    python benchmarks/emulator_load.py soak --clients 4 --seconds 5 --json

``soak``: client processes write, read, count, back up and list, all at once. Any answer but 200 ends it with an error,
and so does a lost update; memory is read every tenth of the time. ``million``: items are loaded, backed up and
restored; the restored table is counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from typing import Any

from emulator_servers import Client, Serving, batch, item, make_table
from emulator_speed import free_port
from measuring import BenchmarkError
from reporting import Table, machine

_DYNAMODB = "DynamoDB_20120810."
_ROLE = "arn:aws:iam::123456789012:role/backup"
_TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/{}"
_MB = 1e6
_BATCHES = 10
"""Each client writes this many different batches, over and over: a table that grows would grow the memory."""


def soak(clients: int, seconds: float) -> dict[str, Any]:
    """Let clients work at once; return what was done and how memory went.

    Raises:
        BenchmarkError: an answer was not 200, or an update was lost.
    """
    with Serving("local_aws", free_port(), "--job-seconds", "0.2", "--delete-seconds", "0") as serving:
        client = Client(serving.port)
        make_table(client, "soak")
        make_table(client, "small")
        client.request("PUT", "/backup-vaults/vault", "backup")
        for number in range(clients * _BATCHES):  # warm: from here on no item is new
            client.call(f"{_DYNAMODB}BatchWriteItem", batch("soak", 25 * number))
        context = multiprocessing.get_context("fork")
        done: Any = context.Queue()
        workers = [
            context.Process(target=_work, args=(serving.port, number, seconds, done)) for number in range(clients)
        ]
        for worker in workers:
            worker.start()
        memory = []
        for _ in range(10):
            time.sleep(seconds / 10)
            memory.append(serving.memory)
        found = [done.get(timeout=120) for _ in workers]
        for worker in workers:
            worker.join()
        if errors := [one["error"] for one in found if one["error"]]:
            raise BenchmarkError(f"{len(errors)} of {clients} clients failed: {errors[0]}")
        counted = _counter(client)
        added = sum(one["adds"] for one in found)
        if counted != added:
            raise BenchmarkError(f"{added} updates were acknowledged, {counted} counted.")
        return {
            "clients": clients,
            "seconds": seconds,
            "calls": sum(one["calls"] for one in found),
            "adds": added,
            "jobs": sum(one["jobs"] for one in found),
            "memory_mb": [round(value / _MB, 1) for value in memory],
            "peak_mb": round(serving.peak / _MB, 1),
        }


def _counter(client: Client) -> int:
    key = {name: {"S": "counter"} for name in ("order_id", "item_id")}
    found = client.call(f"{_DYNAMODB}GetItem", {"TableName": "small", "Key": key, "ConsistentRead": True})
    return int(found["Item"]["hits"]["N"])


def _work(port: int, worker: int, seconds: float, done: Any) -> None:
    client = Client(port)
    counts = {"calls": 0, "adds": 0, "jobs": 0}
    error = ""
    began = time.monotonic()
    try:
        number = 0
        while time.monotonic() - began < seconds:
            _step(client, worker, number, counts)
            number += 1
    except (BenchmarkError, OSError) as problem:
        error = str(problem)
    done.put({**counts, "error": error})


def _step(client: Client, worker: int, number: int, counts: dict[str, int]) -> None:
    key = {name: {"S": "counter"} for name in ("order_id", "item_id")}
    first = worker * _BATCHES * 25 + number % _BATCHES * 25
    client.call(f"{_DYNAMODB}BatchWriteItem", batch("soak", first))
    made = item(first)
    client.call(
        f"{_DYNAMODB}GetItem", {"TableName": "soak", "Key": {name: made[name] for name in ("order_id", "item_id")}}
    )
    client.call(
        f"{_DYNAMODB}UpdateItem",
        {
            "TableName": "small",
            "Key": key,
            "UpdateExpression": "ADD hits :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        },
    )
    client.call(f"{_DYNAMODB}Scan", {"TableName": "soak", "Limit": 100})
    counts["adds"] += 1
    counts["calls"] += 4
    if number % 20 == 0:
        _back_up_and_delete(client)
        counts["jobs"] += 1


def _back_up_and_delete(client: Client) -> None:
    request = {"BackupVaultName": "vault", "ResourceArn": _TABLE_ARN.format("small"), "IamRoleArn": _ROLE}
    job = client.request("PUT", "/backup-jobs", "backup", request)["BackupJobId"]
    _wait(client, f"/backup-jobs/{job}", "State")
    client.request("GET", "/backup-vaults/vault/recovery-points/?maxResults=10", "backup")


def _wait(client: Client, path: str, member: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.request("GET", path, "backup")
        if found[member] in ("COMPLETED", "FAILED", "ABORTED", "EXPIRED", "PARTIAL"):
            if found[member] != "COMPLETED":
                raise BenchmarkError(f"{path} ended {found}")
            return found
        time.sleep(0.05)


def million(items: int, loaders: int) -> dict[str, Any]:
    """Load, back up and restore a table; return times and memory.

    Raises:
        BenchmarkError: a call failed, or the restored table has another number of items.
    """
    settings = ("--job-seconds", "0.1", "--restore-seconds", "0.1")
    with Serving("local_aws", free_port(), *settings) as serving:
        client = Client(serving.port)
        make_table(client, "big")
        client.request("PUT", "/backup-vaults/vault", "backup")
        figures: dict[str, Any] = {"items": items, "empty_mb": round(serving.memory / _MB, 1)}

        began = time.monotonic()
        context = multiprocessing.get_context("fork")
        workers = [
            context.Process(target=_load, args=(serving.port, items, number, loaders)) for number in range(loaders)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise BenchmarkError("A loader failed; what it printed stands above.")
        figures |= {"load_seconds": time.monotonic() - began, "loaded_mb": serving.memory / _MB}

        began = time.monotonic()
        request = {"BackupVaultName": "vault", "ResourceArn": _TABLE_ARN.format("big"), "IamRoleArn": _ROLE}
        started = client.request("PUT", "/backup-jobs", "backup", request)
        job = _wait(client, f"/backup-jobs/{started['BackupJobId']}", "State")
        figures |= {"backup_seconds": time.monotonic() - began, "backed_up_mb": serving.memory / _MB}

        began = time.monotonic()
        restore = {
            "RecoveryPointArn": job["RecoveryPointArn"],
            "Metadata": {"targetTableName": "back", "encryptionType": "Default"},
            "IamRoleArn": _ROLE,
        }
        restored = client.request("PUT", "/restore-jobs", "backup", restore)
        _wait(client, f"/restore-jobs/{restored['RestoreJobId']}", "Status")
        figures |= {"restore_seconds": time.monotonic() - began, "restored_mb": serving.memory / _MB}

        began = time.monotonic()
        counted, start = 0, dict[str, Any]()
        while True:
            page = client.call(f"{_DYNAMODB}Scan", {"TableName": "back", **start})
            counted += page["Count"]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        figures |= {"scan_seconds": time.monotonic() - began, "peak_mb": serving.peak / _MB}
        if counted != items:
            raise BenchmarkError(f"{items} items were loaded, {counted} restored.")
        return {name: round(value, 1) for name, value in figures.items()}


def _load(port: int, items: int, number: int, loaders: int) -> None:
    client = Client(port)
    for first in range(25 * number, items, 25 * loaders):
        client.call(f"{_DYNAMODB}BatchWriteItem", batch("big", first, min(25, items - first)))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks/emulator_load.py", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("soak", "million"))
    parser.add_argument("--clients", type=int, help="client processes (soak: 16, million: 2)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long `soak` takes (%(default)s)")
    parser.add_argument("--items", type=int, default=1_000_000, help="items of `million` (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(argv)
    try:
        if options.what == "soak":
            found = soak(options.clients or 16, options.seconds)
        else:
            found = million(options.items, options.clients or 2)
    except BenchmarkError as error:
        print(f"{options.what} failed: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"machine": machine(), options.what: found}, indent=2))
    else:
        rows: list[tuple[str, ...]] = [(name.replace("_", " "), str(value)) for name, value in found.items()]
        print(f"{machine()}\n\n{Table(f'local_aws: {options.what}', ('figure', 'value'), rows).markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
