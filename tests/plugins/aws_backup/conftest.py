"""A stand-in for AWS Backup behind real botocore clients, so that requests and answers keep AWS's shapes."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast
from unittest import mock

import boto3
import pytest
from aiobotocore.session import AioSession
from airflow.sdk import Context
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import EndpointConnectionError
from botocore.validate import validate_parameters
from moto import mock_aws

from aws_backup.hooks.backup import BackupHook

REGION = "us-east-1"
TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
ROLE_ARN = "arn:aws:iam::123456789012:role/AWSBackup-orders"
POINT_ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:0f2d1c5e-0000-4000-8000-000000000001"
PLAIN_POINT_ARN = f"{TABLE_ARN}/backup/01489602797149-73d8d5bc"
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
UNREACHABLE = EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/")


class ApiError(Exception):
    """An error that the stand-in answers."""

    def __init__(self, code: str, message: str = "told by the test", status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.status = status


NOT_FOUND = ApiError("ResourceNotFoundException", "no such thing")
Answer = Mapping[str, Any] | Exception | Callable[[dict[str, Any]], Mapping[str, Any]]


def _http(status: int) -> AWSResponse:
    return AWSResponse("http://stand.in/", status, HTTPHeaders(), None)


class FakeBackup:
    """AWS Backup as far as these tests need it: scripted answers first, else a little state."""

    table_arn = TABLE_ARN
    role_arn = ROLE_ARN
    point_arn = POINT_ARN
    plain_point_arn = PLAIN_POINT_ARN
    vault = "orders-vault"
    now = NOW
    not_found = NOT_FOUND
    unreachable = UNREACHABLE
    error = ApiError

    page_size = 1000

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.scripts: dict[str, list[Answer]] = {}
        self.after: dict[str, Callable[[], None]] = {}
        self.backup_jobs: dict[str, dict[str, Any]] = {}
        self.restore_jobs: dict[str, dict[str, Any]] = {}
        self.points: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}

    def script(self, operation: str, *answers: Answer) -> None:
        """Answer the operation's next calls so; the last one is repeated."""
        self.scripts[operation] = list(answers)

    def count(self, operation: str) -> int:
        return len(self.requests(operation))

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def add_point(self, arn: str = POINT_ARN, *, status: str = "COMPLETED", **fields: Any) -> None:
        self.points[arn] = {
            "RecoveryPointArn": arn,
            "BackupVaultName": "orders-vault",
            "ResourceArn": TABLE_ARN,
            "Status": status,
            "BackupSizeInBytes": 2048,
            "CreationDate": NOW,
            **fields,
        }

    def check(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.input_shape is not None:
            given = {key: value for key, value in params.items() if key != "WaiterConfig"}
            validate_parameters(given, model.input_shape)
        self.calls.append((model.name, dict(params)))

    def answer(self, model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        params = self.calls[-1][1]
        try:
            answer = self._serve(model.name, params)
        except ApiError as error:
            return _http(error.status), {
                "Error": {"Code": error.code, "Message": error.message},
                "ResponseMetadata": {"HTTPStatusCode": error.status},
            }
        return _http(200), {
            **answer,
            "ResponseMetadata": {"HTTPStatusCode": 200},
        }

    def _serve(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        script = self.scripts.get(operation)
        if script:
            answer = script.pop(0) if len(script) > 1 else script[0]
            if callable(answer):
                return dict(answer(params))
            if isinstance(answer, Exception):
                raise answer
            return dict(answer)
        result = getattr(self, f"_{operation}")(**params)
        if operation in self.after:
            self.after.pop(operation)()
        return dict(result)

    def _StartBackupJob(self, *, IdempotencyToken: str, **_: Any) -> dict[str, Any]:
        job_id = self.tokens.setdefault(IdempotencyToken, f"job-{len(self.backup_jobs)}")
        self.backup_jobs.setdefault(
            job_id,
            {
                "BackupJobId": job_id,
                "State": "CREATED",
                "BackupVaultName": "orders-vault",
                "ResourceArn": TABLE_ARN,
                "CreationDate": NOW,
            },
        )
        return {"BackupJobId": job_id, "CreationDate": NOW}

    def _DescribeBackupJob(self, *, BackupJobId: str) -> dict[str, Any]:
        if BackupJobId not in self.backup_jobs:
            raise NOT_FOUND
        return self.backup_jobs[BackupJobId]

    def _ListBackupJobs(self, *, NextToken: str = "0", **_: Any) -> dict[str, Any]:
        first, last = int(NextToken), int(NextToken) + self.page_size
        jobs = list(self.backup_jobs.values())
        following = {"NextToken": str(last)} if last < len(jobs) else {}
        return {"BackupJobs": jobs[first:last], **following}

    def _StopBackupJob(self, *, BackupJobId: str) -> dict[str, Any]:
        self.backup_jobs[BackupJobId]["State"] = "ABORTED"
        return {}

    def _StartRestoreJob(self, *, IdempotencyToken: str, **params: Any) -> dict[str, Any]:
        job_id = self.tokens.setdefault(IdempotencyToken, f"restore-{len(self.restore_jobs)}")
        self.restore_jobs.setdefault(
            job_id,
            {
                "RestoreJobId": job_id,
                "Status": "PENDING",
                "RecoveryPointArn": params["RecoveryPointArn"],
                "CreationDate": NOW,
            },
        )
        return {"RestoreJobId": job_id}

    def _DescribeRestoreJob(self, *, RestoreJobId: str) -> dict[str, Any]:
        if RestoreJobId not in self.restore_jobs:
            raise NOT_FOUND
        return self.restore_jobs[RestoreJobId]

    def _DescribeRecoveryPoint(self, *, RecoveryPointArn: str, **_: Any) -> dict[str, Any]:
        if RecoveryPointArn not in self.points:
            raise NOT_FOUND
        return self.points[RecoveryPointArn]

    def _DeleteRecoveryPoint(self, *, RecoveryPointArn: str, **_: Any) -> dict[str, Any]:
        if RecoveryPointArn not in self.points:
            raise NOT_FOUND
        del self.points[RecoveryPointArn]
        return {}


class Switch:
    """Leads the one client of the test session to the stand-in of the current test; clients are slow to make."""

    def __init__(self) -> None:
        self.backup = FakeBackup()
        self.client = boto3.client("backup", region_name=REGION)
        self.async_session = AioSession()
        self.attach(self.client)

    def attach(self, client: Any) -> None:
        client.meta.events.register("before-parameter-build.backup", self._check)
        client.meta.events.register("before-call.backup", self._answer)

    def _check(self, **event: Any) -> None:
        self.backup.check(**event)

    def _answer(self, **event: Any) -> Any:
        return self.backup.answer(**event)


@pytest.fixture(scope="session")
def switch() -> Switch:
    """The clients of the session."""
    return Switch()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, switch: Switch) -> FakeBackup:
    """AWS Backup answers from memory; every client of every BackupHook is served by it."""
    switch.backup = FakeBackup()

    @asynccontextmanager
    async def async_client() -> AsyncIterator[Any]:
        async with switch.async_session.create_client("backup", region_name=REGION) as client:
            switch.attach(client)
            yield client

    async def get_async_client(hook: BackupHook) -> Any:
        return async_client()

    monkeypatch.setattr(BackupHook, "get_client_type", lambda hook, *args, **kwargs: switch.client)
    monkeypatch.setattr(BackupHook, "get_async_client", get_async_client)
    return switch.backup


@pytest.fixture
def hook(fake: FakeBackup) -> BackupHook:
    """A hook on the stand-in."""
    return BackupHook(aws_conn_id=None, region_name=REGION)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The delays that the waiting loop asked for, none of which is slept."""
    delays: list[float] = []
    with (
        mock.patch("aws_backup.waiting.time.sleep", delays.append),
        mock.patch("aws_backup.stopping.time.sleep", delays.append),
    ):
        yield delays


@pytest.fixture
def aws() -> Iterator[None]:
    """S3 and DynamoDB by moto."""
    with mock_aws():
        yield


def make_context(**overrides: Any) -> Context:
    """A task's context with a task instance that records XComs."""
    ti = mock.Mock(spec=["dag_id", "run_id", "task_id", "map_index", "xcom_push", "get_first_reschedule_date"])
    ti.dag_id, ti.run_id, ti.task_id, ti.map_index = "orders", "manual__1", "back_up.start", -1
    ti.get_first_reschedule_date.return_value = None
    for name, value in overrides.items():
        setattr(ti, name, value)
    return {"ti": ti}


@pytest.fixture
def context() -> Context:
    """A task's context."""
    return make_context()


@pytest.fixture
def new_context() -> Callable[..., Context]:
    """Make a task's context; keyword arguments are attributes of its task instance."""
    return make_context


@pytest.fixture
def pushed(context: Context) -> Callable[[], dict[str, Any]]:
    """Tell the XComs that were pushed in ``context``."""
    return lambda: pushed_in(context)


def pushed_in(context: Context) -> dict[str, Any]:
    """The XComs that were pushed."""
    return {call.kwargs["key"]: call.kwargs["value"] for call in cast("Any", context["ti"]).xcom_push.call_args_list}
