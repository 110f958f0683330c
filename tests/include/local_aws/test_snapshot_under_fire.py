"""Four processes write without pause while backup jobs run: each restored table is one instant of the original."""

import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parents[2] / "include"
WRITER = HERE / "fire_writer.py"
MODEL = runpy.run_path(str(WRITER))
WRITERS = 4
BACKUPS = 3
SETTLED_ITEMS = 1000
TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
ROLE = "arn:aws:iam::123456789012:role/AWSBackupRole"

Log = list[tuple[float, float, int | None]]


@dataclass(frozen=True)
class Restored:
    """A restored table's items, and when its backup was asked for and known to be done."""

    items: list[dict[str, Any]]
    asked: float
    done: float


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "local_aws", "--port", "0", "--job-seconds", "0.3", "--restore-seconds", "0.1"],
        env={**os.environ, "PYTHONPATH": str(INCLUDE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
    finally:
        server.terminate()
        server.wait(20)


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.02)
    raise TimeoutError(f"not within {seconds} s")


def back_up_under_fire(backup: Any) -> tuple[str, float, float]:
    asked = time.monotonic()
    job_id = backup.start_backup_job(BackupVaultName="vault", ResourceArn=TABLE_ARN, IamRoleArn=ROLE)["BackupJobId"]

    def completed() -> Any:
        job = backup.describe_backup_job(BackupJobId=job_id)
        assert job["State"] in ("CREATED", "PENDING", "RUNNING", "COMPLETED"), job
        return job["State"] == "COMPLETED" and job

    return str(until(completed)["RecoveryPointArn"]), asked, time.monotonic()


def restore(backup: Any, dynamodb: Any, recovery_point: str, target: str) -> list[dict[str, Any]]:
    metadata = {"targetTableName": target, "encryptionType": "Default"}
    job_id = backup.start_restore_job(RecoveryPointArn=recovery_point, Metadata=metadata, IamRoleArn=ROLE)[
        "RestoreJobId"
    ]
    until(lambda: backup.describe_restore_job(RestoreJobId=job_id)["Status"] == "COMPLETED")
    pages = dynamodb.get_paginator("scan").paginate(TableName=target, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def settled_items() -> list[dict[str, Any]]:
    return [
        {"order_id": {"S": "settled"}, "item_id": {"S": str(n)}, "text": {"S": "x" * 100}} for n in range(SETTLED_ITEMS)
    ]


def make_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName="orders",
        KeySchema=[
            {"AttributeName": "order_id", "KeyType": "HASH"},
            {"AttributeName": "item_id", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("order_id", "item_id")],
        BillingMode="PAY_PER_REQUEST",
    )
    requests = [{"PutRequest": {"Item": item}} for item in settled_items()]
    for start in range(0, SETTLED_ITEMS, 25):
        dynamodb.batch_write_item(RequestItems={"orders": requests[start : start + 25]})


@pytest.fixture(scope="module")
def battle(address: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Log], list[Restored]]:
    """What the writers logged, and the tables restored from backups taken meanwhile."""
    session = boto3.Session("testing", "testing", region_name="us-east-1")
    once = Config(retries={"total_max_attempts": 1})
    dynamodb, backup = (session.client(name, endpoint_url=address, config=once) for name in ("dynamodb", "backup"))
    make_table(dynamodb)
    backup.create_backup_vault(BackupVaultName="vault")
    stop = tmp_path_factory.mktemp("fire") / "stop"
    writers = [
        subprocess.Popen(
            [sys.executable, str(WRITER), address, str(number), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    try:
        for number in range(WRITERS):  # each has written something
            key = MODEL["key"](number, "right")
            until(lambda key=key: "Item" in dynamodb.get_item(TableName="orders", Key=key))
        taken = [back_up_under_fire(backup) for _ in range(BACKUPS)]
    finally:
        stop.touch()
        ends = [writer.communicate(timeout=30) for writer in writers]
    assert [(writer.returncode, errors) for writer, (_, errors) in zip(writers, ends, strict=True)] == [(0, "")] * 4
    logs: list[Log] = [[tuple(json.loads(line)) for line in output.splitlines()] for output, _ in ends]
    restored = [
        Restored(restore(backup, dynamodb, point, f"restored-{number}"), asked, done)
        for number, (point, asked, done) in enumerate(taken)
    ]
    return logs, restored


def rows_of(items: list[dict[str, Any]], order: str) -> dict[str, dict[str, Any]]:
    return {
        item["item_id"]["S"]: {name: value for name, value in item.items() if name not in ("order_id", "item_id")}
        for item in items
        if item["order_id"]["S"] == order
    }


def counter_of(restored: Restored) -> int:
    return int(rows_of(restored.items, "shared")["counter"]["n"]["N"])


def steps_held(restored: Restored, writer: int, log: Log) -> list[int]:
    """Return after which numbers of steps the writer's items were what the restored table holds of them."""
    held = rows_of(restored.items, f"writer-{writer}")
    rows: dict[str, dict[str, Any]] = {}
    matching = [0] if held == rows else []
    for step in range(len(log)):
        MODEL["replay"](rows, step)
        if rows == held:
            matching.append(step + 1)
    return matching


def cut_of(restored: Restored, logs: list[Log]) -> list[tuple[int, int]]:
    """Return for each writer the least and the greatest number of its steps that the restored table may hold.

    They are mostly one number. But deleting what is not there leaves no trace, so it may be inside or outside; counting
    leaves none among the writer's own items either, and its ticket decides.
    """
    counter = counter_of(restored)
    cut = []
    for writer, log in enumerate(logs):
        possible = [
            held
            for held in steps_held(restored, writer, log)
            if all(ticket is None or (ticket <= counter) == (step < held) for step, (_, _, ticket) in enumerate(log))
        ]
        assert possible, f"what the table holds of writer {writer} is no prefix of what it wrote"
        cut.append((min(possible), max(possible)))
    return cut


@pytest.mark.parametrize("number", range(BACKUPS))
def test_items_that_nobody_wrote_to_are_all_there(battle: Any, number: int) -> None:
    items = [item for item in battle[1][number].items if item["order_id"]["S"] == "settled"]

    assert sorted(items, key=str) == sorted(settled_items(), key=str)


@pytest.mark.parametrize("number", range(BACKUPS))
def test_a_restored_table_holds_a_prefix_of_each_writers_work(battle: Any, number: int) -> None:
    logs, restored = battle

    cut = cut_of(restored[number], logs)

    assert len(restored[number].items) == SETTLED_ITEMS + 1 + sum(
        len(rows_of(restored[number].items, f"writer-{writer}")) for writer in range(WRITERS)
    )
    amid = [least > 0 and most < len(log) for (least, most), log in zip(cut, logs, strict=True)]
    assert all(amid), "the backup was not taken amid the writing"


@pytest.mark.parametrize("number", range(BACKUPS))
def test_the_prefixes_are_one_instant(battle: Any, number: int) -> None:
    logs, restored = battle
    cut = cut_of(restored[number], logs)
    inside = [entry for log, (least, _) in zip(logs, cut, strict=True) for entry in log[:least]]
    outside = [entry for log, (_, most) in zip(logs, cut, strict=True) for entry in log[most:]]

    # The counter orders the requests of all writers: exactly the first n of them are inside.
    tickets = sorted(ticket for _, _, ticket in inside if ticket is not None)
    assert tickets == list(range(1, counter_of(restored[number]) + 1))

    # And there is a moment after the begin of all that is inside, before the end of all that is not, while the
    # backup job was asked for and not yet done.
    last_begin, first_end = max(begun for begun, _, _ in inside), min(ended for _, ended, _ in outside)
    assert last_begin <= first_end
    assert last_begin <= restored[number].done
    assert first_end >= restored[number].asked


def test_later_backups_hold_more(battle: Any) -> None:
    logs, restored = battle

    cuts = [[most for _, most in cut_of(table, logs)] for table in restored]

    for before, after in pairwise(cuts):
        assert all(later >= earlier for earlier, later in zip(before, after, strict=True))
        assert sum(after) > sum(before)
