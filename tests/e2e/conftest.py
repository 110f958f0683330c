"""Real Airflow processes beside a local AWS, and helpers that look at both from outside, as a person would.

Most tests share one Airflow. Each of them gets a *site* on it: a CloudFormation stack of its own, with table,
vault, bucket and leases, so that what one test breaks no other test sees.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from airflow_api import AirflowApiError
from backup_flows import fingerprints
from backup_flows.fingerprints import Binding, Taken
from data.generate_orders import COLUMNS, generate_rows, to_csv
from local_stack import LocalStack
from run_local import failure_text
from stack_environment import ADMIN, PROJECT, password_file
from stack_process import wait_until

STORY = "orders_backup_restore"
TEMPLATE = PROJECT / "include" / "cloudformation" / "orders_backup.yaml"
E2E_DAGS = Path(__file__).parent / "dags"
RUN_SECONDS = 480
"""Limit of one run on a busy machine; a quiet one needs a tenth of it."""
TASK_SECONDS = 240
LEASE_SECONDS = 10

# What takes minutes by default takes seconds here: finding lost workers and triggerers, retrying, leases.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__CORE__MAX_TASK_RETRY_DELAY": "8",
    "AIRFLOW__BACKUP_FLOWS__LEASE_SECONDS": str(LEASE_SECONDS),
    "AIRFLOW__BACKUP_FLOWS__LEASE_POLL_SECONDS": "1",
}
SHOWN_STACKS = ("orders-backup", "showroom")
"""What the console of the shared Airflow shows."""
VIEWER = "viewer"
"""A user of the shared Airflow who may only look."""

Key = tuple[str, str]
Content = dict[Key, dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what shares the long-lived Airflow last: what starts one of its own then has the machine for itself."""
    items.sort(key=lambda item: "airflow" in getattr(item, "fixturenames", ()))


class Orders:
    """Daily order files in one folder, and what loading them makes of a table, worked out from the files alone.

    :param days: days that no run of the shared Airflow stands for yet.
    """

    def __init__(self, folder: Path, days: Iterator[date]) -> None:
        self.source = str(folder / "order_data_{as_of}.csv")
        self._days = days

    def path(self, day: date) -> Path:
        """Return where a day's file belongs."""
        return Path(self.source.replace("{as_of}", day.isoformat()))

    def new_day(self, orders: int = 30) -> date:
        """Write the file of a new day; each call's day follows the last one's."""
        day = next(self._days)
        self.path(day).write_bytes(to_csv(generate_rows(day, orders=orders)))
        return day

    def after(self, *days: date) -> Content:
        """Return what a table holds after the files of these days were loaded, in this order."""
        content: Content = {}
        for day in days:
            content |= file_content(self.path(day))
        return content


