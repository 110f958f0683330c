from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from aws_backup.exceptions import AwsEndpointUnreachableError, RecoveryPointProtectedError
from aws_backup.hooks.backup import (
    PROTECTED_ERROR_CODES,
    BackupHook,
    clear_connection_errors,
    dynamodb_restore_metadata,
    is_taggable,
)

READS: list[tuple[str, Callable[[BackupHook], Any]]] = [
    ("DescribeBackupVault", lambda hook: hook.get_vault("orders-vault")),
    ("DescribeBackupJob", lambda hook: hook.get_backup_job_state("job-1")),
    ("DescribeRestoreJob", lambda hook: hook.get_restore_job_state("restore-1")),
    ("DescribeRecoveryPoint", lambda hook: hook.get_recovery_point("orders-vault", "arn")),
    ("ListRecoveryPointsByBackupVault", lambda hook: list(hook.list_recovery_points("orders-vault"))),
    ("ListTags", lambda hook: hook.get_recovery_point_tags("arn:aws:backup:us-east-1:1:recovery-point:x")),
]


def test_it_is_a_client_of_backup_with_our_waiters() -> None:
    hook = BackupHook(aws_conn_id=None, region_name="us-east-1")
    assert hook.client_type == "backup"
    assert hook.conn.meta.service_model.service_name == "backup"
    assert hook.waiter_path.is_file()


def test_a_sibling_keeps_connection_region_and_settings() -> None:
    hook = BackupHook(aws_conn_id="other", region_name="eu-west-1", verify=False, config={"read_timeout": 7})
    sibling = hook.sibling("dynamodb")
    assert (sibling.client_type, sibling.aws_conn_id, sibling._region_name, sibling._verify) == (
        "dynamodb",
        "other",
        "eu-west-1",
        False,
    )
    assert hook.sibling("dynamodb") is sibling
    assert sibling._config is not None
    assert sibling._config.read_timeout == 7


@pytest.mark.parametrize(("operation", "read"), READS, ids=[operation for operation, _ in READS])
class TestReads:
    def test_not_found_is_named(
        self, fake: Any, hook: BackupHook, operation: str, read: Callable[[BackupHook], Any]
    ) -> None:
        fake.script(operation, fake.not_found)
        with pytest.raises(AirflowNotFoundException, match="does not know the") as caught:
            read(hook)
        assert isinstance(caught.value.__cause__, ClientError)

    def test_other_errors_pass(
        self, fake: Any, hook: BackupHook, operation: str, read: Callable[[BackupHook], Any]
    ) -> None:
        fake.script(operation, fake.error("AccessDeniedException"))
        with pytest.raises(ClientError, match="AccessDeniedException"):
            read(hook)

    def test_nobody_there_is_one_line(
        self, fake: Any, hook: BackupHook, operation: str, read: Callable[[BackupHook], Any]
    ) -> None:
        fake.script(operation, refuse_connection)
        with pytest.raises(AwsEndpointUnreachableError, match=r"127\.0\.0\.1:5566.*python -m local_aws"):
            read(hook)


def refuse_connection(params: dict[str, Any]) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:5566/")


def test_states_are_aws_words(fake: Any, hook: BackupHook) -> None:
    fake.script("DescribeBackupJob", {"State": "ABORTING"})
    fake.script("DescribeRestoreJob", {"Status": "PENDING"})
    assert hook.get_backup_job_state("job-1") == "ABORTING"
    assert hook.get_restore_job_state("restore-1") == "PENDING"


