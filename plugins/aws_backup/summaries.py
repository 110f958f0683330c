"""The small values that tasks hand on about a job or recovery point: plain JSON, dates in ISO 8601."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from aws_backup.states import StateKind


class JobSummary(TypedDict, total=False):
    """What is worth knowing of a backup or restore job, or of a recovery point.

    ``state`` is AWS's own; ``size_bytes`` is AWS's figure, in bytes; dates are ISO 8601 with offset, or None.
    """

    job_id: str
    state: str
    status_message: str | None
    resource_arn: str | None
    recovery_point_arn: str | None
    backup_vault_name: str | None
    created_resource_arn: str | None
    size_bytes: int | None
    message_category: str | None
    creation_date: str | None
    completion_date: str | None


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value is not None else None


def summarise_backup_job(job: Mapping[str, Any]) -> JobSummary:
    """Summarise an answer of DescribeBackupJob or an entry of ListBackupJobs."""
    return JobSummary(
        job_id=job["BackupJobId"],
        state=job["State"],
        status_message=job.get("StatusMessage"),
        resource_arn=job.get("ResourceArn"),
        recovery_point_arn=job.get("RecoveryPointArn"),
        backup_vault_name=job.get("BackupVaultName"),
        size_bytes=job.get("BackupSizeInBytes"),
        message_category=job.get("MessageCategory"),
        creation_date=_iso(job.get("CreationDate")),
        completion_date=_iso(job.get("CompletionDate")),
    )


def summarise_restore_job(job: Mapping[str, Any]) -> JobSummary:
    """Summarise an answer of DescribeRestoreJob or an entry of ListRestoreJobs."""
    return JobSummary(
        job_id=job["RestoreJobId"],
        state=job["Status"],
        status_message=job.get("StatusMessage"),
        resource_arn=job.get("SourceResourceArn"),
        recovery_point_arn=job.get("RecoveryPointArn"),
        created_resource_arn=job.get("CreatedResourceArn"),
        size_bytes=job.get("BackupSizeInBytes"),
        creation_date=_iso(job.get("CreationDate")),
        completion_date=_iso(job.get("CompletionDate")),
    )


def summarise_recovery_point(point: Mapping[str, Any]) -> JobSummary:
    """Summarise an answer of DescribeRecoveryPoint or an entry of ListRecoveryPointsByBackupVault."""
    return JobSummary(
        state=point["Status"],
        status_message=point.get("StatusMessage"),
        resource_arn=point.get("ResourceArn"),
        recovery_point_arn=point["RecoveryPointArn"],
        backup_vault_name=point.get("BackupVaultName"),
        size_bytes=point.get("BackupSizeInBytes"),
        creation_date=_iso(point.get("CreationDate")),
        completion_date=_iso(point.get("CompletionDate")),
    )


SUMMARISERS = {
    StateKind.BACKUP_JOB: summarise_backup_job,
    StateKind.RESTORE_JOB: summarise_restore_job,
    StateKind.RECOVERY_POINT: summarise_recovery_point,
}