def file_content(path: Path) -> Content:
    """Return the items that a file makes, by key; the last row of a key wins, an empty cell is no attribute."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return {
            (row["order_id"], row["item_id"]): {
                name: Decimal(value) if name == "amount" else value for name, value in row.items() if value
            }
            for row in csv.DictReader(stream)
        }


class Site:
    """One deployment of the CloudFormation stack on a running Airflow's local AWS."""

    def __init__(self, stack: LocalStack, name: str) -> None:
        self.stack = stack
        self.name = name
        (described,) = stack.aws_client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        made = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        self.bucket: str = made["BucketName"]
        self.table: str = made["TableName"]
        self.table_arn: str = made["TableArn"]
        self.vault: str = made["VaultName"]
        self.role_arn: str = made["BackupRoleArn"]
        self.lease_table: str = made["LeaseTableName"]
        self.s3 = stack.aws_client("s3")
        self.dynamodb = stack.aws_client("dynamodb")
        self.backup = stack.aws_client("backup")

    # --- runs -------------------------------------------------------------------------------------------

    def conf(self, source: str | Path, **params: Any) -> dict[str, Any]:
        """Return the params of a run that works here."""
        return {"stack_name": self.name, "settle_seconds": 0, "source": str(source), **params}

    def start(self, source: str | Path, day: date | None = None, *, dag_id: str = STORY, **params: Any) -> str:
        """Trigger a run over the REST API and return its id; with a day, that is its logical date."""
        return self.stack.trigger_dag(dag_id, self.conf(source, **params), f"{day}T06:00:00Z" if day else None)

    def wait(self, run_id: str, *, dag_id: str = STORY) -> str:
        """Wait for a run's end and return its state."""
        return self.stack.wait_run(dag_id, run_id, timeout=RUN_SECONDS)

    def proven(self, run_id: str, *, dag_id: str = STORY) -> dict[str, Any]:
        """Wait for a run's end, make sure that it is PROVEN, and return its report."""
        state = self.wait(run_id, dag_id=dag_id)
        assert state == "success", failure_text(self.stack, dag_id, run_id)
        report: dict[str, Any] = self.xcom(run_id, "report", dag_id=dag_id)
        assert report["verdict"] == "PROVEN", report
        return report

    def reach(self, run_id: str, task_id: str, *states: str, dag_id: str = STORY) -> dict[str, Any]:
        """Wait until a task of a run is in one of some states."""
        return self.stack.wait_task(dag_id, run_id, task_id, states, timeout=TASK_SECONDS)

    def answer(self, run_id: str, task_id: str, option: str, *, dag_id: str) -> None:
        """Wait until a task asks a person, and answer."""
        self.stack.answer_task(dag_id, run_id, task_id, option, timeout=TASK_SECONDS)

    def task(self, run_id: str, task_id: str, *, dag_id: str = STORY) -> dict[str, Any]:
        """Return a task instance."""
        return self.stack.rest.task_instance(dag_id, run_id, task_id)

    def xcom(self, run_id: str, task_id: str, key: str = "return_value", *, dag_id: str = STORY) -> Any:
        """Return an XCom value."""
        value = self.stack.rest.xcom(dag_id, run_id, task_id, key)
        return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value

    def fence(self, run_id: str, *, dag_id: str = STORY) -> int:
        """Return the fencing number under which a run held its table's lease."""
        return int(self.xcom(run_id, "acquire_lease", dag_id=dag_id)["fence"])

    # --- AWS --------------------------------------------------------------------------------------------

    def content(self, table: str | None = None) -> Content:
        """Return what a table holds, by key, in the attributes that order files have."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table or self.table, ConsistentRead=True)
        return {
            (item["order_id"]["S"], item["item_id"]["S"]): {
                name: Decimal(item[name]["N"]) if name == "amount" else item[name]["S"]
                for name in COLUMNS
                if name in item
            }
            for page in pages
            for item in page["Items"]
        }

    def backup_jobs(self) -> list[dict[str, Any]]:
        """Return all backup jobs of the table, oldest first."""
        jobs: list[dict[str, Any]] = []
        for page in self.backup.get_paginator("list_backup_jobs").paginate(ByResourceArn=self.table_arn):
            jobs += page["BackupJobs"]
        return sorted(jobs, key=lambda job: job["CreationDate"])

    def wait_backup_job(self) -> dict[str, Any]:
        """Wait until the table has its first backup job, and return that."""
        (job,) = wait_until(self.backup_jobs, timeout=TASK_SECONDS, what=f"a backup job of {self.table}")
        return job

    def backup_intent(self) -> dict[str, Any]:
        """Return the record of the one backup job that was intended here."""
        records = [json.loads(self.read(key)) for key in self.keys("intents/") if key.count("/") == 1]
        (record,) = (record for record in records if "backup_vault_name" in record["details"])
        return dict(record)

    def recovery_points(self) -> list[str]:
        """Return the ARNs of all recovery points in the vault."""
        pages = self.backup.get_paginator("list_recovery_points_by_backup_vault")
        return [
            point["RecoveryPointArn"]
            for page in pages.paginate(BackupVaultName=self.vault)
            for point in page["RecoveryPoints"]
        ]

    def restored_tables(self, source: str | None = None) -> list[str]:
        """Return the names of all tables that were restored from this site's table, or from another one."""
        return [
            name
            for page in self.dynamodb.get_paginator("list_tables").paginate()
            for name in page["TableNames"]
            if name.startswith(f"{source or self.table}-restored-")
        ]

    def put(self, order: str, **attributes: str) -> None:
        """Put an item into the table."""
        item = {"order_id": {"S": order}, "item_id": {"S": "1"}} | {k: {"S": v} for k, v in attributes.items()}
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def restore_jobs(self) -> list[dict[str, Any]]:
        """Return all restore jobs of the table's recovery points, oldest first."""
        pages = self.backup.get_paginator("list_restore_jobs").paginate()
        jobs = [job for page in pages for job in page["RestoreJobs"] if job["SourceResourceArn"] == self.table_arn]
        return sorted(jobs, key=lambda job: job["CreationDate"])

    def drill_verdicts(self, table: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the verdicts of all drills of the site's table, or of another one, by key."""
        keys = [key for key in self.keys(f"recovery-points/{table or self.table}/") if "/verdicts/" in key]
        return {key: json.loads(self.read(key)) for key in keys}

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the bucket below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, address: str) -> bytes:
        """Return an object of the bucket, by key or ``s3://`` address."""
        key = address.removeprefix(f"s3://{self.bucket}/")
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def lease(self) -> dict[str, Any]:
        """Return the lease of the table: owner (None if free), fencing number, expiry, and the runs that wait."""
        key = {"table_name": {"S": self.table}}
        item = self.dynamodb.get_item(TableName=self.lease_table, Key=key, ConsistentRead=True).get("Item", {})
        return {
            "owner": item.get("owner", {}).get("S"),
            "fence": int(item.get("fence", {"N": "0"})["N"]),
            "expires_at": int(item.get("expires_at", {"N": "0"})["N"]),
            "queue": sorted(item.get("queue", {"M": {}})["M"]),
        }


