"""The server as callers meet it: a process of its own, reached over HTTP."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import control
from local_aws.__main__ import main

INCLUDE = Path(__file__).resolve().parents[3] / "include"
ROLE = "arn:aws:iam::123456789012:role/AWSBackupRole"
TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
START = {"BackupVaultName": "vault", "ResourceArn": TABLE_ARN, "IamRoleArn": ROLE}


@dataclass
class Server:
    """A server process and its address."""

    process: subprocess.Popen
    url: str

    def request(self, method, path, body=None, headers=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def admin(self, method, name, body=None):
        status, headers, content = self.request(method, f"/local-aws/{name}", body)
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(content)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=20)
        return self.process.returncode, output, errors


def launch(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "local_aws", *arguments],
        env={**os.environ, "PYTHONPATH": str(INCLUDE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def serve(*arguments):
    process = launch("--port", "0", *arguments)
    line = process.stdout.readline()
    if not line.startswith("local_aws is ready on http://127.0.0.1:"):
        process.kill()
        pytest.fail(f"no ready line but {line!r}: {process.communicate()[1]}")
    return Server(process, line.split()[-1])


@pytest.fixture(scope="module")
def shared():
    server = serve("--job-seconds", "0.2", "--restore-seconds", "0.2", "--delete-seconds", "0.1")
    yield server
    server.stop()


@pytest.fixture
def server(shared):
    """The shared server without data, faults or a held clock."""
    assert shared.request("POST", "/moto-api/reset")[0] == 200
    shared.admin("DELETE", "faults")
    shared.admin("POST", "clock", {"mode": "real"})
    settings = {"job_seconds": 0.2, "restore_seconds": 0.2, "delete_seconds": 0.1}
    delays = {"snapshot_skew_seconds": 0, "start_backup_reply_delay_seconds": 0}
    assert shared.admin("POST", "settings", {**settings, **delays})[0] == 200
    return shared


@pytest.fixture
def backup(server, make_client):
    client = make_client("backup", endpoint_url=server.url)
    client.create_backup_vault(BackupVaultName="vault")
    return client


@pytest.fixture
def dynamodb(server, make_client):
    client = make_client("dynamodb", endpoint_url=server.url)
    client.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.put_item(TableName="orders", Item={"order_id": {"S": "A"}})
    return client


def eventually(condition, seconds=15.0):
    """Poll until `condition` returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    return pytest.fail(f"not within {seconds} s")


def test_backup_and_restore_over_http(backup, dynamodb):
    job = backup.start_backup_job(**START)
    eventually(lambda: backup.describe_backup_job(BackupJobId=job["BackupJobId"])["State"] == "COMPLETED")
    dynamodb.delete_item(TableName="orders", Key={"order_id": {"S": "A"}})
    restore = backup.start_restore_job(RecoveryPointArn=job["RecoveryPointArn"], Metadata={"targetTableName": "back"})[
        "RestoreJobId"
    ]
    eventually(lambda: backup.describe_restore_job(RestoreJobId=restore)["Status"] == "COMPLETED")
    assert dynamodb.scan(TableName="back")["Items"] == [{"order_id": {"S": "A"}}]


def test_a_plain_recovery_points_arn_survives_the_path(backup, dynamodb):
    backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    job_id = backup.start_backup_job(**START)["BackupJobId"]
    arn = eventually(lambda: backup.describe_backup_job(BackupJobId=job_id).get("RecoveryPointArn"))
    assert "/backup/" in arn
    point = {"BackupVaultName": "vault", "RecoveryPointArn": arn}
    assert backup.describe_recovery_point(**point)["RecoveryPointArn"] == arn
    assert backup.get_recovery_point_restore_metadata(**point)["RecoveryPointArn"] == arn
    backup.delete_recovery_point(**point)
    eventually(lambda: not backup.list_recovery_points_by_backup_vault(BackupVaultName="vault")["RecoveryPoints"])


def test_jobs_go_on_though_nobody_asks(server, backup, dynamodb):
    job_id = backup.start_backup_job(**START)["BackupJobId"]
    eventually(lambda: server.admin("GET", "health")[1]["status"] == "ok")
    time.sleep(0.5)  # the point is that no request comes in
    job = backup.describe_backup_job(BackupJobId=job_id)
    assert job["State"] == "COMPLETED"
    assert (job["CompletionDate"] - job["CreationDate"]).total_seconds() == pytest.approx(0.2, abs=0.002)


