"""A run's surroundings in one process: the stack on a local AWS whose clock stands still, and a task's context."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.execution_time.context import OutletEventAccessors, set_current_context

from aws_backup.operators.backup import BackupStartBackupJobOperator, BackupStartRestoreJobOperator
from aws_backup.summaries import summarise_backup_job, summarise_restore_job
from backup_flows import recovery_points, restores
from backup_flows.fingerprints import Binding
from backup_flows.keys import staged_key
from backup_flows.orders import stage_order_file
from backup_flows.proof import ProofRequest, prove
from backup_flows.stack import read_resources
from local_aws import control, mock_aws
from local_aws.clock import CLOCK
from restore_proof.verdict import Verdict

ROOT = Path(__file__).resolve().parents[3]
REGION = "us-east-1"
NOW = dt.datetime(2026, 11, 2, 6, 0, tzinfo=dt.UTC)
AS_OF = dt.datetime(2026, 11, 1, 6, 0, tzinfo=dt.UTC)
JOB_SECONDS = 60.0
ROOT_ARN = "arn:aws:iam::123456789012:root"
RESTING = "cron(0 5 1 1 ? 2099)"
CONNECTION = '{"conn_type": "aws", "extra": {"region_name": "us-east-1"}}'
PARAMS = {
    "source": "include/data/daily/order_data_{as_of}.csv",
    "settle_seconds": 120,
    "max_reject_ratio": 0.05,
    "max_wcu": None,
    "max_rcu": None,
    "delete_after_days": 35,
    "force_new": False,
    "keep_restored_table": False,
    "stack_name": "orders-backup",
    "which": "all",
    "tables": [],
    "tag": "",
    "starts_per_second": 1000,
}


@dataclass
class DagRun:
    """What the flows read of a run."""

    dag_id: str = "orders_backup_restore"
    run_id: str = "manual__1"
    logical_date: dt.datetime | None = AS_OF
    run_after: dt.datetime = NOW
    run_type: str = "manual"
    data_interval_start: dt.datetime | None = None
    data_interval_end: dt.datetime | None = None


def make_context(*, unfinished_runs: int = 0, run: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    """Return a task's context.

    :param unfinished_runs: what Airflow answers when it is asked about other runs.
    :param run: attributes of the run.
    :param params: params of the run that are not the tests' usual ones.
    """
    dag_run = DagRun(**(run or {}))
    # What a task gets is no text: str() of it is "DagRunType.BACKFILL".
    dag_run.run_type = DagRunType(dag_run.run_type)
    ti = mock.Mock(
        spec=[
            "dag_id",
            "run_id",
            "task_id",
            "map_index",
            "xcom_push",
            "xcom_pull",
            "get_dr_count",
            "get_task_states",
            "try_number",
            "max_tries",
        ]
    )
    ti.dag_id, ti.run_id, ti.task_id, ti.map_index = dag_run.dag_id, dag_run.run_id, "a_task", -1
    ti.try_number, ti.max_tries = 1, 0
    ti.get_dr_count.return_value = unfinished_runs
    return {
        "dag_run": dag_run,
        "ti": ti,
        "task_instance": ti,
        "params": {**PARAMS, **params},
        "outlet_events": OutletEventAccessors(),
    }


@pytest.fixture
def new_context() -> Callable[..., dict[str, Any]]:
    """Make a task's context, see `make_context`."""
    return make_context


@pytest.fixture
def context() -> dict[str, Any]:
    """The context of a task of a run for 2026-11-01."""
    return make_context()


def run_task(decorated: Any, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call the function under a ``@task`` decorator as Airflow does: with the context set."""
    with set_current_context(context):
        return decorated.function(*args, **kwargs)


@pytest.fixture
def in_task() -> Callable[..., Any]:
    """Call a decorated task's function, see `run_task`."""
    return run_task


@pytest.fixture(scope="session")
def clients() -> Callable[..., Any]:
    """Make boto3 clients, each once: making them is most of what a small test would cost."""
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)
    make = session.client

    @cache
    def client(service: str) -> Any:
        made = make(service)
        if service == "sts":
            made.meta.events.register("after-call.sts.GetCallerIdentity", _answer_by_the_local_clock)
        return made

    return client


def _answer_by_the_local_clock(parsed: dict[str, Any], **_: Any) -> None:
    """Date the answer by the clock that everything else here goes by; AWS has only one clock, too."""
    parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = format_datetime(CLOCK.now(), usegmt=True)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Airflow connection that the flows work on, for tests that need no AWS beside it."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", CONNECTION)


