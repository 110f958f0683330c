"""State that survives `kill -9`: what was acknowledged before is there after, under the same names."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from local_aws import control
from local_aws.__main__ import main
from local_aws.state_log import LOG_NAME, StateDirError, StateLog, changes_something

pytestmark = pytest.mark.component

INCLUDE = Path(__file__).resolve().parents[3] / "include"
ROLE = "arn:aws:iam::123456789012:role/AWSBackupRole"
TEMPLATE = {
    "Resources": {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "stacked",
                "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        }
    }
}


class Machine:
    """A folder, and the servers that one after another keep their state in it."""

    def __init__(self, folder: Path, make_client: Callable[..., Any]) -> None:
        self.folder = folder
        self.make_client = make_client
        self.process: subprocess.Popen[str] | None = None

    def launch(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "local_aws", "--port", "0", "--state-dir", str(self.folder), *arguments],
            env={**os.environ, "PYTHONPATH": str(INCLUDE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str) -> None:
        self.process = self.launch("--job-seconds", "60", "--restore-seconds", "60", *arguments)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("local_aws is ready"), self.process.communicate()[1]
        self.url = line.split()[-1]

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def client(self, service: str) -> Any:
        return self.make_client(service, endpoint_url=self.url)

    def admin(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/local-aws/{name}", data=data), timeout=30) as reply:
            return dict(json.loads(reply.read()))

    def pass_time(self, seconds: float) -> None:
        self.admin("clock", {"advance_seconds": seconds})

    def make_orders(self) -> None:
        dynamodb = self.client("dynamodb")
        dynamodb.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for key in ("A", "B"):
            dynamodb.put_item(TableName="orders", Item={"k": {"S": key}})

    def back_up(self) -> str:
        request = {
            "BackupVaultName": "vault",
            "ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
            "IamRoleArn": ROLE,
        }
        return str(self.client("backup").start_backup_job(**request)["BackupJobId"])

    def keys(self, table: str) -> list[str]:
        return sorted(item["k"]["S"] for item in self.client("dynamodb").scan(TableName=table)["Items"])


@pytest.fixture
def machine(tmp_path: Path, make_client: Callable[..., Any]) -> Iterator[Machine]:
    machine = Machine(tmp_path / "state", make_client)
    try:
        yield machine
    finally:
        machine.kill()


def seen(machine: Machine, jobs: list[str]) -> dict[str, Any]:
    """All that a user can tell of what there is."""
    backup, dynamodb = machine.client("backup"), machine.client("dynamodb")
    stack = machine.client("cloudformation").describe_stacks(StackName="s")["Stacks"][0]
    found = {
        "vault": backup.describe_backup_vault(BackupVaultName="vault"),
        "jobs": [backup.describe_backup_job(BackupJobId=job) for job in jobs],
        "points": backup.list_recovery_points_by_backup_vault(BackupVaultName="vault")["RecoveryPoints"],
        "tables": [dynamodb.describe_table(TableName=name)["Table"] for name in ("orders", "stacked")],
        "items": machine.keys("orders"),
        "object": machine.client("s3").get_object(Bucket="bucket", Key="some/key")["Body"].read(),
        "role": machine.client("iam").get_role(RoleName="role")["Role"]["RoleId"],
        "stack": (stack["StackId"], stack["StackStatus"]),
        "clock": machine.admin("clock"),
    }
    for answer in [found["vault"], *found["jobs"]]:
        answer.pop("ResponseMetadata", None)
    return found


def test_everything_is_there_after_a_kill(machine: Machine) -> None:
    machine.start()
    machine.admin("clock", {"mode": "manual"})
    machine.make_orders()
    machine.client("backup").create_backup_vault(BackupVaultName="vault")
    machine.client("s3").create_bucket(Bucket="bucket")
    machine.client("s3").put_object(Bucket="bucket", Key="some/key", Body=b"content\x00")
    machine.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    machine.client("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps(TEMPLATE))
    done = machine.back_up()
    machine.pass_time(60)
    machine.client("dynamodb").delete_item(TableName="orders", Key={"k": {"S": "A"}})
    running = machine.back_up()
    machine.pass_time(30)
    before = seen(machine, [done, running])
    assert [job["State"] for job in before["jobs"]] == ["COMPLETED", "RUNNING"]

    machine.kill()
    machine.start()
    assert seen(machine, [done, running]) == before

    # And it goes on: the running job ends, and the old recovery point holds what it held.
    machine.pass_time(30)
    backup = machine.client("backup")
    assert backup.describe_backup_job(BackupJobId=running)["State"] == "COMPLETED"
    point = before["jobs"][0]["RecoveryPointArn"]
    backup.start_restore_job(RecoveryPointArn=point, Metadata={"targetTableName": "back"}, IamRoleArn=ROLE)
    machine.pass_time(60)
    assert machine.keys("back") == ["A", "B"]

    after = seen(machine, [done, running])
    machine.kill()
    machine.start()
    assert seen(machine, [done, running]) == after
    assert machine.keys("back") == ["A", "B"]


def test_writes_up_to_the_kill_are_there(machine: Machine) -> None:
    """Killed while a client writes: whatever the client had an answer for is there."""
    machine.start()
    machine.make_orders()
    client = machine.client("dynamodb")
    acknowledged: list[str] = []
    for number in range(200):
        client.put_item(TableName="orders", Item={"k": {"S": f"{number:03d}"}})
        acknowledged.append(f"{number:03d}")
    machine.kill()
    machine.start()
    assert machine.keys("orders") == [*acknowledged, "A", "B"]


def test_a_job_that_fell_due_while_nothing_ran_is_over_after_the_start(machine: Machine) -> None:
    machine.start("--job-seconds", "0.5")
    machine.make_orders()
    machine.client("backup").create_backup_vault(BackupVaultName="vault")
    job = machine.back_up()
    machine.kill()
    machine.start()
    backup = machine.client("backup")
    while (found := backup.describe_backup_job(BackupJobId=job))["State"] not in ("COMPLETED", "FAILED"):
        pass
    assert found["State"] == "COMPLETED"
    assert (found["CompletionDate"] - found["CreationDate"]).total_seconds() == pytest.approx(0.5, abs=0.002)


def test_a_record_that_was_only_begun_is_cut_off(machine: Machine) -> None:
    machine.start()
    machine.make_orders()
    machine.kill()
    log = machine.folder / LOG_NAME
    sound = log.stat().st_size
    with log.open("ab") as file:
        file.write(b"\x00\x00\x01\x00\x00\x00\x00\x05half a record")
    machine.start()
    assert machine.keys("orders") == ["A", "B"]
    machine.client("dynamodb").put_item(TableName="orders", Item={"k": {"S": "C"}})
    machine.kill()
    assert log.stat().st_size > sound
    machine.start()
    assert machine.keys("orders") == ["A", "B", "C"]


def test_a_clock_that_ran_ahead_does_not_go_back(machine: Machine) -> None:
    machine.start()
    machine.admin("clock", {"mode": "manual"})
    machine.pass_time(35 * 24 * 3600)
    machine.admin("clock", {"speed": 2})
    machine.make_orders()
    before = machine.admin("clock")
    machine.kill()
    machine.start()
    after = machine.admin("clock")
    assert (after["mode"], after["speed"]) == ("scaled", 2)
    created = machine.client("dynamodb").describe_table(TableName="orders")["Table"]["CreationDateTime"]
    assert after["now"] > created.isoformat()
    assert after["now"][:10] == before["now"][:10]


@pytest.mark.parametrize(
    "other", [["--start-backup-reply-delay", "5"], ["--faults", "some.json"]], ids=lambda it: it[0]
)
def test_what_does_not_go_together_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    try:
        assert main(["--port", "0", "--state-dir", str(tmp_path), *other]) == 1
    finally:
        control.reset()
    (line,) = capsys.readouterr().err.splitlines()
    assert "--state-dir" in line


def test_a_folder_is_for_one_process(tmp_path: Path) -> None:
    first = StateLog(tmp_path)
    with pytest.raises(StateDirError, match="in use"):
        StateLog(tmp_path)
    first.close()
    StateLog(tmp_path).close()


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b"something else")
    log = StateLog(tmp_path)
    with pytest.raises(StateDirError, match="no log"):
        list(log.read())
    log.close()
    assert (tmp_path / LOG_NAME).read_bytes() == b"something else"


def request(method: str = "POST", path: str = "/", **headers: str) -> dict[str, str]:
    return {"REQUEST_METHOD": method, "PATH_INFO": path, **headers}


FORM = "application/x-www-form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("environ", "body", "changes"),
    [
        (request(HTTP_X_AMZ_TARGET="DynamoDB_20120810.PutItem"), b"{}", True),
        (request(HTTP_X_AMZ_TARGET="DynamoDB_20120810.BatchGetItem"), b"{}", False),
        (request(HTTP_X_AMZ_TARGET="DynamoDB_20120810.Scan"), b"{}", False),
        (request(HTTP_X_AMZ_TARGET="AmazonSQS.ReceiveMessage"), b"{}", True),
        (request(CONTENT_TYPE=FORM), b"Action=DescribeStacks", False),
        (request(CONTENT_TYPE=FORM), b"Action=CreateStack", True),
        (request(CONTENT_TYPE=FORM), b"Action=GetSessionToken", True),
        (request("GET", "/backup-vaults/"), b"", False),
        (request("PUT", "/backup-jobs"), b"{}", True),
        (request("DELETE", "/bucket/key"), b"", True),
        (request(path="/moto-api/reset"), b"", True),
        (request(path="/local-aws/clock"), b"{}", True),
        (request(path="/local-aws/faults"), b'{"kind": "throttle"}', False),
        (request(path="/local-aws/faults"), b'{"kind": "spoil", "lost": 1}', True),
        (request(path="/local-aws/faults"), b"{", True),
        (request("DELETE", "/local-aws/faults"), b"", True),
    ],
)
def test_what_is_written_down(environ: dict[str, str], body: bytes, changes: bool) -> None:
    assert changes_something(environ, body) is changes