@pytest.mark.parametrize(
    ("operation", "result", "call", "filters"),
    [
        (
            "ListBackupJobs",
            "BackupJobs",
            lambda hook, **filters: hook.list_backup_jobs(**filters),
            {"ByState": "COMPLETED", "ByCreatedAfter": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
        ),
        (
            "ListRestoreJobs",
            "RestoreJobs",
            lambda hook, **filters: hook.list_restore_jobs(**filters),
            {"ByStatus": "FAILED"},
        ),
        (
            "ListRecoveryPointsByBackupVault",
            "RecoveryPoints",
            lambda hook, **filters: hook.list_recovery_points("orders-vault", **filters),
            {"ByResourceArn": "arn"},
        ),
    ],
)
def test_lists_page_to_the_end(
    fake: Any, hook: BackupHook, operation: str, result: str, call: Any, filters: dict[str, Any]
) -> None:
    fake.script(
        operation,
        {result: [{"ResourceType": "1"}, {"ResourceType": "2"}], "NextToken": "more"},
        {result: [], "NextToken": "still more"},
        {result: [{"ResourceType": "3"}]},
    )
    assert [row["ResourceType"] for row in call(hook, ByResourceType=None, **filters)] == ["1", "2", "3"]
    first, second, third = fake.requests(operation)
    assert first.items() >= filters.items()
    assert "ByResourceType" not in first
    assert (second["NextToken"], third["NextToken"]) == ("more", "still more")


def test_tags_page_to_the_end(fake: Any, hook: BackupHook) -> None:
    fake.script("ListTags", {"Tags": {"a": "1"}, "NextToken": "more"}, {"Tags": {"b": "2"}})
    assert hook.get_recovery_point_tags(fake.point_arn) == {"a": "1", "b": "2"}
    assert [request.get("NextToken") for request in fake.requests("ListTags")] == [None, "more"]


def test_a_recovery_point_with_a_dynamodb_arn_has_no_tags_and_aws_is_not_asked(fake: Any, hook: BackupHook) -> None:
    assert hook.get_recovery_point_tags(fake.plain_point_arn) == {}
    assert fake.calls == []
    assert is_taggable(fake.point_arn)
    assert is_taggable("arn:aws-cn:backup:cn-north-1:1:recovery-point:x")
    assert not is_taggable(fake.plain_point_arn)


def test_starting_leaves_out_what_is_not_given(fake: Any, hook: BackupHook) -> None:
    hook.start_backup_job(
        BackupVaultName="orders-vault",
        ResourceArn=fake.table_arn,
        IamRoleArn=fake.role_arn,
        IdempotencyToken="t",
        Lifecycle=None,
    )
    assert "Lifecycle" not in fake.requests("StartBackupJob")[0]


@pytest.mark.parametrize(
    ("status", "usable"),
    [("COMPLETED", True), ("AVAILABLE", True), ("CREATING", False), ("EXPIRED", False), ("DELETING", False)],
)
def test_a_recovery_point_is_usable_by_its_status(fake: Any, hook: BackupHook, status: str, usable: bool) -> None:
    assert not hook.is_recovery_point_usable("orders-vault", fake.point_arn)
    fake.add_point(status=status)
    assert hook.is_recovery_point_usable("orders-vault", fake.point_arn) is usable


def test_deleting_tells_whether_there_was_something_to_delete(fake: Any, hook: BackupHook) -> None:
    fake.add_point()
    assert hook.delete_recovery_point("orders-vault", fake.point_arn) is True
    assert hook.delete_recovery_point("orders-vault", fake.point_arn) is False


@pytest.mark.parametrize("code", sorted(PROTECTED_ERROR_CODES))
def test_a_refused_deletion_is_named_with_aws_words(fake: Any, hook: BackupHook, code: str) -> None:
    fake.script("DeleteRecoveryPoint", fake.error(code, "has active legal hold(s)."))
    with pytest.raises(RecoveryPointProtectedError, match=f"{code}: has active legal hold"):
        hook.delete_recovery_point("orders-vault", fake.point_arn)


def test_a_fault_of_aws_is_no_protection(fake: Any, hook: BackupHook) -> None:
    fake.script("DeleteRecoveryPoint", fake.error("LimitExceededException"))
    with pytest.raises(ClientError, match="LimitExceededException"):
        hook.delete_recovery_point("orders-vault", fake.point_arn)


def test_a_connection_error_is_shown_without_its_chain() -> None:
    with pytest.raises(AwsEndpointUnreachableError) as caught, clear_connection_errors():
        raise ConnectTimeoutError(endpoint_url="https://backup.us-east-1.amazonaws.com/")
    assert caught.value.address == "https://backup.us-east-1.amazonaws.com"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"targetTableName": "t", "encryptionType": "Default"}),
        ({"encryption_type": "KMS"}, {"targetTableName": "t", "encryptionType": "KMS"}),
        (
            {"kms_key_arn": "key"},
            {"targetTableName": "t", "encryptionType": "KMS", "kmsMasterKeyArn": "key"},
        ),
    ],
)
def test_restore_metadata_always_names_the_encryption(arguments: dict[str, str], expected: dict[str, str]) -> None:
    assert dynamodb_restore_metadata("t", **arguments) == expected  # type: ignore[arg-type]
