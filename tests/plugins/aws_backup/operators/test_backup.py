from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, TaskDeferred
from botocore.exceptions import ClientError, EndpointConnectionError

from aws_backup.exceptions import (
    AwsEndpointUnreachableError,
    BackupJobFailedError,
    RecoveryPointNotDeletedError,
    RecoveryPointNotOursError,
    RecoveryPointProtectedError,
    RestoreTargetExistsError,
    VaultExistsError,
    VaultNotDeletedError,
)
from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import IntentIdentity, MemoryIntentStore, S3IntentStore, intent_token
from aws_backup.operators.backup import (
    BackupCreateVaultOperator,
    BackupDeleteRecoveryPointOperator,
    BackupDeleteVaultOperator,
    BackupStartBackupJobOperator,
    BackupStartRestoreJobOperator,
)
from aws_backup.triggers.backup import (
    BackupJobCompletedTrigger,
    BackupRecoveryPointDeletedTrigger,
    BackupRestoreJobCompletedTrigger,
)

AWS: dict[str, Any] = {"aws_conn_id": None, "region_name": "us-east-1"}
TABLE_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
ROLE_ARN = "arn:aws:iam::123456789012:role/AWSBackup-orders"
POINT_ARN = "arn:aws:backup:us-east-1:123456789012:recovery-point:0f2d1c5e-0000-4000-8000-000000000001"
TARGET = "orders-restored-20260102-0a1b2c3d"
TOKEN = intent_token("orders", "manual__1", "back_up.start", -1, TABLE_ARN)
FAST: dict[str, Any] = {"waiter_delay": 0, "waiter_max_delay": 0}


def refuse_connection(params: dict[str, Any]) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/")


def start_backup(**overrides: Any) -> BackupStartBackupJobOperator:
    arguments: dict[str, Any] = {
        "task_id": "start",
        "backup_vault_name": "orders-vault",
        "resource_arn": TABLE_ARN,
        "iam_role_arn": ROLE_ARN,
        "intent_bucket": "orders-backup",
        "wait_for_completion": False,
    }
    return BackupStartBackupJobOperator(**{**arguments, **AWS, **FAST, **overrides})


def start_restore(**overrides: Any) -> BackupStartRestoreJobOperator:
    arguments: dict[str, Any] = {
        "task_id": "restore",
        "recovery_point_arn": POINT_ARN,
        "iam_role_arn": ROLE_ARN,
        "target_table_name": TARGET,
        "intent_bucket": "orders-backup",
        "wait_for_completion": False,
    }
    return BackupStartRestoreJobOperator(**{**arguments, **AWS, **FAST, **overrides})


def delete_point(**overrides: Any) -> BackupDeleteRecoveryPointOperator:
    arguments: dict[str, Any] = {
        "task_id": "delete",
        "backup_vault_name": "orders-vault",
        "recovery_point_arn": POINT_ARN,
        "required_tags": {"managed-by": "dynamodb-backup-proof"},
    }
    return BackupDeleteRecoveryPointOperator(**{**arguments, **AWS, **FAST, **overrides})


@pytest.fixture
def store() -> Iterator[MemoryIntentStore]:
    """The records of ``orders-backup``."""
    memory = MemoryIntentStore()
    with (
        mock.patch("aws_backup.operators.backup.intent_store", autospec=True, return_value=memory),
        mock.patch.object(BackupHook, "sibling", autospec=True),
    ):
        yield memory


