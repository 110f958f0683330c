"""The questions that the intent rule asks of AWS, for backup jobs and for restores.

Operators ask them to start or adopt; other tasks of the same run ask them with ``peek_intent`` to learn
whether the job of an intent is there already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowNotFoundException

from aws_backup.hooks.backup import BackupHook
from aws_backup.intents import (
    DEFAULT_PREFIX,
    IntentIdentity,
    IntentQuestion,
    S3IntentStore,
    force_key,
)
from aws_backup.states import Outcome, StateKind, classify
from aws_backup.tables import DELETING, table_status

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def intent_store(client: S3Client, bucket: str, prefix: str = DEFAULT_PREFIX) -> S3IntentStore:
    """Return the store of intent records in a bucket.

    :param client: a boto3 S3 client.
    """
    return S3IntentStore(client, bucket, prefix)


def backup_intent_question(
    hook: BackupHook,
    identity: IntentIdentity,
    *,
    backup_vault_name: str,
    resource_arn: str,
    force_new: bool | str = False,
) -> IntentQuestion:
    """Ask about a backup job; its product is the recovery point.

    :param identity: whose intent it is; ``BackupStartBackupJobOperator`` takes ``resource_arn`` as resource.
    :param backup_vault_name: vault that gets the recovery point.
    :param resource_arn: ARN of what is backed up.
    :param force_new: as the operator's.
    """

    def state(job_id: str) -> str | None:
        try:
            return hook.get_backup_job_state(job_id)
        except AirflowNotFoundException:
            return None

    def lost(job_id: str) -> bool:
        arn = hook.get_backup_job(job_id).get("RecoveryPointArn")
        point = hook.find_recovery_point(backup_vault_name, arn) if arn else None
        return point is None or classify(StateKind.RECOVERY_POINT, point["Status"]) is Outcome.FAILURE

    return IntentQuestion(
        identity=identity,
        kind=StateKind.BACKUP_JOB,
        describe_state=state,
        is_lost=lost,
        details={"resource_arn": resource_arn, "backup_vault_name": backup_vault_name},
        force=force_key(force_new),
    )


def restore_intent_question(
    hook: BackupHook,
    identity: IntentIdentity,
    *,
    recovery_point_arn: str,
    target_table_name: str | None,
    force_new: bool | str = False,
) -> IntentQuestion:
    """Ask about a restore job; its product is the restored table.

    :param identity: whose intent it is; ``BackupStartRestoreJobOperator`` takes the table to make as resource
        or, if the restore makes none, the recovery point.
    :param recovery_point_arn: what is restored.
    :param target_table_name: the table to make; None if the restore makes no DynamoDB table.
    :param force_new: as the operator's.
    """

    def state(job_id: str) -> str | None:
        try:
            return hook.get_restore_job_state(job_id)
        except AirflowNotFoundException:
            return None

    def lost(job_id: str) -> bool:
        if target_table_name is None:
            return False
        return table_status(hook.sibling("dynamodb").conn, target_table_name) in {None, DELETING}

    return IntentQuestion(
        identity=identity,
        kind=StateKind.RESTORE_JOB,
        describe_state=state,
        is_lost=lost,
        details={"recovery_point_arn": recovery_point_arn, "target": identity.resource},
        force=force_key(force_new),
    )