def test_many_callers_at_once_meet_one_state(backup, dynamodb):
    def put(number):
        dynamodb.update_item(
            TableName="orders",
            Key={"order_id": {"S": "counter"}},
            UpdateExpression="ADD hits :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
        return backup.start_backup_job(**START, IdempotencyToken=f"token-{number % 4}")["BackupJobId"]

    with ThreadPoolExecutor(8) as pool:
        jobs = set(pool.map(put, range(40)))
    assert len(jobs) == 4
    (counter,) = [item for item in dynamodb.scan(TableName="orders")["Items"] if "hits" in item]
    assert counter["hits"] == {"N": "40"}


class TestAdmin:
    def test_health(self, server):
        status, reply = server.admin("GET", "health")
        assert status == 200
        assert (reply["status"], reply["service"]) == ("ok", "local_aws")

    def test_the_clock_can_be_moved(self, server, backup, dynamodb):
        server.admin("POST", "settings", {"job_seconds": 3600})
        before = server.admin("POST", "clock", {"mode": "manual"})[1]
        job_id = backup.start_backup_job(**START)["BackupJobId"]
        assert backup.describe_backup_job(BackupJobId=job_id)["State"] == "CREATED"
        after = server.admin("POST", "clock", {"advance_seconds": 3600})[1]
        assert (before["mode"], after["mode"]) == ("manual", "manual")
        assert after == server.admin("GET", "clock")[1]
        assert backup.describe_backup_job(BackupJobId=job_id)["State"] == "COMPLETED"

    def test_the_clock_can_be_moved_by_days_and_seconds(self, server):
        before = server.admin("POST", "clock", {"mode": "manual"})[1]
        after = server.admin("POST", "clock", {"advance_days": 35, "advance_seconds": 1})[1]
        moved = datetime.fromisoformat(after["now"]) - datetime.fromisoformat(before["now"])
        assert moved == timedelta(days=35, seconds=1)

    def test_the_clock_can_run_fast(self, server, backup, dynamodb):
        server.admin("POST", "settings", {"job_seconds": 3600})
        reply = server.admin("POST", "clock", {"speed": 36_000})[1]
        assert (reply["mode"], reply["speed"]) == ("scaled", 36_000)
        job_id = backup.start_backup_job(**START)["BackupJobId"]
        job = eventually(
            lambda: (found := backup.describe_backup_job(BackupJobId=job_id)).get("CompletionDate") and found
        )
        assert job["CompletionDate"] - job["CreationDate"] == timedelta(hours=1)

    def test_rules_fire_on_a_fast_clock_and_none_is_missed(self, server, backup, dynamodb):
        rule = {
            "RuleName": "hourly",
            "TargetBackupVaultName": "vault",
            "ScheduleExpression": "cron(0 * ? * * *)",
            "Lifecycle": {"DeleteAfterDays": 1},
        }
        plan = backup.create_backup_plan(BackupPlan={"BackupPlanName": "hourly", "Rules": [rule]})
        selection = {"SelectionName": "all", "IamRoleArn": ROLE, "Resources": ["arn:aws:dynamodb:*:*:table/*"]}
        backup.create_backup_selection(BackupPlanId=plan["BackupPlanId"], BackupSelection=selection)
        server.admin("POST", "clock", {"speed": 86_400})  # a day in a second

        def made():
            points = backup.list_recovery_points_by_backup_vault(BackupVaultName="vault")["RecoveryPoints"]
            return sorted(point["CreationDate"] for point in points)

        begun = eventually(made)[0]
        kept = eventually(lambda: (times := made()) and times[0] > begun and times)
        server.admin("POST", "clock", {"mode": "manual"})
        assert {later - earlier for earlier, later in itertools.pairwise(kept)} == {timedelta(hours=1)}
        assert len(made()) == 24

    def test_faults(self, server, backup, dynamodb):
        fault = {"operation": "StartBackupJob", "table": "orders", "end_state": "FAILED", "message": "No.", "count": 1}
        status, reply = server.admin("POST", "faults", fault)
        assert (status, len(reply["faults"])) == (200, 1)
        job_id = backup.start_backup_job(**START)["BackupJobId"]
        job = eventually(
            lambda: (found := backup.describe_backup_job(BackupJobId=job_id)).get("CompletionDate") and found
        )
        assert (job["State"], job["StatusMessage"]) == ("FAILED", "No.")
        assert server.admin("GET", "faults")[1] == {"faults": []}

    def test_settings(self, server):
        assert server.admin("POST", "settings", {"job_seconds": 9})[1]["job_seconds"] == 9
        assert server.admin("GET", "settings")[1]["job_seconds"] == 9

    @pytest.mark.parametrize(
        ("method", "name", "body", "status", "text"),
        [
            ("GET", "nothing", None, 404, "clock"),
            ("DELETE", "health", None, 405, "health"),
            ("POST", "settings", {"speed": 1}, 400, "speed"),
            ("POST", "settings", {"job_seconds": -1}, 400, "job_seconds"),
            ("POST", "settings", [1], 400, "JSON object"),
            ("POST", "clock", {"advance_seconds": -1}, 400, "back"),
            ("POST", "clock", {"advance_seconds": "1"}, 400, "number"),
            ("POST", "clock", {"mode": "fast"}, 400, "mode"),
            ("POST", "clock", {"mode": "real", "advance_seconds": 1}, 400, "real"),
            ("POST", "clock", {"at": 1}, 400, "Unknown"),
            ("POST", "clock", {"advance_days": "35"}, 400, "number"),
            ("POST", "clock", {"advance_days": 1e9}, 400, "far"),
            ("POST", "clock", {"advance_days": 3_000_000}, 400, "calendar"),
            ("POST", "clock", {"speed": 0}, 400, "speed"),
            ("POST", "clock", {"speed": "fast"}, 400, "speed"),
            ("POST", "clock", {"speed": 2, "mode": "manual"}, 400, "either"),
            ("POST", "clock", {"speed": 2, "advance_seconds": 1}, 400, "either"),
            ("POST", "faults", {"operation": "StartBackupJob"}, 400, "end_state"),
            ("POST", "faults", {"operation": "StartBackupJob", "end_state": "NO"}, 400, "NO"),
        ],
    )
    def test_bad_requests(self, server, method, name, body, status, text):
        answered, reply = server.admin(method, name, body)
        assert answered == status
        assert text in reply["error"]

    def test_a_body_that_is_no_json(self, server):
        request = urllib.request.Request(f"{server.url}/local-aws/clock", data=b"{", method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=30)
        assert raised.value.code == 400
        assert json.loads(raised.value.read())["error"]


def test_a_kept_back_reply_holds_nobody_else_up(server, backup, dynamodb):
    server.admin("POST", "settings", {"start_backup_reply_delay_seconds": 600})
    replied = threading.Event()

    def start():
        try:
            backup.start_backup_job(**START, IdempotencyToken="kept-back")
        finally:
            replied.set()

    threading.Thread(target=start, daemon=True).start()
    (job,) = eventually(lambda: backup.list_backup_jobs()["BackupJobs"])
    assert not replied.is_set()
    eventually(lambda: backup.describe_backup_job(BackupJobId=job["BackupJobId"])["State"] == "COMPLETED")
    server.admin("POST", "settings", {"start_backup_reply_delay_seconds": 0})
    again = backup.start_backup_job(**START, IdempotencyToken="kept-back")
    assert again["BackupJobId"] == job["BackupJobId"]
    assert not replied.is_set()


@pytest.mark.parametrize(
    ("method", "path", "content_type", "code", "text"),
    [
        ("GET", "/nowhere/at/all", "application/json", "InvalidRequestException", "no operation"),
        ("GET", "/", "application/json", "InvalidRequestException", "no operation"),
        ("PATCH", "/backup-jobs", "application/json", "InvalidRequestException", "no operation"),
        ("GET", "/scan/jobs", "application/json", "InvalidParameterValueException", "ListScanJobs is not served"),
        ("GET", "/scan/jobs", "application/x-www-form-urlencoded", "InvalidRequestException", "not served"),
    ],
)
def test_whatever_aws_backup_does_not_serve_is_an_error_in_json(server, method, path, content_type, code, text):
    credential = "testing/20260101/us-east-1/backup/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=x"
    headers = {"Authorization": authorization, "Content-Type": content_type}
    status, replied, content = server.request(method, path, headers=headers)
    assert status == 400
    assert replied["Content-Type"] == "application/json"
    assert replied["x-amzn-errortype"] == code
    assert text in json.loads(content)["Message"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/backup-jobs", b"{"),
        ("PUT", "/backup-jobs", b"[]"),
        ("PUT", "/backup-jobs", b'{"StartWindowMinutes": "soon"}'),
        ("PUT", "/backup-jobs", b'{"Lifecycle": 5}'),
        ("GET", "/backup-jobs/?createdAfter=yesterday", None),
        ("GET", "/backup-jobs/?maxResults=many", None),
    ],
)
def test_what_cannot_be_read_is_an_error_in_json(server, method, path, body):
    credential = "testing/20260101/us-east-1/backup/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=x"
    request = urllib.request.Request(f"{server.url}{path}", data=body, method=method)
    request.add_header("Authorization", authorization)
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=30)
    assert raised.value.code == 400
    assert raised.value.headers["x-amzn-errortype"].endswith("Exception")
    assert json.loads(raised.value.read())["Message"]