@pytest.fixture
def tables() -> Iterator[dict[str, str]]:
    """DynamoDB's tables and their status."""
    statuses: dict[str, str] = {}
    answer = mock.Mock(side_effect=lambda client, table: statuses.get(table))
    with (
        mock.patch("aws_backup.operators.backup.table_status", answer),
        mock.patch("aws_backup.questions.table_status", answer),
    ):
        yield statuses


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (
            BackupCreateVaultOperator(task_id="t", backup_vault_name="v"),
            {"backup_vault_name", "encryption_key_arn", "tags"},
        ),
        (BackupDeleteVaultOperator(task_id="t", backup_vault_name="v"), {"backup_vault_name"}),
        (
            start_backup(),
            {
                "backup_vault_name",
                "resource_arn",
                "iam_role_arn",
                "recovery_point_tags",
                "lifecycle",
                "intent_bucket",
                "intent_prefix",
                "force_new",
            },
        ),
        (
            start_restore(),
            {
                "recovery_point_arn",
                "iam_role_arn",
                "target_table_name",
                "encryption_type",
                "kms_key_arn",
                "metadata",
                "intent_bucket",
                "intent_prefix",
                "force_new",
            },
        ),
        (delete_point(), {"backup_vault_name", "recovery_point_arn", "required_tags"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_template_fields(operator: Any, fields: set[str]) -> None:
    assert set(operator.template_fields) == fields | {"aws_conn_id", "region_name", "verify"}
    assert all(hasattr(operator, field) for field in operator.template_fields)


# -- vaults


def test_a_vault_is_created(fake: Any, context: Context, pushed: Callable[[], dict[str, Any]]) -> None:
    fake.script("CreateBackupVault", {"BackupVaultArn": "arn:vault"})
    operator = BackupCreateVaultOperator(
        task_id="t", backup_vault_name="v", encryption_key_arn="key", tags={"a": "1"}, **AWS
    )
    assert operator.execute(context) == "arn:vault"
    request = fake.requests("CreateBackupVault")[0]
    request.pop("CreatorRequestId", None)
    assert request == {
        "BackupVaultName": "v",
        "EncryptionKeyArn": "key",
        "BackupVaultTags": {"a": "1"},
    }
    assert pushed()["backup_vault"]["backup_vault_name"] == "v"


@pytest.mark.parametrize("asked_key", [None, "key"])
def test_a_vault_that_is_there_is_taken(fake: Any, context: Context, asked_key: str | None) -> None:
    fake.script("CreateBackupVault", fake.error("AlreadyExistsException"))
    fake.script("DescribeBackupVault", {"BackupVaultArn": "arn:vault", "EncryptionKeyArn": "key"})
    operator = BackupCreateVaultOperator(task_id="t", backup_vault_name="v", encryption_key_arn=asked_key, **AWS)
    assert operator.execute(context) == "arn:vault"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"if_exists": "fail"}, "if_exists is 'fail'"), ({"encryption_key_arn": "other"}, "not with other")],
)
def test_a_vault_that_does_not_fit_is_refused(
    fake: Any, context: Context, arguments: dict[str, Any], match: str
) -> None:
    fake.script("CreateBackupVault", fake.error("AlreadyExistsException"))
    fake.script("DescribeBackupVault", {"BackupVaultArn": "arn:vault", "EncryptionKeyArn": "key"})
    with pytest.raises(VaultExistsError, match=match):
        BackupCreateVaultOperator(task_id="t", backup_vault_name="v", **arguments, **AWS).execute(context)


def test_other_errors_of_a_vault_pass(fake: Any, context: Context) -> None:
    fake.script("CreateBackupVault", fake.error("LimitExceededException"))
    with pytest.raises(ClientError, match="LimitExceeded"):
        BackupCreateVaultOperator(task_id="t", backup_vault_name="v", **AWS).execute(context)


