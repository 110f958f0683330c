"""An AWS in this process for each test, on a clock that stands still until the test moves it.

Each test that asks for `clients` (so for `aws`, `bare_aws` too) runs twice: on calls that never leave the process,
and over HTTP on a server. Both share their state with the test, so `local_aws.control` works in both.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.moto_api._internal.models import moto_api_backend

from local_aws import control, mock_aws
from local_aws.server import LocalAwsServer

REGION = "us-east-1"
ACCOUNT = "123456789012"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/AWSBackupTestRole"
VAULT = "orders-vault"
TABLE = "orders"
JOB_SECONDS = 100.0


@dataclass
class Aws:
    """Clients of one mocked AWS, and the few calls that nearly every test makes."""

    backup: Any
    dynamodb: Any
    now: datetime = NOW
    vault: str = VAULT
    role: str = ROLE
    job_seconds: float = JOB_SECONDS

    def wait(self, seconds: float = JOB_SECONDS) -> None:
        """Let time pass; by default as long as a job takes."""
        control.advance_clock(timedelta(seconds=seconds))

    def make_table(self, name: str = TABLE, **settings: Any) -> str:
        keys = ("order_id", "item_id")
        created = self.dynamodb.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            **{"BillingMode": "PAY_PER_REQUEST", **settings},
        )
        return str(created["TableDescription"]["TableArn"])

    def put(self, order: str, item: str = "1", table: str = TABLE, **attributes: dict[str, Any]) -> None:
        self.dynamodb.put_item(TableName=table, Item={"order_id": {"S": order}, "item_id": {"S": item}, **attributes})

    def orders(self, table: str) -> list[str]:
        return sorted(item["order_id"]["S"] for item in self.dynamodb.scan(TableName=table)["Items"])

    def start(self, table: str = TABLE, **members: Any) -> dict[str, Any]:
        request = {
            "BackupVaultName": VAULT,
            "ResourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}",
            "IamRoleArn": ROLE,
        }
        return dict(self.backup.start_backup_job(**{**request, **members}))

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.backup.describe_backup_job(BackupJobId=job_id))

    def state(self, job_id: str) -> str:
        return str(self.job(job_id)["State"])

    def recovery_point(self, table: str = TABLE, **members: Any) -> str:
        """Back a table up, wait, and return the recovery point's ARN."""
        job_id = self.start(table, **members)["BackupJobId"]
        self.wait()
        job = self.job(job_id)
        assert job["State"] == "COMPLETED"
        return str(job["RecoveryPointArn"])

    def restore(self, arn: str, target: str = "orders-restored", **members: Any) -> str:
        request = {
            "RecoveryPointArn": arn,
            "Metadata": {"targetTableName": target, "encryptionType": "Default"},
            "IamRoleArn": ROLE,
        }
        return str(self.backup.start_restore_job(**{**request, **members})["RestoreJobId"])


class Refusal(Protocol):
    def __call__(self, code: str, text: str = "") -> AbstractContextManager[None]: ...


@pytest.fixture
def refused() -> Refusal:
    """Expect the calls in a `with` block to be refused, with that code, HTTP 400, and that text in the message."""

    @contextmanager
    def expect(code: str, text: str = "") -> Iterator[None]:
        with pytest.raises(ClientError) as raised:
            yield
        reply = raised.value.response
        assert reply["Error"]["Code"] == code
        assert reply["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert text in reply["Error"]["Message"]

    return expect


@pytest.fixture(scope="session")
def make_client() -> Callable[..., Any]:
    """Make boto3 clients, each once: making them is most of what a small test would cost."""
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)

    @cache
    def client(service: str, region: str = REGION, endpoint_url: str | None = None, attempts: int | None = None) -> Any:
        config = Config(retries={"total_max_attempts": attempts}) if attempts else None
        return session.client(service, region_name=region, endpoint_url=endpoint_url, config=config)

    return client


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server in this process; time passes on it as requests come in, as it does without a server."""
    with LocalAwsServer(port=0, ticking=False) as server:
        yield server.url


@pytest.fixture(params=["in-process", "server"])
def endpoint_url(request: pytest.FixtureRequest) -> str | None:
    """Where the AWS of this test is: at an address, or None: in this process. Runs a test on both."""
    return str(request.getfixturevalue("server_url")) if request.param == "server" else None


@pytest.fixture
def clients(endpoint_url: str | None, make_client: Callable[..., Any]) -> Callable[..., Any]:
    """Clients of this test's AWS by service and Region."""
    return partial(make_client, endpoint_url=endpoint_url)


@pytest.fixture
def started(endpoint_url: str | None) -> Callable[[], AbstractContextManager[None]]:
    """Start this test's AWS, empty: a context manager to use where a test has no other fixture that does."""

    @contextmanager
    def start() -> Iterator[None]:
        if endpoint_url is None:
            with mock_aws():
                yield
        else:
            moto_api_backend.reset()
            yield

    return start


@pytest.fixture
def bare_aws(clients: Callable[..., Any], started: Callable[[], AbstractContextManager[None]]) -> Iterator[Aws]:
    """AWS without anything in it; the clock stands at `NOW`, jobs take `JOB_SECONDS`."""
    with started():
        control.hold_clock(NOW)
        control.configure(job_seconds=JOB_SECONDS, restore_seconds=JOB_SECONDS, delete_seconds=10)
        try:
            yield Aws(clients("backup"), clients("dynamodb"))
        finally:
            control.reset()


@pytest.fixture
def aws(bare_aws: Aws) -> Aws:
    """AWS with the orders table (two items) and a vault."""
    bare_aws.make_table()
    bare_aws.put("A")
    bare_aws.put("B")
    bare_aws.backup.create_backup_vault(BackupVaultName=VAULT)
    return bare_aws