def test_the_clock_can_run_fast_from_the_start():
    server = serve("--speed", "3600")
    reply = server.admin("GET", "clock")[1]
    assert (reply["mode"], reply["speed"]) == ("scaled", 3600)
    assert server.stop()[0] == 0


@pytest.mark.parametrize("given", ["2026-03-01", "2026-03-01T02:00:00+02:00"])
def test_the_clock_can_begin_in_the_past_and_goes_on_from_there(given):
    server = serve("--start-at", given)
    first, second = (datetime.fromisoformat(server.admin("GET", "clock")[1]["now"]) for _ in range(2))
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    assert begin < first < second < begin + timedelta(minutes=5)
    assert server.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_clean_and_quiet_on_a_signal(number):
    server = serve()
    assert server.admin("GET", "health")[0] == 200
    assert server.stop(number) == (0, "", "")


def test_it_ends_with_a_reply_still_kept_back(make_client):
    server = serve("--job-seconds", "0", "--start-backup-reply-delay", "600")
    session = make_client("dynamodb", endpoint_url=server.url)
    session.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    backup = make_client("backup", endpoint_url=server.url)
    backup.create_backup_vault(BackupVaultName="vault")
    with ThreadPoolExecutor(1) as pool:
        kept_back = pool.submit(backup.start_backup_job, **START)
        eventually(lambda: backup.list_backup_jobs()["BackupJobs"])
        assert server.stop()[0] == 0
        kept_back.exception(timeout=30)  # answered or cut off, but not waiting