def deploy(stack: LocalStack, name: str, **parameters: str) -> Site:
    """Deploy the project's CloudFormation template under a name, everything in it named after that.

    Its backup plan rests: at 05:00 it would back tables up amid a test.

    :param parameters: further parameters of the template.
    """
    cloudformation = stack.aws_client("cloudformation")
    names = {"TableName": name, "LeaseTableName": f"{name}-leases", "VaultName": f"{name}-vault"}
    names |= {"BackupSchedule": "cron(0 5 1 1 ? 2099)", **parameters}
    deployer = stack.aws_client("sts").get_caller_identity()["Arn"]
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in names.items()]
        + [{"ParameterKey": "DeployPrincipalArn", "ParameterValue": deployer}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    return Site(stack, name)


@pytest.fixture(scope="session")
def impatient() -> dict[str, str]:
    """Settings of Airflow that find in seconds what was lost, for a test with an Airflow of its own."""
    return dict(IMPATIENT)


@pytest.fixture(scope="session", name="deploy")
def deploy_fixture() -> Callable[..., Site]:
    """The function that deploys a site on an Airflow which a test has started itself."""
    return deploy


@pytest.fixture(scope="session")
def back_up_bound() -> Callable[..., Binding]:
    """A function that backs a site's table up without a DAG, with what vouches for the recovery point."""

    def back_up(site: Site, *, table: str | None = None, elapse: Callable[[], object] | None = None) -> Binding:
        """Fingerprint, back up, fingerprint, bind.

        :param table: another one than the site's own.
        :param elapse: lets a backup job's time pass, where the clock is held.
        """

        def clock() -> datetime:
            return datetime.fromisoformat(site.stack.aws_admin("GET", "/local-aws/clock")["now"])

        def take(which: str) -> Taken:
            taken, _ = fingerprints.take(
                site.dynamodb, site.s3, bucket=site.bucket, prefix=f"{prefix}{which}.", table=name, clock=clock
            )
            return taken

        name = table or site.table
        arn = site.table_arn.replace(f":table/{site.table}", f":table/{name}")
        prefix = f"intents/{uuid4().hex}/"
        before = take("before")
        job_id = site.backup.start_backup_job(BackupVaultName=site.vault, ResourceArn=arn, IamRoleArn=site.role_arn)[
            "BackupJobId"
        ]
        if elapse is not None:
            elapse()

        def completed() -> dict[str, Any] | None:
            job = site.backup.describe_backup_job(BackupJobId=job_id)
            return job if job["State"] == "COMPLETED" else None

        job = wait_until(completed, timeout=60, what="a backup job's completion")
        after = take("after")
        return fingerprints.bind(
            site.s3,
            site.bucket,
            Binding(
                recovery_point_arn=job["RecoveryPointArn"],
                table=name,
                table_arn=arn,
                vault=site.vault,
                backup_job_id=job_id,
                created_at=job["CreationDate"].isoformat(),
                size_bytes=job["BackupSizeInBytes"],
                before=before,
                after=after,
                drifting=before.digest != after.digest,
                as_of=job["CreationDate"].date().isoformat(),
                dag_id="table_backup",
                run_id="history",
            ),
        )

    return back_up


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The Airflow that most tests share. No DAG runs by its schedule."""
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "project", "classpath": bundle, "kwargs": {}},
        {"name": "e2e", "classpath": bundle, "kwargs": {"path": str(E2E_DAGS)}},
    ]
    with LocalStack(
        tmp_path_factory.mktemp("airflow"),
        aws_args=["--job-seconds=2", "--restore-seconds=2", "--delete-seconds=1"],
        env=IMPATIENT
        | {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AIRFLOW__BACKUP_FLOWS__CONSOLE_STACKS": ",".join(SHOWN_STACKS),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin,{VIEWER}:viewer",
        },
        schedule=False,
    ) as stack:
        yield stack


@pytest.fixture(scope="session")
def site_names() -> Iterator[str]:
    return (f"shop{number}" for number in count(1))


@pytest.fixture
def new_site(airflow: LocalStack, site_names: Iterator[str]) -> Callable[[], Site]:
    """A function that deploys a further site."""
    return lambda: deploy(airflow, next(site_names))


@pytest.fixture(scope="module")
def showroom(airflow: LocalStack) -> Site:
    """The site that the console shows, for all tests of a module."""
    return deploy(airflow, SHOWN_STACKS[-1])


@pytest.fixture(scope="session")
def sign_in(airflow: LocalStack) -> Callable[[str], httpx.Client]:
    """A function that returns a browser in which a user is signed in; nobody is, where the name is empty."""
    passwords = json.loads(password_file(airflow.home).read_text(encoding="utf-8"))

    def browse(user: str) -> httpx.Client:
        browser = httpx.Client(base_url=airflow.airflow_url, timeout=60, trust_env=False)
        if user:
            reply = browser.post("/auth/token", json={"username": user, "password": passwords[user]})
            browser.cookies.set("_token", reply.raise_for_status().json()["access_token"])
        return browser

    return browse


@pytest.fixture
def site(new_site: Callable[[], Site]) -> Site:
    """A site that no other test has seen."""
    return new_site()


@pytest.fixture(scope="session")
def days() -> Iterator[date]:
    return (date(2026, 1, 5) + timedelta(number) for number in count())


@pytest.fixture
def orders(tmp_path: Path, days: Iterator[date]) -> Orders:
    """An empty folder for daily order files."""
    return Orders(tmp_path, days)


@pytest.fixture
def held_clock(airflow: LocalStack) -> Callable[[], Any]:
    """A context manager that stops the local AWS's clock: jobs stand still until it goes on.

    Its value is a function that moves the clock by some seconds. Going on must not be going back, so it takes
    no more of them than have passed on the machine meanwhile.
    """

    def advance(seconds: float) -> None:
        airflow.aws_admin("POST", "/local-aws/clock", {"advance_seconds": seconds})

    @contextmanager
    def hold() -> Iterator[Callable[[float], None]]:
        airflow.aws_admin("POST", "/local-aws/clock", {"mode": "manual"})
        try:
            yield advance
        finally:
            airflow.aws_admin("POST", "/local-aws/clock", {"mode": "real"})

    return hold


@pytest.fixture
def aws_settings(airflow: LocalStack) -> Iterator[Callable[..., None]]:
    """A function that changes settings of the local AWS; they are put back after the test."""
    before = airflow.aws_admin("GET", "/local-aws/settings")
    yield lambda **values: airflow.aws_admin("POST", "/local-aws/settings", values)
    airflow.aws_admin("POST", "/local-aws/settings", before)


@pytest.fixture(scope="session", name="file_content")
def file_content_fixture() -> Callable[[Path], Content]:
    """The function that works out what a file makes of a table."""
    return file_content


@pytest.fixture(scope="session")
def site_of() -> type[Site]:
    """A function that looks at a site which something else deployed, given the Airflow and the stack's name."""
    return Site


@pytest.fixture(scope="session")
def delete_unfinished_run() -> Callable[[Site, str], None]:
    """A function that deletes a run which is not over: Airflow refuses that while it runs, not while it is queued."""

    def delete(site: Site, run_id: str) -> None:
        rest = site.stack.rest
        with pytest.raises(AirflowApiError) as refused:
            rest.delete_run(STORY, run_id)
        assert refused.value.status == 409
        rest.set_paused(STORY, True)
        try:
            rest.set_run_state(STORY, run_id, "queued")
            rest.delete_run(STORY, run_id)
        finally:
            rest.set_paused(STORY, False)
        assert run_id not in [run["dag_run_id"] for run in rest.runs(STORY)]

    return delete
