"""An account as the console sees it: tables, recovery points and evidence on a local AWS whose clock stands still."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from fastapi import Depends
from fastapi.testclient import TestClient

from backup_console_app.cache import Cache
from backup_console_app.pages import Wiring, make_app
from backup_console_app.world import NextRun, World
from backup_flows.keys import evidence_prefix, history_key, verdict_key
from backup_flows.protection import Protection
from backup_flows.protection_file import parse_protection
from local_aws import control, mock_aws
from local_aws.clock import CLOCK
from restore_proof.evidence import Drill, Phase, make_evidence
from restore_proof.history import Surroundings, make_record
from restore_proof.verdict import Depth, Result, Subject, Verdict

REGION = "us-east-1"
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
BUCKET = "proofs"
VAULT = "orders-vault"
ROLE = "arn:aws:iam::123456789012:role/backup"
FILE = "version: 1\ntables:\n  - {name: orders, tier: daily}\n  - {name: returns, tier: daily}\n"
JOB_SECONDS = 60


def no_check() -> None:
    """Let everybody in."""


@dataclass(frozen=True)
class Stack:
    """What the console asks of a stack's resources."""

    bucket: str = BUCKET
    vault: str = VAULT
    region: str = REGION


@dataclass
class Account:
    """An account on the local AWS, and moves that fill it."""

    clients: Callable[[str], Any]
    protection: Protection
    runs: dict[str, NextRun] = field(default_factory=dict)
    seconds: float = 0.0
    """Of the cache's clock."""

    def __post_init__(self) -> None:
        self.cache = Cache(lambda: self.seconds)

    def world(self, now: dt.datetime | None = None) -> World:
        """Return what pages ask from."""
        return World(
            stack="orders-backup",
            clients=self.clients,
            places=Stack(),
            protection=self.protection,
            now=now or CLOCK.now(),
            cache=self.cache,
            next_run=self.runs.get,
        )

    def make_table(self, name: str, **tags: str) -> str:
        """Make a table and return its ARN."""
        made = self.clients("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        return str(made["TableDescription"]["TableArn"])

    def back_up(self, table_arn: str, vault: str = VAULT) -> str:
        """Make a recovery point, wait for it, and return its ARN."""
        backup = self.clients("backup")
        job = backup.start_backup_job(
            BackupVaultName=vault, ResourceArn=table_arn, IamRoleArn=ROLE, Lifecycle={"DeleteAfterDays": 35}
        )
        self.wait()
        return str(backup.describe_backup_job(BackupJobId=job["BackupJobId"])["RecoveryPointArn"])

    def wait(self, seconds: float = JOB_SECONDS + 1) -> None:
        """Let time pass on AWS's clock."""
        control.advance_clock(dt.timedelta(seconds=seconds))

    def put(self, key: str, document: Any) -> None:
        """Put a document into the bucket; bytes as they are, anything else as JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.clients("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def drill(
        self,
        table: str,
        point_arn: str,
        *,
        as_of: str = "2026-11-20",
        drill_id: str = "0a1b2c3d",
        result: Result = Result.PROVEN,
        depth: Depth = Depth.FULL,
        reasons: tuple[str, ...] = ("Every item is right.",),
        backed_up_at: dt.datetime = NOW,
        decided_at: dt.datetime | None = None,
        restore_seconds: float = 90,
        around: Surroundings | None = None,
    ) -> str:
        """Leave a drill's evidence and verdict behind (and its history, with what held around it); return its name."""
        decided = decided_at or backed_up_at + dt.timedelta(minutes=10)
        start = decided - dt.timedelta(seconds=restore_seconds)
        subject = Subject(point_arn, table, f"{table}-restored", as_of, "restore_drill/scheduled__2026-11-20")
        verdict = Verdict(subject, result, depth, reasons, decided, {"compared": 3})
        done = Drill(
            drill_id=drill_id,
            requested_by="schedule",
            backup={"created_at": backed_up_at.isoformat(), "recovery_point_arn": point_arn},
            restore={},
            phases=[Phase("restore", start, decided)],
            versions={},
        )
        evidence = make_evidence(verdict, done, written_at=decided)
        prefix = evidence_prefix(table, as_of, drill_id)
        self.put(f"{prefix}pack.json", evidence.pack)
        self.put(f"{prefix}report.html", evidence.report)
        self.put(verdict_key(table, point_arn), verdict.to_json())
        if around is not None:
            self.put(history_key(table, as_of, drill_id), make_record(verdict, done, around).to_json())
        return prefix.split("/")[2]

    def browser(self, **changes: Any) -> TestClient:
        """Return a browser that has the console open."""
        wiring = {
            "connect": lambda _: self.world(),
            "stacks": ("orders-backup",),
            "airflow": "",
            "clock": lambda: CLOCK.now(),
            "may_look": [Depends(no_check)],
            "may_see_evidence": [Depends(no_check)],
            **changes,
        }
        return TestClient(make_app(Wiring(**wiring)))


@pytest.fixture(scope="session")
def clients() -> Callable[[str], Any]:
    """Make boto3 clients, each once: making them is most of what a small test would cost."""
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)
    return functools.cache(session.client)


@pytest.fixture
def empty(clients: Callable[[str], Any]) -> Iterator[Account]:
    """An account with the bucket and the vault, and nothing in them."""
    with mock_aws():
        control.hold_clock(NOW)
        control.configure(job_seconds=JOB_SECONDS, restore_seconds=JOB_SECONDS)
        try:
            clients("s3").create_bucket(Bucket=BUCKET)
            clients("backup").create_backup_vault(BackupVaultName=VAULT)
            yield Account(clients, parse_protection(FILE))
        finally:
            control.reset()


@pytest.fixture
def account(empty: Account) -> Account:
    """An account with the two tables that ``protection.yaml`` protects."""
    empty.make_table("orders")
    empty.make_table("returns")
    return empty


class FailingClient:
    """A client whose every call is refused."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            raise self._error

        return call


@pytest.fixture
def denied() -> Callable[[str], ClientError]:
    """AWS's answer to a call that is not allowed."""

    def make(operation: str) -> ClientError:
        message = f"User: arn:aws:sts::1:assumed-role/viewer/x is not authorized to perform: {operation}"
        return ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)

    return make


@pytest.fixture
def failing() -> type[FailingClient]:
    """A client that fails, see `FailingClient`."""
    return FailingClient