@dataclass
class Flow:
    """A deployed stack and the moves of a run that many tests make."""

    clients: Callable[[str], Any]
    resources: dict[str, Any]
    context: dict[str, Any] = field(default_factory=make_context)

    def __post_init__(self) -> None:
        self.s3 = self.clients("s3")
        self.dynamodb = self.clients("dynamodb")
        self.backup = self.clients("backup")
        self.bucket: str = self.resources["bucket"]
        self.table: str = self.resources["table"]

    @staticmethod
    def wait(seconds: float = JOB_SECONDS) -> None:
        """Let time pass on AWS's clock; by default as long as a job takes."""
        control.advance_clock(dt.timedelta(seconds=seconds))

    @staticmethod
    def now() -> dt.datetime:
        return CLOCK.now()

    def put(self, order: str, item: str = "1", *, table: str | None = None, **attributes: Any) -> None:
        """Put an item; attributes are text, or in DynamoDB's wire form."""
        wire = {name: value if isinstance(value, dict) else {"S": value} for name, value in attributes.items()}
        self.dynamodb.put_item(
            TableName=table or self.table, Item={"order_id": {"S": order}, "item_id": {"S": item}, **wire}
        )

    def remove(self, order: str, item: str = "1", *, table: str | None = None) -> None:
        key = {"order_id": {"S": order}, "item_id": {"S": item}}
        self.dynamodb.delete_item(TableName=table or self.table, Key=key)

    def scan(self, table: str | None = None) -> dict[tuple[str, str], dict[str, Any]]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table or self.table, ConsistentRead=True)
        return {(i["order_id"]["S"], i["item_id"]["S"]): i for page in pages for i in page["Items"]}

    def tables(self) -> list[str]:
        return list(self.dynamodb.list_tables()["TableNames"])

    def make_table(self, name: str) -> None:
        """Make a table with the keys of the orders table."""
        keys = {"order_id": "HASH", "item_id": "RANGE"}
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )

    def tags(self, table: str) -> dict[str, str]:
        arn = self.dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
        return {tag["Key"]: tag["Value"] for tag in self.dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]}

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of the objects in the bucket."""
        return [o["Key"] for o in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])]

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def document(self, key: str) -> dict[str, Any]:
        return dict(json.loads(self.read(key)))

    def etags(self, prefix: str) -> dict[str, str]:
        """Return what tells two contents apart, of each object."""
        return {
            o["Key"]: o["ETag"] for o in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        }

    def forget(self, prefix: str) -> None:
        """Delete the objects below a prefix."""
        self.delete(self.keys(prefix))

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects, with their older versions still there."""
        if keys:
            self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in sorted(keys)]})

    def undo(self, key: str) -> None:
        """Give an object its first content back."""
        versions = self.s3.list_object_versions(Bucket=self.bucket, Prefix=key)["Versions"]
        first = min((v for v in versions if v["Key"] == key), key=lambda version: version["LastModified"])
        source = {"Bucket": self.bucket, "Key": key, "VersionId": first["VersionId"]}
        self.s3.copy_object(Bucket=self.bucket, Key=key, CopySource=source)

    def start_backup(self, context: dict[str, Any] | None = None) -> str:
        """Start the run's backup job as the DAG does; return its id."""
        context = context or self.context
        operator = BackupStartBackupJobOperator(
            task_id=recovery_points.START_TASK,
            backup_vault_name=self.resources["vault"],
            resource_arn=self.resources["table_arn"],
            iam_role_arn=self.resources["role_arn"],
            lifecycle=self.resources["lifecycle"],
            recovery_point_tags={
                "managed-by": "dynamodb-backup-proof",
                "table": self.resources["table"],
                "as-of": self.resources["as_of"],
                "dag": context["dag_run"].dag_id,
                "run": f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}",
            },
            intent_bucket=self.bucket,
            force_new=context["params"]["force_new"],
            wait_for_completion=False,
            deferrable=False,
        )
        context["ti"].task_id = operator.task_id
        return str(operator.execute(context))

    def backup_summary(self, job_id: str) -> dict[str, Any]:
        return dict(summarise_backup_job(self.backup.describe_backup_job(BackupJobId=job_id)))

    def back_up(self, context: dict[str, Any] | None = None, *, during: Callable[[], None] | None = None) -> Binding:
        """Fingerprint, back up, fingerprint and bind.

        :param during: is called while the job is running.
        """
        context = context or self.context
        before = recovery_points.take_before(self.resources, context)
        job_id = self.start_backup(context)
        if during is not None:
            during()
        self.wait()
        return recovery_points.bind_recovery_point(self.resources, before, self.backup_summary(job_id), context)

    def plan(self, binding: Binding, context: dict[str, Any] | None = None) -> dict[str, Any]:
        return dict(run_task(restores.plan_restore, context or self.context, self.resources, binding.as_dict()))

    def start_restore(self, plan: dict[str, Any], context: dict[str, Any] | None = None) -> str:
        """Start the run's restore job as the DAG does; return its id."""
        context = context or self.context
        operator = BackupStartRestoreJobOperator(
            task_id=restores.START_TASK,
            recovery_point_arn=plan["recovery_point_arn"],
            target_table_name=plan["target_table"],
            encryption_type=restores.ENCRYPTION_TYPE,
            iam_role_arn=self.resources["role_arn"],
            intent_bucket=self.bucket,
            force_new=context["params"]["force_new"],
            wait_for_completion=False,
            deferrable=False,
        )
        context["ti"].task_id = operator.task_id
        return str(operator.execute(context))

    def restore(self, binding: Binding, context: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Restore a recovery point; return the plan and the finished job's summary."""
        plan = self.plan(binding, context)
        job_id = self.start_restore(plan, context)
        self.wait()
        return plan, dict(summarise_restore_job(self.backup.describe_restore_job(RestoreJobId=job_id)))

    def request(self, binding: Binding, plan: dict[str, Any], job: dict[str, Any], **changes: Any) -> ProofRequest:
        """Return what the task ``prove`` asks for."""
        values: dict[str, Any] = {
            "bucket": self.bucket,
            "binding": binding,
            "restored_table": plan["target_table"],
            "restore": job,
            "as_of": self.resources["as_of"],
            "run": "orders_backup_restore/manual__1",
            "drill_id": self.resources["run_key"],
            "requested_by": "manual",
            "phases": restores.phases_of(binding, job),
            "encryption_type": restores.ENCRYPTION_TYPE,
            **changes,
        }
        return ProofRequest(**values)

    def prove(self, binding: Binding, plan: dict[str, Any], job: dict[str, Any], **changes: Any) -> Verdict:
        """Prove a restored table; return the recorded verdict."""
        return prove(self.dynamodb, self.s3, self.request(binding, plan, job, **changes), clock=self.now)


@contextmanager
def local_world(clients: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """An empty local AWS on a held clock, which is also the flows' own; yields what makes clients."""

    make: Any = boto3.Session.client

    def made_once(session: boto3.Session, service_name: str, **arguments: Any) -> Any:
        credentials = session.get_credentials()
        if credentials is not None and credentials.access_key.startswith(("AKIA", "ASIA", "LSIA")):
            # A session of another role or user.
            return make(session, service_name, **arguments)
        return clients(service_name)

    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", CONNECTION)
        patch.setattr(boto3.Session, "client", made_once)
        patch.setattr(AwsBaseHook, "get_client_type", lambda hook, **_: clients(hook.client_type))
        for name, module in list(sys.modules.items()):
            if name.startswith("backup_flows.") and hasattr(module, "utcnow"):
                patch.setattr(module, "utcnow", CLOCK.now)
        control.hold_clock(NOW)
        control.configure(job_seconds=JOB_SECONDS, restore_seconds=JOB_SECONDS, delete_seconds=10)
        try:
            yield clients
        finally:
            control.reset()


def deploy(clients: Callable[..., Any], **parameters: str) -> Flow:
    """Deploy the stack from the project's own template, for a run for 2026-11-01.

    :param parameters: of the template. By default its plan rests, so that time can pass without backups.
    """
    parameters = {"DeployPrincipalArn": ROOT_ARN, "BackupSchedule": RESTING, **parameters}
    clients("cloudformation").create_stack(
        StackName="orders-backup",
        TemplateBody=(ROOT / "include" / "cloudformation" / "orders_backup.yaml").read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Tags=[{"Key": "managed-by", "Value": "dynamodb-backup-proof"}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    resources = {
        **read_resources(clients("cloudformation"), "orders-backup").as_dict(),
        "lifecycle": {"DeleteAfterDays": 35},
        "as_of": "2026-11-01",
        "run_key": "0a1b2c3d",
    }
    return Flow(clients, resources)


@pytest.fixture
def aws(clients: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """An empty local AWS, see `local_world`."""
    with local_world(clients) as made:
        yield made


@pytest.fixture
def deploy_flow(aws: Callable[..., Any]) -> Callable[..., Flow]:
    """Deploy the stack with template parameters, see `deploy`."""
    return lambda **parameters: deploy(aws, **parameters)


@pytest.fixture
def flow(aws: Callable[..., Any]) -> Flow:
    """A freshly deployed stack, see `deploy`."""
    return deploy(aws)


@pytest.fixture(scope="module")
def shared_flow(clients: Callable[..., Any]) -> Iterator[Flow]:
    """One stack for all tests of a module that leave its source table alone; not to be mixed with `flow`."""
    with local_world(clients) as made:
        yield deploy(made)


@pytest.fixture
def order_file(tmp_path: Path) -> Callable[[bytes], str]:
    """Write an order file; return its path."""

    def write(content: bytes, name: str = "orders.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture
def stage_file(flow: Flow) -> Callable[[str], dict[str, Any]]:
    """Stage an order file for the first of November; return where it is."""

    def do(source: str) -> dict[str, Any]:
        return stage_order_file(flow.s3, source=source, bucket=flow.bucket, key=staged_key("2026-11-01"))

    return do