def test_a_taken_port_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launch("--port", str(port))
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output == ""
    (line,) = errors.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


@pytest.fixture
def refused_start(capsys):
    """Start the command in this process, which is quicker, and return the one line with which it gives up."""

    def start(*arguments):
        try:
            assert main(["--port", "0", *arguments]) == 1
        finally:
            control.reset()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return start


def test_a_bad_setting_is_one_clear_line(refused_start):
    assert "job_seconds" in refused_start("--job-seconds", "-1")


def test_a_server_can_begin_with_a_bad_day(tmp_path):
    path = tmp_path / "bad-day.json"
    path.write_text('{"faults": [{"kind": "throttle", "service": "dynamodb", "count": 3}]}')
    server = serve("--faults", str(path))
    (fault,) = server.admin("GET", "faults")[1]["faults"]
    assert (fault["kind"], fault["count"]) == ("throttle", 3)
    assert server.stop()[0] == 0


def test_a_bad_file_of_faults_is_one_clear_line(refused_start, tmp_path):
    path = tmp_path / "bad-day.json"
    path.write_text('{"faults": [{"kind": "flood"}]}')
    line = refused_start("--faults", str(path))
    assert "bad-day.json" in line
    assert "flood" in line


def test_a_server_can_enforce_iam_from_its_start(make_client):
    server = serve("--enforce-iam")
    try:
        root = {service: make_client(service, endpoint_url=server.url) for service in ("iam", "backup")}
        root["iam"].create_user(UserName="nobody")
        key = root["iam"].create_access_key(UserName="nobody")["AccessKey"]
        nobody = boto3.client(
            "backup",
            region_name="us-east-1",
            endpoint_url=server.url,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )
        root["backup"].create_backup_vault(BackupVaultName="vault")
        with pytest.raises(ClientError, match="user/nobody is not authorized to perform: backup:DeleteBackupVault"):
            nobody.delete_backup_vault(BackupVaultName="vault")
        assert server.admin("POST", "settings", {"enforce_iam": False})[0] == 200
        nobody.delete_backup_vault(BackupVaultName="vault")
        assert server.admin("POST", "settings", {"enforce_iam": "yes"})[0] == 400
    finally:
        server.stop()