def test_a_vault_is_deleted(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupVault", {"BackupVaultName": "v"})
    fake.script("DeleteBackupVault", {})
    BackupDeleteVaultOperator(task_id="t", backup_vault_name="v", **AWS).execute(context)
    assert fake.requests("DeleteBackupVault") == [{"BackupVaultName": "v"}]


def test_a_vault_that_is_not_empty_is_named(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupVault", {"BackupVaultName": "v"})
    fake.script("DeleteBackupVault", fake.error("InvalidRequestException", "contains recovery points."))
    with pytest.raises(VaultNotDeletedError, match="contains recovery points"):
        BackupDeleteVaultOperator(task_id="t", backup_vault_name="v", **AWS).execute(context)


def test_a_missing_vault_is_skipped_or_not(fake: Any, context: Context) -> None:
    fake.script("DescribeBackupVault", fake.not_found)
    BackupDeleteVaultOperator(task_id="t", backup_vault_name="v", **AWS).execute(context)
    assert fake.count("DeleteBackupVault") == 0
    with pytest.raises(AirflowNotFoundException):
        BackupDeleteVaultOperator(task_id="t", backup_vault_name="v", if_missing="fail", **AWS).execute(context)


# -- arguments that a template may have rendered to nothing


@pytest.mark.parametrize(
    ("operator", "match"),
    [
        (start_backup(resource_arn=""), "needs resource_arn"),
        (start_backup(iam_role_arn=None, backup_vault_name=""), "needs backup_vault_name, iam_role_arn"),
        (start_restore(recovery_point_arn=""), "needs recovery_point_arn"),
        (start_restore(target_table_name=""), "needs target_table_name"),
        (start_restore(on_existing_target="replace"), "on_existing_target must be"),
        (delete_point(recovery_point_arn=""), "needs recovery_point_arn"),
        (delete_point(required_tags=None), "A guard is required"),
        (delete_point(required_tags={}), "A guard is required"),
        (delete_point(if_missing="ignore"), "if_missing must be"),
        (BackupCreateVaultOperator(task_id="t", backup_vault_name="v", if_exists="x"), "if_exists must be"),  # type: ignore[arg-type]
        (BackupDeleteVaultOperator(task_id="t", backup_vault_name="v", if_missing="x"), "if_missing must be"),  # type: ignore[arg-type]
        (start_backup(intent_bucket=None, force_new=True), "force_new needs an intent_bucket"),
    ],
)
def test_a_wrong_argument_is_refused_before_aws_is_called(
    fake: Any, context: Context, operator: Any, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        operator.execute(context)
    assert fake.calls == []


@pytest.mark.parametrize("operator", [start_backup(intent_bucket=None), delete_point()])
def test_nobody_there_is_one_line(fake: Any, context: Context, operator: Any) -> None:
    for operation in ("StartBackupJob", "DescribeRecoveryPoint"):
        fake.script(operation, refuse_connection)
    with pytest.raises(AwsEndpointUnreachableError, match=r"http://127\.0\.0\.1:5566\. .*python -m local_aws"):
        operator.execute(context)


# -- backup jobs


def test_a_backup_job_is_started(
    fake: Any, store: MemoryIntentStore, context: Context, pushed: Callable[[], dict[str, Any]]
) -> None:
    operator = start_backup(
        recovery_point_tags={"as-of": "2026-01-02"},
        lifecycle={"DeleteAfterDays": "35", "MoveToColdStorageAfterDays": ""},
        start_window_minutes=60,
        complete_window_minutes=120,
        backup_options={},
    )
    assert operator.execute(context) == "job-0"
    assert fake.requests("StartBackupJob") == [
        {
            "BackupVaultName": "orders-vault",
            "ResourceArn": TABLE_ARN,
            "IamRoleArn": ROLE_ARN,
            "IdempotencyToken": TOKEN,
            "StartWindowMinutes": 60,
            "CompleteWindowMinutes": 120,
            "Lifecycle": {"DeleteAfterDays": 35},
            "RecoveryPointTags": {"as-of": "2026-01-02"},
        }
    ]
    assert pushed()["backup_job"]["backup_job_id"] == "job-0"
    record = store.read(IntentIdentity("orders", "manual__1", "back_up.start", -1, TABLE_ARN).base)
    assert record is not None
    assert (record.record.job_id, record.record.token) == ("job-0", TOKEN)


def test_the_recovery_point_is_pushed_as_soon_as_aws_names_it(
    fake: Any, store: MemoryIntentStore, context: Context, pushed: Callable[[], dict[str, Any]]
) -> None:
    fake.script("StartBackupJob", {"BackupJobId": "job-0", "RecoveryPointArn": POINT_ARN})
    start_backup().execute(context)
    assert pushed()["recovery_point_arn"] == POINT_ARN


def test_a_mapped_task_has_an_intent_of_its_own(
    fake: Any, store: MemoryIntentStore, new_context: Callable[..., Context]
) -> None:
    ids = {start_backup().execute(new_context(map_index=index)) for index in (0, 1, 1)}
    assert ids == {"job-0", "job-1"}


@pytest.mark.parametrize("state", ["CREATED", "RUNNING", "ABORTING"])
def test_a_retry_adopts_the_running_job(fake: Any, store: MemoryIntentStore, context: Context, state: str) -> None:
    start_backup().execute(context)
    fake.backup_jobs["job-0"]["State"] = state
    assert start_backup().execute(context) == "job-0"
    assert fake.count("StartBackupJob") == 1


@pytest.mark.parametrize(("point_status", "expected"), [("COMPLETED", "job-0"), ("EXPIRED", "job-1"), (None, "job-1")])
def test_a_completed_job_is_adopted_while_its_recovery_point_lives(
    fake: Any, store: MemoryIntentStore, context: Context, point_status: str | None, expected: str
) -> None:
    start_backup().execute(context)
    fake.backup_jobs["job-0"] |= {"State": "COMPLETED", "RecoveryPointArn": POINT_ARN}
    if point_status:
        fake.add_point(status=point_status)
    assert start_backup().execute(context) == expected


@pytest.mark.parametrize("state", ["FAILED", "ABORTED", "EXPIRED", "PARTIAL"])
def test_a_job_that_ended_badly_is_followed_by_a_new_one(
    fake: Any, store: MemoryIntentStore, context: Context, state: str
) -> None:
    start_backup().execute(context)
    fake.backup_jobs["job-0"]["State"] = state
    assert start_backup().execute(context) == "job-1"
    tokens = [request["IdempotencyToken"] for request in fake.requests("StartBackupJob")]
    assert tokens == [TOKEN, TOKEN.removesuffix("-0") + "-1"]


def test_a_worker_killed_before_the_first_record_leaves_one_job(
    fake: Any, store: MemoryIntentStore, context: Context
) -> None:
    def die() -> None:
        raise SystemExit(137)

    fake.after["StartBackupJob"] = die
    with pytest.raises(SystemExit):
        start_backup().execute(context)
    assert list(fake.backup_jobs) == ["job-0"]
    assert start_backup().execute(context) == "job-0"
    assert list(fake.backup_jobs) == ["job-0"]


def test_without_a_bucket_a_retry_sends_the_same_token(fake: Any, context: Context) -> None:
    ids = [start_backup(intent_bucket=None).execute(context) for _ in range(2)]
    assert ids == ["job-0", "job-0"]
    assert {request["IdempotencyToken"] for request in fake.requests("StartBackupJob")} == {TOKEN}


def test_force_new_starts_one_new_job_however_often_it_is_retried(
    fake: Any, store: MemoryIntentStore, context: Context
) -> None:
    ids = [start_backup(force_new=force).execute(context) for force in (False, "True", "True", True)]
    assert ids == ["job-0", "job-1", "job-1", "job-1"]


def test_waiting_in_the_task(
    fake: Any, store: MemoryIntentStore, context: Context, pushed: Callable[[], dict[str, Any]]
) -> None:
    job = {"BackupJobId": "job-0", "RecoveryPointArn": POINT_ARN}
    fake.script("DescribeBackupJob", {**job, "State": "RUNNING"}, {**job, "State": "COMPLETED"})
    assert start_backup(wait_for_completion=True).execute(context) == "job-0"
    assert pushed()["recovery_point_arn"] == POINT_ARN
    assert pushed()["job_summary"]["state"] == "COMPLETED"


def test_a_bad_end_while_waiting_may_be_retried(fake: Any, store: MemoryIntentStore, context: Context) -> None:
    fake.script("DescribeBackupJob", {"State": "EXPIRED", "StatusMessage": "window over"})
    with pytest.raises(BackupJobFailedError, match="window over") as caught:
        start_backup(wait_for_completion=True).execute(context)
    # A retry starts a new generation, so this failure must not forbid it.
    assert not isinstance(caught.value, AirflowFailException)


def test_waiting_deferred(
    fake: Any, store: MemoryIntentStore, context: Context, pushed: Callable[[], dict[str, Any]]
) -> None:
    operator = start_backup(deferrable=True, waiter_delay=2, waiter_max_delay=9, waiter_max_attempts=5)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert isinstance(deferred.value.trigger, BackupJobCompletedTrigger)
    assert deferred.value.timeout.total_seconds() == operator.poll_plan.total_seconds()
    serialised = deferred.value.trigger.serialize()[1]
    assert serialised["backup_job_id"] == "job-0"
    assert serialised["stop_job_on_kill"] is True
    assert serialised["waiter_max_attempts"] == 5
    summary = {"state": "COMPLETED", "recovery_point_arn": POINT_ARN}
    event = {"status": "success", "backup_job_id": "job-0", "summary": summary}
    assert operator.execute_complete(context, event) == "job-0"
    assert pushed()["recovery_point_arn"] == POINT_ARN
    assert pushed()["job_summary"] == summary


def test_a_deferred_bad_end_is_named(context: Context) -> None:
    error = BackupJobFailedError(job_id="job-0", state="FAILED", status_message="because")
    event = {"status": "error", "backup_job_id": "job-0", "message": str(error), "error": error.to_dict()}
    with pytest.raises(BackupJobFailedError, match="because"):
        start_backup().execute_complete(context, event)


@pytest.mark.parametrize("deferrable", [True, False])
def test_neither_waits_for_the_other(deferrable: bool) -> None:
    operator = start_backup(deferrable=deferrable, wait_for_completion=True)
    assert operator.wait_for_completion is not deferrable


@pytest.mark.parametrize(("stop", "state"), [(True, "ABORTED"), (False, "CREATED")])
def test_on_kill_stops_what_this_task_started(
    fake: Any, store: MemoryIntentStore, context: Context, slept: list[float], stop: bool, state: str
) -> None:
    operator = start_backup(stop_job_on_kill=stop)
    operator.on_kill()
    assert fake.calls == []
    operator.execute(context)
    operator.on_kill()
    assert fake.backup_jobs["job-0"]["State"] == state


# -- restores


def test_a_restore_is_started(
    fake: Any,
    store: MemoryIntentStore,
    tables: dict[str, str],
    context: Context,
    pushed: Callable[[], dict[str, Any]],
) -> None:
    assert start_restore(copy_source_tags=True).execute(context) == "restore-0"
    assert fake.requests("StartRestoreJob") == [
        {
            "RecoveryPointArn": POINT_ARN,
            "Metadata": {"targetTableName": TARGET, "encryptionType": "Default"},
            "IamRoleArn": ROLE_ARN,
            "IdempotencyToken": intent_token("orders", "manual__1", "back_up.start", -1, TARGET),
            "ResourceType": "DynamoDB",
            "CopySourceTagsToRestoredResource": True,
        }
    ]
    assert pushed()["backup_restore_job"]["restore_job_id"] == "restore-0"


def test_metadata_may_name_the_target_itself(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    start_restore(target_table_name=None, metadata={"TargetTableName": TARGET}).execute(context)
    assert fake.requests("StartRestoreJob")[0]["Metadata"] == {"TargetTableName": TARGET}
    tables[TARGET] = "ACTIVE"
    with pytest.raises(RestoreTargetExistsError):
        start_restore(target_table_name=None, metadata={"TargetTableName": TARGET}, force_new=True).execute(context)


@pytest.mark.parametrize("status", ["ACTIVE", "CREATING", "DELETING"])
def test_a_strangers_table_is_refused_every_time(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context, status: str
) -> None:
    tables[TARGET] = status
    for _ in range(3):
        with pytest.raises(RestoreTargetExistsError, match="no record of this task") as caught:
            start_restore().execute(context)
        assert not caught.value.ours
    assert fake.calls == []


def test_the_own_running_restore_is_adopted(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    start_restore().execute(context)
    tables[TARGET] = "CREATING"
    fake.restore_jobs["restore-0"]["Status"] = "RUNNING"
    assert start_restore().execute(context) == "restore-0"
    assert start_restore(on_existing_target="refuse").execute(context) == "restore-0"
    assert fake.count("StartRestoreJob") == 1


def test_the_own_completed_restore_is_adopted_unless_refused(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    start_restore().execute(context)
    tables[TARGET] = "ACTIVE"
    fake.restore_jobs["restore-0"]["Status"] = "COMPLETED"
    assert start_restore().execute(context) == "restore-0"
    with pytest.raises(RestoreTargetExistsError, match="on_existing_target is 'refuse'") as caught:
        start_restore(on_existing_target="refuse").execute(context)
    assert caught.value.ours


def test_a_completed_restore_whose_table_is_gone_is_done_again(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    start_restore().execute(context)
    fake.restore_jobs["restore-0"]["Status"] = "COMPLETED"
    assert start_restore().execute(context) == "restore-1"


@pytest.mark.parametrize("status", ["FAILED", "ABORTED"])
def test_a_failed_restore_is_done_again_once_its_left_over_is_dropped(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context, status: str
) -> None:
    start_restore().execute(context)
    fake.restore_jobs["restore-0"]["Status"] = status
    tables[TARGET] = "ACTIVE"
    for _ in range(2):
        with pytest.raises(RestoreTargetExistsError, match=f"restore-0 ended {status}.*drop it") as caught:
            start_restore().execute(context)
        assert caught.value.ours
        assert caught.value.job_id == "restore-0"
    del tables[TARGET]
    assert start_restore().execute(context) == "restore-1"


@pytest.mark.parametrize("override", [{"force_new": "yes"}, {"recovery_point_arn": POINT_ARN + "2"}])
def test_what_asks_for_another_restore_into_the_own_table_is_refused(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context, override: dict[str, Any]
) -> None:
    start_restore().execute(context)
    fake.restore_jobs["restore-0"]["Status"] = "COMPLETED"
    tables[TARGET] = "ACTIVE"
    with pytest.raises(RestoreTargetExistsError) as caught:
        start_restore(**override).execute(context)
    assert caught.value.ours
    del tables[TARGET]
    assert start_restore(**override).execute(context) == "restore-1"


def test_a_worker_killed_before_the_first_record_finds_its_own_table(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    def die() -> None:
        tables[TARGET] = "CREATING"
        raise SystemExit(137)

    fake.after["StartRestoreJob"] = die
    with pytest.raises(SystemExit):
        start_restore().execute(context)
    assert start_restore().execute(context) == "restore-0"
    assert list(fake.restore_jobs) == ["restore-0"]


def test_a_restore_that_makes_no_table_looks_at_none(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    operator = start_restore(target_table_name=None, metadata={"a": "b"}, resource_type="EBS")
    assert operator.execute(context) == "restore-0"
    fake.restore_jobs["restore-0"]["Status"] = "COMPLETED"
    assert operator.execute(context) == "restore-0"


def test_a_restore_waits_in_the_task(
    fake: Any,
    store: MemoryIntentStore,
    tables: dict[str, str],
    context: Context,
    pushed: Callable[[], dict[str, Any]],
) -> None:
    fake.script(
        "DescribeRestoreJob",
        {"RestoreJobId": "restore-0", "Status": "COMPLETED", "CreatedResourceArn": "made"},
    )
    start_restore(wait_for_completion=True).execute(context)
    assert pushed()["created_resource_arn"] == "made"
    assert pushed()["job_summary"]["state"] == "COMPLETED"


def test_a_restore_waits_deferred(
    fake: Any,
    store: MemoryIntentStore,
    tables: dict[str, str],
    context: Context,
    pushed: Callable[[], dict[str, Any]],
) -> None:
    operator = start_restore(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert isinstance(deferred.value.trigger, BackupRestoreJobCompletedTrigger)
    event = {
        "status": "success",
        "restore_job_id": "restore-0",
        "summary": {"created_resource_arn": "made"},
    }
    assert operator.execute_complete(context, event) == "restore-0"
    assert pushed()["created_resource_arn"] == "made"


def test_on_kill_says_that_a_restore_goes_on(
    fake: Any, store: MemoryIntentStore, tables: dict[str, str], context: Context
) -> None:
    operator = start_restore()
    operator.execute(context)
    calls = len(fake.calls)
    with mock.patch.object(BackupStartRestoreJobOperator, "log", create=True) as log:
        operator.on_kill()
    assert "no call to stop a restore" in log.warning.call_args.args[0]
    assert log.warning.call_args.args[1] == "restore-0"
    assert len(fake.calls) == calls


# -- deletion


@pytest.fixture
def managed(fake: Any) -> Any:
    """A recovery point that carries the required tag."""
    fake.add_point()
    fake.script("ListTags", {"Tags": {"managed-by": "dynamodb-backup-proof", "table": "orders"}})
    return fake


def test_a_managed_recovery_point_is_deleted_and_seen_gone(managed: Any, context: Context) -> None:
    assert delete_point().execute(context) == POINT_ARN
    assert managed.points == {}
    # Once to check it, once to see that it is gone.
    assert managed.count("DescribeRecoveryPoint") == 2


@pytest.mark.parametrize(
    "tags",
    [{}, {"managed-by": "somebody"}, {"Managed-By": "dynamodb-backup-proof"}, {"table": "orders"}],
)
def test_what_does_not_carry_the_tags_is_not_touched(fake: Any, context: Context, tags: Any) -> None:
    fake.add_point()
    fake.script("ListTags", {"Tags": tags})
    with pytest.raises(RecoveryPointNotOursError, match="managed-by=dynamodb-backup-proof"):
        delete_point().execute(context)
    assert fake.count("DeleteRecoveryPoint") == 0


def test_what_can_not_carry_tags_is_not_touched_for_want_of_them(fake: Any, context: Context) -> None:
    fake.add_point(fake.plain_point_arn)
    with pytest.raises(RecoveryPointNotOursError, match="keeps no tags"):
        delete_point(recovery_point_arn=fake.plain_point_arn).execute(context)
    assert fake.count("DeleteRecoveryPoint") == 0


@pytest.mark.parametrize("required", [None, {"managed-by": "dynamodb-backup-proof"}])
@pytest.mark.parametrize("verdict", [True, False])
def test_the_guard_is_asked_with_description_and_tags(
    managed: Any, context: Context, required: Any, verdict: bool
) -> None:
    seen: list[Any] = []

    def guard(point: dict[str, Any], tags: dict[str, str]) -> bool:
        seen.append((point["ResourceArn"], tags["table"]))
        return verdict

    operator = delete_point(required_tags=required, is_deletable=guard)
    if verdict:
        operator.execute(context)
    else:
        with pytest.raises(RecoveryPointNotOursError, match="is_deletable says no"):
            operator.execute(context)
    assert seen == [(TABLE_ARN, "orders")]
    assert managed.count("DeleteRecoveryPoint") == (1 if verdict else 0)


def test_the_tags_come_before_the_guard(fake: Any, context: Context) -> None:
    fake.add_point()
    fake.script("ListTags", {"Tags": {}})
    with pytest.raises(RecoveryPointNotOursError):
        delete_point(is_deletable=lambda point, tags: True).execute(context)
    assert fake.count("DeleteRecoveryPoint") == 0


def test_a_deletion_that_aws_did_not_do_is_named(managed: Any, context: Context) -> None:
    point = {"RecoveryPointArn": POINT_ARN}
    managed.script("DeleteRecoveryPoint", {})
    managed.script(
        "DescribeRecoveryPoint",
        {**point, "Status": "COMPLETED"},
        {**point, "Status": "DELETING"},
        {**point, "Status": "EXPIRED", "StatusMessage": "role lacks rights"},
    )
    with pytest.raises(RecoveryPointNotDeletedError, match="role lacks rights"):
        delete_point().execute(context)


def test_an_expired_recovery_point_can_be_deleted(managed: Any, context: Context) -> None:
    managed.script("DeleteRecoveryPoint", {})
    managed.script("DescribeRecoveryPoint", {"Status": "EXPIRED"}, {"Status": "EXPIRED"}, managed.not_found)
    delete_point().execute(context)
    assert managed.count("DeleteRecoveryPoint") == 1


def test_a_running_deletion_is_only_waited_for(managed: Any, context: Context) -> None:
    managed.script("DescribeRecoveryPoint", {"Status": "DELETING"}, managed.not_found)
    delete_point().execute(context)
    assert managed.count("DeleteRecoveryPoint") == 0


def test_a_protected_recovery_point_stays(managed: Any, context: Context) -> None:
    managed.script("DeleteRecoveryPoint", managed.error("AccessDeniedException", "explicit deny", 403))
    with pytest.raises(RecoveryPointProtectedError, match="explicit deny"):
        delete_point().execute(context)
    assert POINT_ARN in managed.points


def test_a_missing_recovery_point_is_skipped_or_not(fake: Any, context: Context) -> None:
    assert delete_point().execute(context) == POINT_ARN
    with pytest.raises(AirflowNotFoundException, match=POINT_ARN):
        delete_point(if_missing="fail").execute(context)
    assert fake.count("DeleteRecoveryPoint") == 0


def test_a_deletion_without_waiting(managed: Any, context: Context) -> None:
    delete_point(wait_for_completion=False).execute(context)
    assert managed.count("DescribeRecoveryPoint") == 1


@pytest.mark.parametrize("status", ["COMPLETED", "EXPIRED"])
def test_a_deletion_deferred(managed: Any, context: Context, status: str) -> None:
    managed.add_point(status=status)
    operator = delete_point(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert isinstance(deferred.value.trigger, BackupRecoveryPointDeletedTrigger)
    assert deferred.value.trigger.serialize()[1]["was_expired"] is (status == "EXPIRED")
    event = {"status": "success", "recovery_point_arn": POINT_ARN, "summary": {}}
    assert operator.execute_complete(context, event) == POINT_ARN
    error = RecoveryPointNotDeletedError(job_id=POINT_ARN, state="EXPIRED")
    with pytest.raises(RecoveryPointNotDeletedError, match="lacks rights"):
        operator.execute_complete(context, {"status": "error", "message": str(error), "error": error.to_dict()})


# -- the real neighbours


def test_records_and_tables_are_those_of_s3_and_dynamodb(fake: Any, aws: None, context: Context) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="orders-backup")
    dynamodb = boto3.client("dynamodb", region_name="us-east-1")
    operator = start_restore()
    assert operator.execute(context) == "restore-0"
    identity = IntentIdentity("orders", "manual__1", "back_up.start", -1, TARGET)
    stored = S3IntentStore(s3, "orders-backup").read(identity.base)
    assert stored is not None
    assert stored.record.job_id == "restore-0"
    assert stored.record.details == {"recovery_point_arn": POINT_ARN, "target": TARGET}
    fake.restore_jobs["restore-0"]["Status"] = "FAILED"
    dynamodb.create_table(
        TableName=TARGET,
        KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(RestoreTargetExistsError, match="restore-0 ended FAILED"):
        operator.execute(context)
    dynamodb.delete_table(TableName=TARGET)
    assert operator.execute(context) == "restore-1"
